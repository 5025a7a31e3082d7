"""ASD, the Application Server Dataset (Li et al., KDD 2021): application servers, 19 metrics, a row in five minutes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from features.source import Batch, Source
from features.sources._servers import Layout

LAYOUT = Layout("asd_servers", timedelta(minutes=5), metrics=19, end_counts=True)


class AsdServers(Source):
    """Reads the layout of `features.sources._servers`."""

    def pull(self, where: str) -> Iterator[Batch]:
        yield from LAYOUT.pull(where)
