"""Policies of two providers: some are changed again and again, most never, and a change is soon followed by another."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

_RESOURCES, _DAYS, _START = 300, 900, datetime(2021, 1, 1, tzinfo=UTC)


def write(target: Path, random: np.random.Generator) -> None:
    for provider in ("aws_managed_policy", "gcp_predefined_role"):
        rows = [row for number in range(_RESOURCES) for row in _history(provider, number, random)]
        table = pd.DataFrame(rows).sort_values("detected_utc", kind="stable")
        with gzip.GzipFile(target / f"{provider}.csv.gz", "wb", mtime=0) as stream:
            stream.write(table.to_csv(index=False).encode())


def _history(provider: str, number: int, random: np.random.Generator) -> list[dict[str, object]]:
    busy, day, actions = random.random() < 0.1, 0.0, int(random.integers(1, 300))
    rows: list[dict[str, object]] = []
    while day < _DAYS:
        rows.append(
            {
                "provider": provider,
                "resource": f"role-{number}",
                "detected_utc": (_START + timedelta(days=day)).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "event": "changed" if rows else "first_seen",
                "n_actions": actions,
                "actions_added": 3 if rows else actions,
                "actions_removed": 0,
                "bytes": 40 * actions,
                "content_changed": bool(rows),
                "drift": bool(rows),
            }
        )
        actions += 3
        day += float(random.exponential(60.0 if busy else 3000.0)) + 1
    return rows
