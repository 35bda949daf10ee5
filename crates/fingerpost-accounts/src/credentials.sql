-- What users have besides the token of their row in `user`. Times are
-- microseconds since 1970.

CREATE TABLE bearer_token (
    -- 16 lower-case hex digits; part of the token's text, and no secret.
    id TEXT PRIMARY KEY,
    user INTEGER NOT NULL,
    name TEXT NOT NULL,
    -- SHA-256 over the text of the secret, 32 bytes.
    secret BLOB NOT NULL,
    -- Blank-separated lists; NULL: every namespace.
    permissions TEXT NOT NULL,
    namespaces TEXT,
    created INTEGER NOT NULL,
    expires INTEGER,
    revoked INTEGER,
    -- The last use that was noted.
    used INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX bearer_token_by_user ON bearer_token (user, created);
CREATE INDEX bearer_token_by_expiry ON bearer_token (expires) WHERE expires IS NOT NULL;
CREATE INDEX bearer_token_by_revocation ON bearer_token (revoked) WHERE revoked IS NOT NULL;

-- Passwords that people chose. `hash` is a PHC string, `$argon2id$...`.
CREATE TABLE password (
    user INTEGER PRIMARY KEY,
    hash TEXT NOT NULL,
    changed INTEGER NOT NULL
) STRICT;

-- Numbers of users are given again, so nothing may outlive its user, not even
-- when an older program removes one.
CREATE TRIGGER user_takes_credentials AFTER DELETE ON user BEGIN
    DELETE FROM bearer_token WHERE user = OLD.id;
    DELETE FROM password WHERE user = OLD.id;
END;
