"""Learning: how often each action helped against each cause, and the outcomes as a source for training."""

from __future__ import annotations

import os
from collections.abc import Iterable
from math import sqrt
from pathlib import Path

from remediation.kernel.rows import EVENT
from remediation.records import Outcome, Probability, Record, Verdict

Z95 = 1.959964


class SuccessRate(Record):
    """Of `total` outcomes of `action` against `cause`; `low` and `high`: 95 % interval (Wilson, 1927)."""

    cause: str
    action: str
    succeeded: int
    total: int
    low: Probability
    high: Probability


def success_rates(outcomes: Iterable[Outcome]) -> list[SuccessRate]:
    """One line for each cause and action, in order of their names. Inconclusive counts as not helped."""
    verdicts: dict[tuple[str, str], list[bool]] = {}
    for outcome in outcomes:
        verdicts.setdefault((outcome.cause, outcome.action), []).append(outcome.verdict is Verdict.SUCCEEDED)
    return [
        SuccessRate(cause=cause, action=action, succeeded=sum(won), total=len(won), **wilson(sum(won), len(won)))
        for (cause, action), won in sorted(verdicts.items())
    ]


def wilson(succeeded: int, total: int) -> dict[str, float]:
    """95 % score interval of a proportion; sane for few trials and for 0 or all of them."""
    if total < 1:
        return {"low": 0.0, "high": 1.0}
    share, scale = succeeded / total, 1 + Z95**2 / total
    centre = (share + Z95**2 / (2 * total)) / scale
    half = Z95 * sqrt(share * (1 - share) / total + Z95**2 / (4 * total**2)) / scale
    return {"low": max(0.0, centre - half), "high": min(1.0, centre + half)}


def export(outcomes: Iterable[Outcome], path: Path) -> Path:
    """Write the outcomes as Parquet in the canonical `events` table (CloudEvents), for the source `outcomes`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from features.schema import TABLES

    rows = [
        {
            "dataset": "live",
            "time": outcome.finished_at,
            "id": outcome.id,
            "source": "/aiops/remediation",
            "type": f"{EVENT}.outcome",
            "subject": f"{outcome.service}/{outcome.instance}",
            "data": outcome.model_dump_json(),
        }
        for outcome in outcomes
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    pq.write_table(pa.Table.from_pylist(rows, schema=TABLES["events"]), temporary)
    temporary.replace(path)  # readers see the old file or the new one, never half of it
    return path
