"""The live path: canonical rows as they come → the same transforms as in batch → the online store, and the lake.

A view's newest row needs its entity's past, so the stream keeps the newest batches of each entity in memory; `depth` of
them. That is the one difference to batch, which sees all of the past: give a view with long memory more depth.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from features import lake, sampling, schema, source, store, table
from features.view import View

logger = logging.getLogger("aiops.stream")
Push = Callable[[View, pd.DataFrame], Any]
Append = Callable[[str, pa.Table], Any]
DEPTH = 300
FLUSH_ROWS = 10_000


class Stream:
    """Takes batches of canonical rows; of one thread at a time.

    `push` puts a view's rows online, `append` keeps raw rows; the defaults are the feature store and the lake's
    partition `live`. `refused` counts the rows that broke their view's limits and were not served.
    """

    def __init__(
        self, views: Sequence[View], depth: int = DEPTH, push: Push = store.push, append: Append = lake.append
    ) -> None:
        self._views, self._push, self._append = views, push, append
        self._past: dict[tuple[str, str, str], deque[pa.Table]] = defaultdict(lambda: deque(maxlen=depth))
        self._raw: dict[str, list[pa.Table]] = defaultdict(list)
        self.refused = 0

    def take(self, name: str, rows: pa.Table) -> dict[str, pd.DataFrame]:
        """Take rows of canonical table `name`; returns by view the rows that it put online, one an entity.

        Raises DataError when the rows do not fit the table.
        """
        batch = sampling.admitted(name, schema.conform(name, rows))
        self._raw[name].append(batch)
        if sum(map(len, self._raw[name])) >= FLUSH_ROWS:
            self.flush()
        pushed = {}
        for view in self._views:
            if view.online and name in view.reads and (entities := self._keep(view, name, batch)):
                newest = self._newest(view, entities)
                if len(newest):
                    self._push(view, newest)
                    pushed[view.name] = newest
        return pushed

    def flush(self) -> None:
        """Write the raw rows that still wait to the lake, and merge its small files when there are many."""
        for name in [name for name, batches in self._raw.items() if batches]:
            self._append(name, pa.concat_tables(self._raw[name]))
            del self._raw[name]
            lake.compact(name)

    def _keep(self, view: View, name: str, batch: pa.Table) -> list[str]:
        """Add the rows that `view` reads to their entities' past; returns the entities."""
        for column, values in view.reads[name].items():
            batch = batch.filter(pc.is_in(batch[column], value_set=pa.array(values)))
        key = view.keys[name]
        entities = [entity for entity in pc.unique(batch[key]).to_pylist() if entity is not None]
        for entity in entities:
            self._past[view.name, name, entity].append(batch.filter(pc.equal(batch[key], entity)))
        return entities

    def _newest(self, view: View, entities: Sequence[str]) -> pd.DataFrame:
        """The newest row of each entity that holds the limits of the view's columns."""
        frames = {}
        for name in view.reads:
            kept = [batch for entity in entities for batch in self._past[view.name, name, entity]]
            frames[name] = table.seen(name, pa.concat_tables([schema.TABLES[name].empty_table(), *kept]))
        rows = view.transform(frames).sort_values("time", kind="stable")
        newest = table.conform(view, rows.drop_duplicates(view.entity, keep="last"))
        return newest.to_pandas()[[self._holds(view, row) for row in newest.to_pylist()]]

    def _holds(self, view: View, row: dict[str, Any]) -> bool:
        try:
            view.columns.model_validate({name: value for name, value in row.items() if name != "dataset"})
        except ValidationError as error:
            self.refused += 1
            logger.warning("view %s, %s %r is not served: %s", view.name, view.entity, row[view.entity], error)
            return False
        return True


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
