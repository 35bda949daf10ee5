CREATE INDEX taskhash_lookup_v4 ON unihashes_v3 (method, taskhash);
CREATE INDEX unihash_lookup_v1 ON unihashes_v3 (unihash);
CREATE INDEX outhash_lookup_v3 ON outhashes_v2 (method, outhash);
CREATE INDEX config_lookup ON config (name);
