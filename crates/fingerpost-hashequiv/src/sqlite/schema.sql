-- Schema version 1 of the hash equivalence tables.
--
-- A hash is a BLOB of 32 bytes when it is 64 lower-case hex digits, else TEXT,
-- stored exactly. Times are microseconds since 1970 (INTEGER); times that other
-- programs wrote in another form are kept as their TEXT. Every key begins with
-- the namespace. Inserted rows of `outhash` are numbered strictly increasingly,
-- so "the oldest" is the lowest id.

CREATE TABLE namespace (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- Raised in the transaction of every delete: remembered answers of an
    -- older epoch may be wrong.
    deletion_epoch INTEGER NOT NULL DEFAULT 0,
    -- Random number of the process that raised it last: a process forgets
    -- exactly what it deleted itself, and everything when another one did.
    deletion_author INTEGER NOT NULL DEFAULT 0,
    -- The last number given to a row of `unihash`.
    unihash_sequence INTEGER NOT NULL DEFAULT 0,
    -- The collection that is running; NULL when none is.
    collection INTEGER
) STRICT;
INSERT INTO namespace (id, name) VALUES (1, 'default');

CREATE TABLE method (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- A task is known by (namespace, method, taskhash); the two relations below
-- name it by number. A task without a row in either is removed with the last.
CREATE TABLE task (
    id INTEGER PRIMARY KEY,
    namespace INTEGER NOT NULL,
    method INTEGER NOT NULL,
    taskhash ANY NOT NULL
) STRICT;
CREATE UNIQUE INDEX task_by_hash ON task (namespace, method, taskhash);

-- The relation U: (method, taskhash) -> unihash.
CREATE TABLE unihash (
    task INTEGER PRIMARY KEY,
    namespace INTEGER NOT NULL,
    unihash ANY NOT NULL,
    sequence INTEGER NOT NULL,
    created INTEGER NOT NULL,
    -- Day (since 1970) of the last use that was noted.
    used_day INTEGER NOT NULL,
    -- The collection that marked the row; 0 is "never marked".
    collection INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX unihash_by_unihash ON unihash (namespace, unihash);

-- The relation O: (method, taskhash, outhash) -> what was reported with it.
CREATE TABLE outhash (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace INTEGER NOT NULL,
    method INTEGER NOT NULL,
    task INTEGER NOT NULL,
    outhash ANY NOT NULL,
    created ANY,
    metadata INTEGER,
    siginfo INTEGER
) STRICT;
CREATE UNIQUE INDEX outhash_by_task ON outhash (task, outhash);
CREATE INDEX outhash_by_outhash ON outhash (namespace, method, outhash);
CREATE INDEX outhash_by_siginfo ON outhash (siginfo) WHERE siginfo IS NOT NULL;

-- Interned combinations: a farm builds the same tasks over and over.
CREATE TABLE metadata (
    id INTEGER PRIMARY KEY,
    owner TEXT,
    pn TEXT,
    pv TEXT,
    pr TEXT,
    task TEXT
) STRICT;
-- NULLs are distinct in a unique index, so absent fields are indexed as X''.
CREATE UNIQUE INDEX metadata_by_content ON metadata (
    ifnull(pn, X''), ifnull(task, X''), ifnull(pv, X''), ifnull(pr, X''), ifnull(owner, X'')
);

-- Listings, deduplicated by digest. `base` NULL: `data` is a zstd frame of its
-- own. Else `data` was compressed against the whole text of `base`, which has
-- no base itself: reading takes two rows at most.
CREATE TABLE siginfo (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL,
    base INTEGER,
    -- Bytes of the text before compression.
    length INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX siginfo_by_digest ON siginfo (digest);
CREATE INDEX siginfo_by_base ON siginfo (base) WHERE base IS NOT NULL;

-- The newest base of a family, that is of one (method, PN, task).
CREATE TABLE siginfo_family (
    method INTEGER NOT NULL,
    pn TEXT NOT NULL,
    task TEXT NOT NULL,
    base INTEGER NOT NULL,
    PRIMARY KEY (method, pn, task)
) STRICT, WITHOUT ROWID;
CREATE INDEX siginfo_family_by_base ON siginfo_family (base);

-- One row for each start of a collection with `gc-mark`. Two collections may
-- have used the same mark; clients see the mark only.
CREATE TABLE collection (
    id INTEGER PRIMARY KEY,
    namespace INTEGER NOT NULL,
    mark TEXT NOT NULL,
    started INTEGER NOT NULL
) STRICT;
INSERT INTO collection (id, namespace, mark, started) VALUES (0, 1, '', 0);

-- Logins. `token` is `ALGORITHM:SALT:HEX`, `permissions` a blank-separated list.
CREATE TABLE user (
    -- Users are listed in the order in which they were made.
    id INTEGER PRIMARY KEY,
    username TEXT NOT NULL UNIQUE,
    token TEXT NOT NULL,
    permissions TEXT NOT NULL
) STRICT;
