"""Live metrics: the text exposition format that Prometheus scrapes, from any number of targets at once.

`where` names the targets, either `service=url` or `service/instance=url` with commas between them, or as JSON
`[{"service": "web", "instance": "web-1", "url": "http://127.0.0.1:8200/metrics"}]`. Without an instance it is the
url's host and port, as in Prometheus. Counters stay counters (`features.rates` turns them into rates), and each target
gets the series that Prometheus adds: `up` (1, or 0 when the scrape failed) and `scrape_duration_seconds`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import urlsplit

import httpx
import pyarrow as pa
from prometheus_client.parser import text_string_to_metric_families

from features.rates import LIVE
from features.schema import TABLES
from features.source import Batch, Source
from infra.errors import DataError

TIMEOUT = 1.0  # seconds for the whole scrape: a target that answers later is down
LARGEST = 8 << 20  # bytes; a larger answer is no exposition of one process
_UNITS = {"seconds": "s", "bytes": "By", "ratio": "1", "celsius": "Cel", "meters": "m", "volts": "V", "amperes": "A"}


@dataclass(frozen=True)
class Target:
    """One process that exposes metrics."""

    service: str
    instance: str
    url: str


@dataclass(frozen=True)
class _Point:
    name: str
    labels: dict[str, str]
    value: float
    time: datetime


class Prometheus(Source):
    """Scrapes every target once a pull."""

    def pull(self, where: str) -> Iterator[Batch]:
        """One batch of metrics a target, in their order. Raises DataError for a wrong text of targets."""
        named = targets(where)
        with ThreadPoolExecutor(max_workers=len(named)) as pool:
            for target, points in zip(named, pool.map(scrape, named), strict=True):
                yield Batch("metrics", _rows(target, points))


def targets(where: str) -> list[Target]:
    """The targets that `where` names. Raises DataError naming the wrong part."""
    if where.lstrip().startswith(("[", "{")):
        try:
            entries = json.loads(where)
            return [_target(e["service"], e["url"], e.get("instance")) for e in entries]
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"targets {where!r}: {error!r}; expected a JSON list of service, url, instance") from None
    found = []
    for part in filter(None, map(str.strip, where.split(","))):
        name, _, url = part.partition("=")
        service, _, instance = name.partition("/")
        found.append(_target(service, url, instance))
    if not found:
        raise DataError("no targets to scrape; name them as service=url, with commas between them")
    return found


def _target(service: str, url: str, instance: str | None) -> Target:
    split = urlsplit(url)
    if not service or split.scheme not in ("http", "https") or not split.hostname:
        raise DataError(f"target {service}={url}: expected service=http://host:port/path")
    return Target(service, instance or split.netloc.rpartition("@")[2], url)


def scrape(target: Target) -> list[_Point]:
    """All samples of one target, `up` and `scrape_duration_seconds` last; only those two when it does not answer."""
    now, begin = datetime.now(UTC), time.monotonic()
    try:
        points = _parse(_get(target.url, begin + TIMEOUT), now)
        up = 1.0
    except (httpx.HTTPError, ValueError):  # down, late, an error page, or no exposition: `up` is 0 and says so
        points, up = [], 0.0
    duration = time.monotonic() - begin
    return [*points, _Point("up", {}, up, now), _Point("scrape_duration_seconds", {}, duration, now)]


def _get(url: str, deadline: float) -> str:
    """The body, complete before `deadline`: a target that trickles is as late as one that is silent."""
    with _client().stream("GET", url) as answer:
        answer.raise_for_status()
        body = bytearray()
        for block in answer.iter_bytes():
            body += block
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout(f"{url} took longer than {TIMEOUT} s")
            if len(body) > LARGEST:
                raise ValueError(f"{url} answered with more than {LARGEST} bytes")
    return body.decode()


@lru_cache
def _client() -> httpx.Client:
    """One client for all scrapes: each loads the machine's certificates, which takes longer than many scrapes.

    It keeps no connection: one that a restarted target left behind would say that the new one is down.
    """
    return httpx.Client(
        timeout=TIMEOUT, trust_env=False, limits=httpx.Limits(max_connections=None, max_keepalive_connections=0)
    )


def _parse(text: str, now: datetime) -> list[_Point]:
    return [
        _Point(sample.name, sample.labels, sample.value, _time(sample.timestamp, now))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if math.isfinite(sample.value)
    ]


def _time(stamp: object, now: datetime) -> datetime:
    return datetime.fromtimestamp(float(stamp), UTC) if isinstance(stamp, (int, float)) else now


def _rows(target: Target, points: list[_Point]) -> pa.Table:
    rows = [
        {
            "dataset": LIVE,
            "time": point.time,
            "service_name": target.service,
            "instance_id": target.instance,
            "metric_name": point.name,
            "unit": _unit(point.name),
            "value": point.value,
            "attributes": list(point.labels.items()),
        }
        for point in points
    ]
    return pa.Table.from_pylist(rows, schema=TABLES["metrics"])


def _unit(name: str) -> str:
    """UCUM, by Prometheus's rule that a name ends with its unit (before `_total`, `_sum`)."""
    return next((_UNITS[word] for word in reversed(name.split("_")[-2:]) if word in _UNITS), "1")
