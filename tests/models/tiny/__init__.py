"""A model and a learner plugged in as a thirteenth would be: two files, found by name, nothing else changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

import training.learners
import training.models
from infra import plugins

NAME = "tiny_scorer"
HERE = Path(__file__).parent


@contextmanager
def plugged_in() -> Iterator[str]:
    """Put this folder's files beside the program's own for a while; yields the model's name."""
    places = [(training.models.__path__, HERE / "models"), (training.learners.__path__, HERE / "learners")]
    for path, folder in places:
        path.append(str(folder))
    plugins.names.cache_clear()
    try:
        yield NAME
    finally:
        for path, folder in places:
            path.remove(str(folder))
        plugins.names.cache_clear()


def frame(hosts: int = 120, days: int = 3, seed: int = 0, dataset: str = "tiny") -> pd.DataFrame:
    """A labelled frame: hot hosts fail, errors tell a little; the last day is unlabelled."""
    random = np.random.default_rng(seed)
    n = hosts * days
    heat, errors = random.normal(50, 15, n).clip(-40, 99), random.poisson(3, n)
    odds = (heat - 55) / 6 + (errors - 3) / 2 + random.normal(0, 1, n)
    load = np.where(random.random(n) < 0.3, np.nan, random.random(n))
    day = np.repeat(np.arange(days), hosts)
    return pd.DataFrame(
        {
            "dataset": dataset,
            "host": np.tile([f"h{i:03}" for i in range(hosts)], days),
            "time": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(day, unit="D"),
            "failed": np.where(day == days - 1, np.nan, (odds > 1).astype(float)),
            "heat": heat,
            "errors": errors,
            "load": load,
            "recent": [list(random.normal(h, 1, 4)) for h in heat],
        }
    )


def records() -> dict[str, pd.DataFrame]:
    """What the model's view reads: the heat of three hosts on four days."""
    days = pd.date_range("2026-01-01", periods=4, tz="UTC")
    rows = [("tiny", day, f"h{host}", "heat", 40.0 + 5 * host + n) for n, day in enumerate(days) for host in range(3)]
    return {"metrics": pd.DataFrame(rows, columns=["dataset", "time", "instance_id", "metric_name", "value"])}
