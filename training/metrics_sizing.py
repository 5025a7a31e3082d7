"""What requests save and what they cost: replayed decisions, savings and violations, beside the rule of seven days."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.learner import Learner
from training.learners.sizing import exploded

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
OFTEN = 0.01  # a workload above its request in more of its samples than this is badly served
TINY = 1e-12


@runtime_checkable
class Replayed(Protocol):
    """A learner whose decisions depend on its earlier ones."""

    def replayed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The scores of every row, each with the request that the row before left."""


def replay(learner: Learner, rows: pd.DataFrame) -> pd.DataFrame:
    """Decide hour by hour; what was decided for a workload is its request in the next hour."""
    assert isinstance(learner, Replayed)  # noqa: S101 - the contenders of one model
    return learner.replayed(rows)


def sizing(
    test: pd.DataFrame, scores: pd.DataFrame, label: str, resources: Sequence[str], rule: float
) -> dict[str, float]:
    """Figures of `<resource>_limit`; rows without a label are not judged.

    For each resource: `saved` (share of the capacity not reserved, pooled), `violations` (share of samples above the
    limit, pooled), `workloads_served` (share of workloads with at most 1 % of such samples), `risk_error` (expected
    less seen violations), and two comparisons with the rule on the same rows; with all limits times one number,
    `saved_at_equal_violations` and `violations_at_equal_savings`. `changes_per_day`: of a workload's requests.
    """
    judged = test[label].notna().to_numpy()
    rows, limits = test[judged].reset_index(drop=True), scores[judged].reset_index(drop=True)
    workload = pd.factorize(rows["workload"])[0]
    midnight = _midnights(rows["time"], workload)
    figures: dict[str, float] = {}
    uses, row = exploded(rows[label], len(resources))
    for resource, use in zip(resources, uses, strict=True):
        daily = rows[f"{resource}_p99"].to_numpy("float64")[midnight] * rule
        found = _resource(rows[f"{resource}_capacity"].to_numpy("float64"), limits, use, row, resource, daily, workload)
        figures |= {f"{resource}_{name}": value for name, value in found.items()}
    equal = [figures[f"{resource}_saved_at_equal_violations"] for resource in resources]
    hours = ~pd.DataFrame({"workload": workload, "time": rows["time"]}).duplicated()
    return {
        **figures,
        "saved_at_equal_violations": float(np.mean(equal)),
        "changes_per_day": 24
        * _changes(limits[[f"{resource}_limit" for resource in resources]], workload)
        / hours.sum(),
    }


def _resource(
    capacity: Floats, scores: pd.DataFrame, use: Floats, row: Places, resource: str, daily: Floats, workload: Places
) -> dict[str, float]:
    """Figures of one resource; `use`: samples, `row`: the row of each, `daily`: the rule's request of each row."""
    limit = np.minimum(scores[f"{resource}_limit"].to_numpy("float64"), capacity)
    reference = np.minimum(daily, capacity)
    over = use > limit[row] * (1 + 1e-6)
    of_workload = workload[row]
    badly, samples = np.bincount(of_workload, over), np.bincount(of_workload)
    reference_rate = float((use > reference[row] * (1 + 1e-6)).mean())
    ratio = np.maximum(use, TINY) / limit[row]
    # never below every ratio: where the rule violates nothing, neither may the contender
    grown = np.minimum(limit * np.quantile(ratio, 1 - reference_rate, method="higher"), capacity)
    factor = _factor(limit, capacity, float(reference.sum()))
    return {
        "saved": float(1 - limit.sum() / capacity.sum()),
        "violations": float(over.mean()),
        "workloads_served": float((badly[samples > 0] / samples[samples > 0] <= OFTEN).mean()),
        "risk_error": float(scores[f"{resource}_risk"].mean() - over.mean()),
        "saved_at_equal_violations": float(1 - grown.sum() / capacity.sum()),
        "violations_at_equal_savings": float((use > np.minimum(limit * factor, capacity)[row] * (1 + 1e-6)).mean()),
    }


def _midnights(times: pd.Series, workload: Places) -> Places:
    """For each row, the row of its workload's last midnight (UTC); before its first one, of its first row."""
    place = pd.Series(np.arange(len(times), dtype="float64"))
    last = place.where((times.dt.hour == 0).to_numpy()).groupby(workload).ffill()
    return np.asarray(last.fillna(place.groupby(workload).transform("first")), dtype=np.int64)


def _changes(limits: pd.DataFrame, workload: Places) -> int:
    """How often a workload's next row has another request."""
    order = np.argsort(workload, kind="stable")
    moved = (np.abs(np.diff(limits.to_numpy("float64")[order], axis=0)) > TINY).any(axis=1)
    return int((moved & (np.diff(workload[order]) == 0)).sum())


def _factor(limit: Floats, capacity: Floats, wanted: float) -> float:
    """The number that makes the limits, each at most its capacity, add up to `wanted` (bisection on the logarithm)."""
    low, high = -7.0, 7.0
    for _ in range(40):
        middle = (low + high) / 2
        enough = np.minimum(limit * np.exp(middle), capacity).sum() >= wanted
        low, high = (low, middle) if enough else (middle, high)
    return float(np.exp(high))
