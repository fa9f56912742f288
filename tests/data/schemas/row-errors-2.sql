PRAGMA auto_vacuum=INCREMENTAL;
BEGIN TRANSACTION;
CREATE TABLE lists (
    list INTEGER PRIMARY KEY, user_id TEXT NOT NULL, upload_id TEXT NOT NULL, run TEXT NOT NULL,
    file_name TEXT NOT NULL, kept INTEGER NOT NULL, at REAL NOT NULL, UNIQUE (user_id, upload_id, run)
);
INSERT INTO "lists" VALUES(1,'anna','u1','2026-11-28T10:00:00.000Z','parts.csv',1,4102444800.0);
CREATE TABLE parts (
    list INTEGER NOT NULL, part INTEGER NOT NULL, total INTEGER NOT NULL, PRIMARY KEY (list, part)
) WITHOUT ROWID;
INSERT INTO "parts" VALUES(1,0,1);
CREATE TABLE row_errors (
    list INTEGER NOT NULL, part INTEGER NOT NULL, row_index INTEGER NOT NULL, row INTEGER NOT NULL,
    code TEXT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (list, part, row_index)
) WITHOUT ROWID
;
INSERT INTO "row_errors" VALUES(1,0,0,1,'BAD','no number');
CREATE INDEX lists_by_age ON lists (at);
COMMIT;
PRAGMA application_id=0x74656C6C;
PRAGMA user_version=2;
