"""Late rows in their place: an incremental state takes rows in the order of time, and systems do not report in it.

Copies of the state of `LATENESS` ago and more are kept, with the rows since. When a row comes that is older than the
newest, the state goes on from the newest copy before that row, with all rows since. What comes later than the oldest
copy is left to batch: it is in the lake, and in the state once that is made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from features.view import Incremental

LATENESS = 60_000_000  # in microseconds, as all times here: rows as late as that find their place
_NEVER = -(1 << 62)

Rows = Mapping[str, pa.Table]


class Ordered:
    """An incremental state of one entity that takes rows in any order; `dropped` counts those that came too late."""

    def __init__(self, make: Callable[[], Incremental]) -> None:
        self._state = make()
        self._marks = [(_NEVER, self._state.copy())]  # (newest time then, state), oldest first; at most two
        self._since: list[tuple[int, Rows]] = []  # (newest time, rows) since the oldest mark
        self._newest = _NEVER
        self.dropped = 0

    def add(self, rows: Rows) -> dict[str, Any] | None:
        """Take rows of the entity, any order; returns its newest row, None where there is no new one."""
        first, last = _span(rows)
        if first <= self._newest:
            rows = self._back(rows)
            _, last = _span(rows)
        if last == _NEVER:
            return None
        self._newest = max(self._newest, last)
        self._since.append((self._newest, rows))
        row = self._state.add(rows)
        if self._newest - self._marks[-1][0] >= LATENESS:
            self._mark()
        return row

    def _mark(self) -> None:
        self._marks = [*self._marks[-1:], (self._newest, self._state.copy())]
        self._since = [(time, rows) for time, rows in self._since if time > self._marks[0][0]]

    def _back(self, rows: Rows) -> Rows:
        """Return to the state before `rows`; gives the rows since then, `rows` among them."""
        count = sum(map(len, rows.values()))
        rows = _later(rows, self._marks[0][0])
        self.dropped += count - sum(map(len, rows.values()))
        if (first := _span(rows)[0]) > self._newest:  # also where nothing is left
            return rows
        while self._marks[-1][0] >= first:
            self._marks.pop()
        mark, state = self._marks[-1]
        self._state = state.copy()
        again = [*(_later(known, mark) for time, known in self._since if time > mark), rows]
        self._since = [(time, known) for time, known in self._since if time <= mark]
        names = dict.fromkeys(name for known in again for name in known)
        return {name: pa.concat_tables([known[name] for known in again if name in known]) for name in names}


def _span(rows: Rows) -> tuple[int, int]:
    """The first and the last time."""
    times = [table["time"].to_numpy().astype("int64") for table in rows.values() if len(table)]
    return min((time.min() for time in times), default=-_NEVER), max((time.max() for time in times), default=_NEVER)


def _later(rows: Rows, time: int) -> Rows:
    return {name: table.filter(pc.greater(table["time"].cast(pa.int64()), time)) for name, table in rows.items()}
