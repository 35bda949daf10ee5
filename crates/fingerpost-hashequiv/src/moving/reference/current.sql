-- The reference's schema since February 2024.

CREATE TABLE unihashes_v3 (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    method TEXT NOT NULL,
    taskhash TEXT NOT NULL,
    unihash TEXT NOT NULL,
    gc_mark TEXT NOT NULL,
    UNIQUE (method, taskhash)
);
CREATE TABLE outhashes_v2 (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    method TEXT NOT NULL,
    taskhash TEXT NOT NULL,
    outhash TEXT NOT NULL,
    created DATETIME,
    owner TEXT,
    PN TEXT,
    PV TEXT,
    PR TEXT,
    task TEXT,
    outhash_siginfo TEXT,
    UNIQUE (method, taskhash, outhash)
);
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    username TEXT NOT NULL,
    token TEXT NOT NULL,
    permissions TEXT NOT NULL,
    UNIQUE (username)
);
CREATE TABLE config (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    value TEXT,
    UNIQUE (name)
);
