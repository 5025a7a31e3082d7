"""SMD, the Server Machine Dataset (Su et al., KDD 2019): servers of an Internet company, 38 metrics, a row a minute."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from features.source import Batch, Source
from features.sources._servers import Layout

LAYOUT = Layout("smd_servers", timedelta(minutes=1), metrics=38, end_counts=False)


class SmdServers(Source):
    """Reads the layout of `features.sources._servers`."""

    def pull(self, where: str) -> Iterator[Batch]:
        yield from LAYOUT.pull(where)
