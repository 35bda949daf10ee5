-- Schema version 5: what runs of retention came to, by their start (microseconds since
-- 1970). Which rows go is found in the rows: a run that was stopped leaves nothing else.
CREATE TABLE retention_run (
    started INTEGER PRIMARY KEY,
    ended INTEGER,
    -- running, done, stopped or failed.
    outcome TEXT NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    given_back_bytes INTEGER NOT NULL,
    why TEXT NOT NULL
) STRICT;
