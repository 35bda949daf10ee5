-- Reports that the server has not seen, in the order in which they were answered.
-- The text comes last, so that whoever looks at the rest does not read it.
CREATE TABLE spool (
    -- Never used again: what was removed stays removed.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- 16 random bytes, by which a door may know a report that comes twice.
    key BLOB NOT NULL,
    -- The command, 'report' or 'report-equiv'.
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    method TEXT NOT NULL,
    -- A hash is a BLOB of 32 bytes, or TEXT of any other form.
    taskhash ANY NOT NULL,
    outhash ANY,
    -- Microseconds since 1970.
    at INTEGER NOT NULL,
    -- What the report counts for.
    bytes INTEGER NOT NULL,
    profile TEXT,
    user TEXT,
    request TEXT NOT NULL
) STRICT;
CREATE INDEX spool_by_task ON spool (namespace, method, taskhash);
CREATE INDEX spool_by_output ON spool (namespace, method, outhash) WHERE outhash IS NOT NULL;

-- What builds were told of the tasks of the reports above: a task has a row here
-- exactly as long as it has one there.
CREATE TABLE provisional (
    namespace TEXT NOT NULL,
    method TEXT NOT NULL,
    taskhash ANY NOT NULL,
    unihash ANY NOT NULL,
    PRIMARY KEY (namespace, method, taskhash)
) STRICT, WITHOUT ROWID;

-- One row: how much the spool has, so that nobody counts it.
CREATE TABLE tally (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    reports INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;
INSERT INTO tally VALUES (1, 0, 0);
CREATE TRIGGER tally_more AFTER INSERT ON spool BEGIN
    UPDATE tally SET reports = reports + 1, bytes = bytes + NEW.bytes;
END;
CREATE TRIGGER tally_less AFTER DELETE ON spool BEGIN
    UPDATE tally SET reports = reports - 1, bytes = bytes - OLD.bytes;
END;

-- Up to which deletion the answers of a namespace are good.
CREATE TABLE standing (
    namespace TEXT PRIMARY KEY,
    -- 16 bytes: the history of the server's database.
    history BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    -- Rows of another era count as forgotten.
    era INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Namespace and method of answers, interned.
CREATE TABLE scope (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    method TEXT NOT NULL,
    UNIQUE (namespace, method)
) STRICT;

-- What the server answered; the lowest numbers go first.
CREATE TABLE known (
    id INTEGER PRIMARY KEY,
    scope INTEGER NOT NULL,
    taskhash BLOB NOT NULL,
    unihash BLOB NOT NULL,
    era INTEGER NOT NULL,
    -- The deletion epoch that the answer was of.
    epoch INTEGER NOT NULL,
    -- Microseconds since 1970.
    at INTEGER NOT NULL,
    UNIQUE (scope, taskhash)
) STRICT;
