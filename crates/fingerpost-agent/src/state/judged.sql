-- By what the answers of a namespace were judged before they were stored; without a row by
-- nobody.
CREATE TABLE judged (
    namespace TEXT PRIMARY KEY,
    judge TEXT NOT NULL
) STRICT, WITHOUT ROWID;
