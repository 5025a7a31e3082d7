"""Fetch the public data sets, verify them, and land them in the lake as canonical tables."""

from __future__ import annotations

from prefect import flow, task

from features import datasets as manifest
from features import pipeline
from flows.show import say, table
from training import catalog


@flow(flow_run_name="ingest", description=__doc__)
def ingest(datasets: list[str] | None = None) -> dict[str, int]:
    """Land `datasets` (those of all enabled models when empty); returns the lake's rows of each.

    What did not change is not read again.
    """
    names = datasets or pipeline.sets(catalog.features(catalog.enabled()))
    counts = {name: land(name) for name in names}
    table("lake", [_row(name, count) for name, count in counts.items()], "What the lake holds")
    return counts


@task(name="land", task_run_name="land {name}", tags=["data"])
def land(name: str) -> int:
    return pipeline.load(name, say)


def _row(name: str, count: int) -> dict[str, object]:
    entry = manifest.get(name)
    return {"data set": name, "title": entry.title, "rows": count, "licence": entry.licence, "origin": entry.origin}
