CREATE TABLE store (epoch TEXT NOT NULL);
CREATE TABLE users (user_id TEXT PRIMARY KEY, offset INTEGER NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE log (
    user_id TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, at REAL NOT NULL, said_at REAL NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX log_by_user ON log (user_id, number);
CREATE TABLE states (
    user_id TEXT NOT NULL, key TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, at REAL NOT NULL,
    said_at REAL NOT NULL, is_final BOOLEAN NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (user_id, key)
) WITHOUT ROWID;
INSERT INTO store VALUES ('0a0b0c0d0e0f');
INSERT INTO users VALUES ('anna', 1, 0);
PRAGMA application_id=0x74656C6C;
PRAGMA user_version=2;
