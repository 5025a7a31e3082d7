"""Price lists of the machines of AWS, GCP and Azure, on demand and spot (coroot/cloud-pricing).

Layout: `cloud-pricing_<date>.json.gz`, one snapshot each: {cloud: {compute: {region: {type: {on_demand, spot}}}}}, USD
an hour, 0 where none is published. A price is a gauge, not a charge, so it is a metric point of the market
`<cloud>/<type>/<spot or on_demand>` in a region, known at the last second of the snapshot's day.

One of `SHARE` types is read, chosen by a checksum of its name, with all its regions and both kinds of price: the types
of a family move together, and all 110,000 series would say little more.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from features.source import Batch, Source
from infra.errors import DataError

DATASET, METRIC = "coroot_cloud_pricing_2024", "cloud.machine.price"
CLOUDS, KINDS = ("aws", "azure", "gcp"), ("on_demand", "spot")
SHARE = 16
_NAME = re.compile(r"cloud-pricing_(\d{4}-\d{2}-\d{2})\.json\.gz")


class CloudPricing(Source):
    """Reads `cloud-pricing_2024-01-15.json.gz` and its like."""

    def pull(self, where: str) -> Iterator[Batch]:
        """One batch of metrics per snapshot. Raises DataError naming the file and what would be right."""
        for path in sorted(Path(where).rglob("cloud-pricing_*.json.gz")):
            if not (named := _NAME.fullmatch(path.name)):
                raise DataError(f"{path}: the name must be like cloud-pricing_2024-01-15.json.gz")
            try:
                time = pd.Timestamp(named[1], tz="UTC") + pd.Timedelta(days=1, seconds=-1)
                prices = list(_prices(json.loads(gzip.decompress(path.read_bytes()))))
            except (ValueError, OSError, EOFError, AttributeError, KeyError, TypeError, zlib.error) as error:
                raise DataError(
                    f"{path} is no price list ({error}); it must hold cloud, compute, region, type and its prices"
                ) from None
            yield Batch("metrics", _points(prices, time))


def chosen(machine: str) -> bool:
    """Whether prices of this type are read."""
    return zlib.crc32(machine.encode()) % SHARE == 0


def _prices(content: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    """(market, region, price) of every published price."""
    for cloud in CLOUDS:
        for region, machines in content[cloud]["compute"].items():
            for machine in filter(chosen, machines):
                for kind in KINDS:
                    if (price := float(machines[machine].get(kind) or 0)) > 0:
                        yield f"{cloud}/{machine}/{kind}", region, price


def _points(prices: list[tuple[str, str, float]], time: pd.Timestamp) -> pa.Table:
    markets, regions, values = ([price[part] for price in prices] for part in range(3))
    constant = {"dataset": DATASET, "metric_name": METRIC, "unit": "USD/h"}
    columns = {name: pa.repeat(pa.scalar(value), len(prices)) for name, value in constant.items()}
    columns["time"] = pa.repeat(pa.scalar(time.to_pydatetime(), pa.timestamp("us", tz="UTC")), len(prices))
    texts = {"service_name": pa.array(markets, pa.string()), "instance_id": pa.array(regions, pa.string())}
    return pa.table(columns | texts | {"value": pa.array(values, pa.float64())})
