# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0

import os, sqlite3, tempfile
with tempfile.TemporaryDirectory() as d:
    for mode in ("delete", "wal"):
        file = os.path.join(d, mode + ".db")
        db = sqlite3.connect(file)
        print(db.execute("PRAGMA journal_mode=" + mode).fetchone())
        with db:
            db.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, s TEXT)")
            db.executemany("INSERT INTO t (s) VALUES (?)", [(str(n),) for n in range(1000)])
        other = sqlite3.connect(file)
        print(other.execute("SELECT count(*), sum(n), max(s) FROM t").fetchone())
        other.close()
        db.close()
        print(sorted(os.listdir(d)))
