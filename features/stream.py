"""The live path: canonical rows as they come → the rows that batch makes → the online store, and the lake.

A view with an incremental form keeps a state for each entity: what it serves is what batch makes of all of the live
history. Of the others the newest batches of each entity are kept, `depth` of them, and go through the transform every
time: a row that needs more of the past than that differs from what batch makes of it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from features import lake, sampling, schema, source, store, table
from features.ordered import Ordered
from features.view import View

logger = logging.getLogger("aiops.stream")
Push = Callable[[View, pd.DataFrame], Any]
Append = Callable[[str, pa.Table], Any]
DEPTH = 300
FLUSH_ROWS = 10_000
WAITING_ROWS = 500_000  # that wait for the live history; at a thousand a beat of five seconds, forty minutes
SPAN = timedelta(hours=1)  # of the live history that is in memory at once when the stream begins


class Stream:
    """Takes batches of canonical rows; of one thread at a time.

    `push` puts a view's rows online, `append` keeps raw rows; the defaults are the feature store and the lake's
    partition `live`. `refused` counts the rows that broke their view's limits and were not served, `dropped` those that
    waited too long for the live history (see `seed`): the lake has them, the states do not.
    """

    def __init__(
        self, views: Sequence[View], depth: int = DEPTH, push: Push = store.push, append: Append = lake.append
    ) -> None:
        self._views, self._push, self._append = views, push, append
        self._past: dict[tuple[str, str, str], deque[pa.Table]] = defaultdict(lambda: deque(maxlen=depth))
        self._states: dict[tuple[str, str], Ordered] = {}
        self._raw: dict[str, list[pa.Table]] = defaultdict(list)
        self._seeding: threading.Thread | None = None
        self._waiting: deque[tuple[str, pa.Table]] = deque()  # batches that came since it began
        self.refused = self.dropped = 0

    def take(self, name: str, rows: pa.Table) -> dict[str, pd.DataFrame]:
        """Take rows of canonical table `name`; returns by view the rows that it put online, one an entity.

        Raises DataError when the rows do not fit the table.
        """
        batch = sampling.admitted(name, schema.conform(name, rows))
        self._raw[name].append(batch)
        if sum(map(len, self._raw[name])) >= FLUSH_ROWS:
            self.flush()
        self._waiting.append((name, batch))
        if self._seeding is not None and self._seeding.is_alive():
            self._bound()
            return {}
        waiting, self._waiting = self._waiting, deque()
        pushed = {}
        for name, batch in waiting:
            for view in self._views:
                if view.online and name in view.reads and len(newest := self._newest(view, name, batch)):
                    self._push(view, newest)
                    pushed[view.name] = newest
        return pushed

    def seed(self) -> threading.Thread:
        """Begin to take the lake's live history into the states of the views that have an incremental form.

        A week of it takes a while, so a thread does it, which is returned; rows that are taken meanwhile wait for it.
        `WAITING_ROWS` may wait: of more the oldest batches are dropped, as what is served is the newest.
        To be called before the first rows are taken.
        """
        self._seeding = threading.Thread(target=self._seed, name="seed", daemon=True)
        self._seeding.start()
        return self._seeding

    def _seed(self) -> None:
        try:
            for view in self._views:
                if view.online and view.incremental:
                    for rows in lake.history(view.reads, SPAN):
                        self._advance(view, rows)
        except Exception:  # with less of its past a state is worse, and still serves
            logger.exception("the live history could not be taken in whole")

    def _bound(self) -> None:
        """Drop the oldest of the batches that wait, until `WAITING_ROWS` are left (or one batch)."""
        waiting, before = sum(len(rows) for _, rows in self._waiting), self.dropped
        while waiting > WAITING_ROWS and len(self._waiting) > 1:
            oldest = len(self._waiting.popleft()[1])
            waiting, self.dropped = waiting - oldest, self.dropped + oldest
        if self.dropped and not before:
            logger.warning("more than %d rows wait for the live history; the oldest are dropped", WAITING_ROWS)

    def flush(self) -> None:
        """Write the raw rows that still wait to the lake, and merge its small files when there are many."""
        for name in [name for name, batches in self._raw.items() if batches]:
            self._append(name, pa.concat_tables(self._raw[name]))
            del self._raw[name]
            lake.compact(name)

    def _newest(self, view: View, name: str, rows: pa.Table) -> pd.DataFrame:
        """The newest row of each entity of `rows` (of table `name`) that holds the limits of the view's columns."""
        for column, values in view.reads[name].items():
            rows = rows.filter(pc.is_in(rows[column], value_set=pa.array(values)))
        made = self._advance(view, {name: rows}) if view.incremental else self._recompute(view, name, rows)
        return made.to_pandas()[[self._holds(view, row) for row in made.to_pylist()]]

    def _advance(self, view: View, rows: Mapping[str, pa.Table]) -> pa.Table:
        """Take rows into the states of their entities; returns the newest row of each."""
        parts: dict[str, dict[str, pa.Table]] = defaultdict(dict)
        for name, batch in rows.items():
            for entity, part in _entities(batch, view.keys[name]):
                parts[entity][name] = part
        made = [self._state(view, entity).add(part) for entity, part in parts.items()]
        return pa.Table.from_pylist([row for row in made if row is not None], schema=table.schema(view))

    def _state(self, view: View, entity: str) -> Ordered:
        key = view.name, entity
        if key not in self._states and view.incremental:
            self._states[key] = Ordered(view.incremental)
        return self._states[key]

    def _recompute(self, view: View, name: str, rows: pa.Table) -> pa.Table:
        """Add rows to their entities' past and transform all of that; returns the newest row of each entity."""
        parts = dict(_entities(rows, view.keys[name]))
        if not parts:
            return table.schema(view).empty_table()
        for entity, part in parts.items():
            self._past[view.name, name, entity].append(part)
        frames = {}
        for one in view.reads:
            kept = [batch for entity in parts for batch in self._past[view.name, one, entity]]
            frames[one] = table.seen(one, pa.concat_tables([schema.TABLES[one].empty_table(), *kept]))
        made = view.transform(frames).sort_values("time", kind="stable")
        return table.conform(view, made.drop_duplicates(view.entity, keep="last"))

    def _holds(self, view: View, row: dict[str, Any]) -> bool:
        try:
            view.columns.model_validate({name: value for name, value in row.items() if name != "dataset"})
        except ValidationError as error:
            self.refused += 1
            logger.warning("view %s, %s %r is not served: %s", view.name, view.entity, row[view.entity], error)
            return False
        return True


def _entities(rows: pa.Table, key: str) -> Iterator[tuple[str, pa.Table]]:
    """The rows of each entity; those without entity or time are left out."""
    rows = rows.filter(pc.and_(pc.is_valid(rows[key]), pc.is_valid(rows["time"])))
    if not len(rows):
        return
    found = rows[key].combine_chunks().dictionary_encode()
    code = found.indices.to_numpy()
    if (np.diff(code) < 0).any():  # else each entity's rows are together, as scrapes bring them
        order = np.argsort(code, kind="stable")
        rows, code = rows.take(pa.array(order)), code[order]
    edges = [0, *(np.flatnonzero(np.diff(code)) + 1).tolist(), len(code)]
    for begin, end in zip(edges, edges[1:], strict=False):
        yield found.dictionary[code[begin]].as_py(), rows.slice(begin, end - begin)


def watch(targets: str, interval: timedelta, sink: Callable[[str, pa.Table], Any], stop: threading.Event) -> None:
    """Scrape `targets` (see `features.sources.prometheus`) every `interval` into `sink(table, rows)` until `stop`.

    The beat does not drift; a beat that comes while the last one is still at work is left out.
    """
    scraper, step = source.load("prometheus"), interval.total_seconds()
    due = time.monotonic()
    while not stop.is_set():
        for name, batches in _by_table(scraper.pull(targets)).items():
            sink(name, pa.concat_tables(batches))
        due += step
        late = time.monotonic() - due
        if late > 0:
            due += step * (late // step + 1)
        stop.wait(max(0.0, due - time.monotonic()))


def _by_table(batches: Any) -> dict[str, list[pa.Table]]:
    found: dict[str, list[pa.Table]] = defaultdict(list)
    for batch in batches:
        found[batch.table].append(batch.conformed())
    return found
