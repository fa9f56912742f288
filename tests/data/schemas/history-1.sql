CREATE TABLE store (epoch TEXT NOT NULL);
CREATE TABLE users (user_id TEXT PRIMARY KEY, offset INTEGER NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE log (
    user_id TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, at REAL NOT NULL, said_at REAL NOT NULL,
    payload BLOB NOT NULL, PRIMARY KEY (user_id, number)
) WITHOUT ROWID;
CREATE TABLE states (
    user_id TEXT NOT NULL, key TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, at REAL NOT NULL,
    said_at REAL NOT NULL, is_final INTEGER NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (user_id, key)
) WITHOUT ROWID;
CREATE INDEX log_by_age ON log (at);
CREATE INDEX states_by_age ON states (at);
INSERT INTO store VALUES ('0a0b0c0d0e0f');
INSERT INTO users VALUES ('anna', 1, 0);
PRAGMA application_id=0x74656C6C;
PRAGMA user_version=1;
