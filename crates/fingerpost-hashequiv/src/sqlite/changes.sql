-- Schema version 4: what changed in a namespace since a position of its sequence
-- `unihash_sequence`, which numbers additions, deletions and epochs alike.

-- From here on every change is known. What was deleted before this table was
-- made, or longer ago than it is kept, is not.
ALTER TABLE namespace ADD COLUMN changes_floor INTEGER NOT NULL DEFAULT 0;
UPDATE namespace SET changes_floor = unihash_sequence;

-- Finds additions: a row of `unihash` is its own log entry, and never changes.
CREATE INDEX unihash_by_sequence ON unihash (namespace, sequence);

CREATE TABLE deletion (
    namespace INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    -- The task that has no unihash from here on...
    method INTEGER,
    taskhash BLOB,
    -- ... or, in a row of its own, the deletion epoch from here on.
    epoch INTEGER,
    PRIMARY KEY (namespace, sequence)
) STRICT, WITHOUT ROWID;

-- Which position a namespace had when, about once a day: so old deletions are
-- told from young ones.
CREATE TABLE change_mark (
    namespace INTEGER NOT NULL,
    position INTEGER NOT NULL,
    -- Microseconds since 1970.
    at INTEGER NOT NULL,
    PRIMARY KEY (namespace, position)
) STRICT, WITHOUT ROWID;

-- The life of the file in which positions have their meaning: a restored backup
-- begins another one.
CREATE TABLE change_history (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    incarnation BLOB NOT NULL
) STRICT;

-- Triggers, so that older programs on the same file keep the log as well, and
-- no way to delete can forget it. A task is removed after its unihash.
CREATE TRIGGER unihash_deleted AFTER DELETE ON unihash
BEGIN
    UPDATE namespace SET unihash_sequence = unihash_sequence + 1 WHERE id = OLD.namespace;
    INSERT INTO deletion (namespace, sequence, method, taskhash)
        SELECT namespace.id, namespace.unihash_sequence, task.method, task.taskhash
          FROM task CROSS JOIN namespace
         WHERE task.id = OLD.task AND typeof(task.taskhash) = 'blob'
           AND namespace.id = OLD.namespace;
END;
CREATE TRIGGER epoch_raised AFTER UPDATE OF deletion_epoch ON namespace
BEGIN
    UPDATE namespace SET unihash_sequence = unihash_sequence + 1 WHERE id = NEW.id;
    INSERT INTO deletion (namespace, sequence, epoch)
        SELECT id, unihash_sequence, deletion_epoch FROM namespace WHERE id = NEW.id;
END;
