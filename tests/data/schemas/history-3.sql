CREATE TABLE store (epoch TEXT NOT NULL);
CREATE TABLE streams (stream TEXT PRIMARY KEY, offset INTEGER NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE log (
    stream TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, stored_at REAL NOT NULL,
    published_at REAL NOT NULL, payload BLOB NOT NULL
);
CREATE INDEX log_by_stream ON log (stream, number);
CREATE TABLE states (
    stream TEXT NOT NULL, key TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
    stored_at REAL NOT NULL, published_at REAL NOT NULL, status TEXT, run REAL, lease_seconds REAL,
    is_final BOOLEAN NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (stream, key)
) WITHOUT ROWID;
INSERT INTO store VALUES ('0a0b0c0d0e0f');
INSERT INTO streams VALUES ('user:anna', 1, 0);
PRAGMA application_id=0x74656C6C;
PRAGMA user_version=3;
