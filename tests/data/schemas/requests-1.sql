PRAGMA auto_vacuum=INCREMENTAL;
BEGIN TRANSACTION;
CREATE TABLE requests (
    number INTEGER PRIMARY KEY, user_id TEXT NOT NULL, id TEXT NOT NULL, begun_at REAL NOT NULL, answer BLOB,
    UNIQUE (user_id, id)
);
INSERT INTO "requests" VALUES(1,'anna','r1',4102444800.0,X'7B7D');
CREATE INDEX requests_of_user ON requests (user_id, number)
;
COMMIT;
PRAGMA application_id=0x74656C6C;
PRAGMA user_version=1;
