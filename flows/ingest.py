"""Fetch the public data sets, verify them, and land them in the lake as canonical tables."""

from __future__ import annotations

from prefect import flow, task

from features import datasets as manifest
from features import lake
from flows.show import say, table
from training import catalog


@flow(flow_run_name="ingest {datasets}", description=__doc__)
def ingest(datasets: list[str] | None = None) -> dict[str, int]:
    """Land `datasets` (those of all enabled models when empty); returns the lake's rows of each.

    What did not change is not read again.
    """
    names = datasets or sorted({name for model in catalog.enabled() for name in catalog.load(model).spec.datasets})
    counts = {name: land(name) for name in names}
    rows = [_row(name, count) for name, count in counts.items()]
    table("lake", rows, "What the lake holds")
    return counts


@task(name="land", task_run_name="land {name}", tags=["data"])
def land(name: str) -> int:
    folder = manifest.fetch(name, say)
    changed = lake.load(name, folder)
    count = sum(lake.rows(name).values())
    say(f"{name}: {count:,} rows {'loaded' if changed else 'already in the lake'}")
    return count


def _row(name: str, count: int) -> dict[str, object]:
    entry = manifest.get(name)
    return {"data set": name, "title": entry.title, "rows": count, "licence": entry.licence, "origin": entry.origin}
