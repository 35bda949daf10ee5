-- Schema version 3: signatures of rows.
--
-- `output` is the row of `outhash`, whose numbers are never given twice, and `key`
-- the 8 bytes of the key's id. At most 4 for each row, one of each key. The text is
-- kept as it came: nothing here verifies it, and readers see damage as such.
CREATE TABLE signature (
    -- Of two signatures of a row the older one has the lower number.
    id INTEGER PRIMARY KEY,
    output INTEGER NOT NULL,
    task INTEGER NOT NULL,
    key BLOB NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX signature_by_output ON signature (output, key);
CREATE INDEX signature_by_task ON signature (task, output);
CREATE INDEX signature_by_key ON signature (key, output);

-- Whoever deletes, programs that do not know this table included, deletes these too:
-- a look into one index for each row.
CREATE TRIGGER signature_without_output AFTER DELETE ON outhash BEGIN
    DELETE FROM signature WHERE output = OLD.id;
END;
CREATE TRIGGER signature_without_unihash AFTER DELETE ON unihash BEGIN
    DELETE FROM signature WHERE task = OLD.task;
END;
