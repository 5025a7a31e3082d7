"""Queries a day at DNS root servers (RSSAC002 statistics, as collected by G. Moura).

Layout: one `<letter>.csv` for each root server with the columns below; further columns are passed over. The usage is
the sum of both IP versions. A row is the count of a UTC day: its point stands at the last second of that day, when it
was known. A row without a count has no point.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa

from features.source import Batch, Source
from features.sources import _csv
from infra.errors import DataError

DATASET = "rssac002_root_dns"
COUNTS = ("queriestotal_ipv4", "queriestotal_ipv6")


class RootDns(Source):
    """Reads `a.csv` to `m.csv`."""

    def pull(self, where: str) -> Iterator[Batch]:
        """One batch of metrics per file. Raises DataError naming file, line and column."""
        for path, table in _csv.matching(Path(where), ["#date", *COUNTS], DATASET):
            days = _days(table["#date"], path)
            queries = sum(_csv.number(table, name, path) for name in COUNTS)
            rows = pd.DataFrame({"time": days, "value": queries}).dropna()
            columns = {"time": pa.array(rows["time"], pa.timestamp("us", tz="UTC")), "value": rows["value"].to_numpy()}
            constant = {
                "dataset": DATASET,
                "service_name": "root_dns",
                "instance_id": f"{path.stem}.root-servers.net",
                "metric_name": "dns.server.queries",
                "unit": "{query}/d",
            }
            columns |= {name: pa.repeat(pa.scalar(value), len(rows)) for name, value in constant.items()}
            yield Batch("metrics", pa.table(columns))


def _days(dates: pd.Series, path: Path) -> pd.Series:
    """The last second of each dated day, UTC."""
    found = pd.to_datetime(dates.str.strip(), format="%Y%m%d", errors="coerce", utc=True)
    if found.isna().any():
        row = int(found.isna().to_numpy().argmax())
        raise DataError(f"{path}, line {row + 2}, column '#date': {dates.iloc[row]!r} is not a date like 20131001")
    return found + pd.Timedelta(days=1, seconds=-1)
