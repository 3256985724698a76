-- Copyright 2026 The Kontain Eventing Authors
-- SPDX-License-Identifier: Apache-2.0

CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT UNIQUE, age INT);
BEGIN;
INSERT INTO people (name, age) VALUES ('ann', 30), ('bob', 40), ('eve', 50);
COMMIT;
BEGIN;
DELETE FROM people;
ROLLBACK;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO people (name, age) SELECT 'n' || i, i % 90 FROM n;
CREATE INDEX ages ON people (age);
SELECT count(*), sum(age), min(name) FROM people;
SELECT name FROM people WHERE age = 30 ORDER BY id LIMIT 3;
PRAGMA integrity_check;
PRAGMA journal_mode;
VACUUM;
SELECT count(*) FROM people;
