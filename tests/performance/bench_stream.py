"""How fast the live path makes features: `python -m tests.performance.bench_stream [--instances N] [--beats N]`.

A generated fleet is scraped once a second. One run measures, in points a second of one core, the stream with a view's
incremental form, the same stream that recomputes the newest rows of each instance at every beat, as it does for views
without such a form, and how fast a history is taken in when the stream begins. Nothing is pushed or kept.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from features import schema
from features.stream import Stream
from features.transforms.windows import SERVICE_WINDOWS
from features.view import View

BEGIN = 1_767_225_600_000_000  # microseconds since 1970
GAUGES, COUNTERS = 12, 12  # series of an instance
MEASURED = 5  # beats that are recomputed; all take the same time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=20)
    parser.add_argument("--beats", type=int, default=300, help="as many as the stream that recomputes remembers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["AIOPS__HOME"] = home  # a stream looks after the lake
        print(json.dumps(measure(options.instances, options.beats), indent=1))


def measure(instances: int, beats: int) -> dict[str, float]:
    """Points of a beat, points a second of CPU time, and how many times as fast the incremental form is."""
    fleet = [scrape(instances, second) for second in range(beats)]
    recomputed, known = dataclasses.replace(SERVICE_WINDOWS, incremental=None), pa.concat_tables(fleet[:-MEASURED])
    found = {
        "points_a_beat": len(fleet[0]),
        "incremental": speed(SERVICE_WINDOWS, fleet[:1], fleet[1:]),
        "recomputed": speed(recomputed, [known], fleet[-MEASURED:]),
        "history": speed(SERVICE_WINDOWS, fleet[:1], [pa.concat_tables(fleet[1:])]),
    }
    return {name: round(value) for name, value in found.items()} | {
        "ratio": round(found["incremental"] / found["recomputed"], 1)
    }


def speed(view: View, before: Sequence[pa.Table], measured: Sequence[pa.Table]) -> float:
    """Points a second of CPU time that a stream takes which took `before`."""
    live = Stream([view], push=lambda *_: None, append=lambda *_: None)
    for rows in before:
        live.take("metrics", rows)
    started = time.process_time()
    for rows in measured:
        live.take("metrics", rows)
    return sum(map(len, measured)) / (time.process_time() - started)


def scrape(instances: int, second: int) -> pa.Table:
    """What a fleet reports in one second."""
    names = [f"gauge_{n}" for n in range(GAUGES)] + [f"counter_{n}_total" for n in range(COUNTERS)]
    random, count = np.random.default_rng(second), instances * len(names)
    values = random.normal(10, 1, (instances, len(names)))
    values[:, GAUGES:] = 5 * second + random.uniform(0, 5, (instances, COUNTERS))
    columns = {
        "dataset": pa.repeat("live", count),
        "time": pa.array(np.full(count, BEGIN + 1_000_000 * second), pa.int64()),
        "service_name": pa.repeat("web", count),
        "instance_id": pa.array(np.repeat([f"web-{n}" for n in range(instances)], len(names))),
        "metric_name": pa.array(names * instances),
        "value": pa.array(values.ravel()),
    }
    return schema.conform("metrics", pa.table(columns))


if __name__ == "__main__":
    main()
