"""SQLite in a folder of its own: knobs of the connection, look-ups, a join and a sort as the workload.

`synchronous` and `journal_mode` are never touched: they trade durability.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import ClassVar

from infra.errors import DataError
from remediation.tuning.tune import System, Values

ROWS, LOOKUPS = 40_000, 1_500


class Sqlite(System):
    """A database file below `folder`, filled once."""

    name = "sqlite"
    levels: ClassVar[dict[str, tuple[float, ...]]] = {
        "cache_size": (-2000, -8000, -64000),  # KiB when negative
        "mmap_size": (0, 2**26, 2**28),  # bytes
        "temp_store": (0, 2),  # 2: memory
    }

    def __init__(self, folder: Path, rows: int = ROWS) -> None:
        self.rows = rows
        self.connection = sqlite3.connect(folder / "workload.db", isolation_level=None)
        self.connection.execute("CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY, owner INTEGER, body TEXT)")
        self.connection.execute("BEGIN")
        items = ((n, n * 7919 % 997, f"{n * 104729 % 1000003:07d}" * 12) for n in range(rows))
        self.connection.executemany("INSERT OR IGNORE INTO item VALUES (?, ?, ?)", items)
        self.connection.execute("CREATE INDEX IF NOT EXISTS item_owner ON item (owner)")
        self.connection.execute("COMMIT")

    def apply(self, values: Values) -> None:
        for knob, value in values.items():
            if knob not in self.levels:
                raise DataError(f"sqlite: {knob!r} may not be set; knobs: {', '.join(self.levels)}")
            self.connection.execute(f"PRAGMA {knob} = {int(value)}").fetchall()
            (now,) = self.connection.execute(f"PRAGMA {knob}").fetchone() or (None,)
            if now != int(value):
                raise DataError(f"sqlite: {knob} is {now} after it was set to {value:g}")

    def run(self) -> float:
        begun = time.perf_counter()
        for number in range(LOOKUPS):
            self.connection.execute("SELECT body FROM item WHERE id = ?", (number * 7919 % self.rows,)).fetchone()
        self.connection.execute("SELECT owner, max(body) FROM item GROUP BY owner ORDER BY 2").fetchall()
        self.connection.execute("SELECT count(*) FROM (SELECT body FROM item ORDER BY body)").fetchone()
        return time.perf_counter() - begun

    def close(self) -> None:
        """Close the file."""
        self.connection.close()
