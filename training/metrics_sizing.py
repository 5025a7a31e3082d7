"""What requests save and what they cost: replayed decisions, savings and violations, beside the rule of seven days."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.learner import Learner
from training.learners.sizing import exploded

Floats = npt.NDArray[np.float64]
OFTEN = 0.01  # a workload above its request in more of its samples than this is badly served
TINY = 1e-12


def replay(learner: Learner, rows: pd.DataFrame) -> pd.DataFrame:
    """Decide hour by hour; what was decided for a workload is its request in the next hour."""
    resources = [name.removesuffix("_request") for name in map(str, rows) if name.endswith("_request")]
    requests: dict[str, dict[str, float]] = {resource: {} for resource in resources}
    parts = []
    for _, now in rows.groupby("time", sort=True):
        present = {
            f"{resource}_request": now["workload"].map(requests[resource]).astype("float64") for resource in resources
        }
        decided = learner.predict(now.assign(**present))
        for resource in resources:
            requests[resource].update(zip(now["workload"], decided[f"{resource}_limit"], strict=True))
        parts.append(decided)
    return pd.concat(parts).reindex(rows.index)


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
    figures: dict[str, float] = {}
    for number, resource in enumerate(resources):
        use, row = exploded(rows[label], number, len(resources))
        found = _resource(rows, limits, use, row, resource, rule)
        figures |= {f"{resource}_{name}": value for name, value in found.items()}
    equal = [figures[f"{resource}_saved_at_equal_violations"] for resource in resources]
    changed = np.zeros(len(rows), dtype=bool)
    for resource in resources:
        changed |= limits[f"{resource}_limit"].groupby(rows["workload"]).diff().abs().gt(TINY).to_numpy()
    hours = rows.groupby("workload")["time"].nunique().sum()
    return {
        **figures,
        "saved_at_equal_violations": float(np.mean(equal)),
        "changes_per_day": 24 * changed.sum() / hours,
    }


def _resource(
    rows: pd.DataFrame, scores: pd.DataFrame, use: Floats, row: npt.NDArray[np.int64], resource: str, rule: float
) -> dict[str, float]:
    capacity = rows[f"{resource}_capacity"].to_numpy("float64")
    limit = np.minimum(scores[f"{resource}_limit"].to_numpy("float64"), capacity)
    reference = np.minimum(_daily(rows, f"{resource}_p99") * rule, capacity)
    over = use > limit[row] * (1 + 1e-6)
    workload = rows["workload"].to_numpy()[row]
    per_workload = pd.Series(over).groupby(workload).mean()
    reference_rate = float((use > reference[row] * (1 + 1e-6)).mean())
    ratio = np.log(np.maximum(use, TINY)) - np.log(limit[row])
    # never below every ratio: where the rule violates nothing, neither may the contender
    grown = np.minimum(limit * np.exp(np.quantile(ratio, 1 - reference_rate, method="higher")), capacity)
    factor = _factor(limit, capacity, float(reference.sum()))
    return {
        "saved": float(1 - limit.sum() / capacity.sum()),
        "violations": float(over.mean()),
        "workloads_served": float((per_workload <= OFTEN).mean()),
        "risk_error": float(scores[f"{resource}_risk"].mean() - over.mean()),
        "saved_at_equal_violations": float(1 - grown.sum() / capacity.sum()),
        "violations_at_equal_savings": float((use > np.minimum(limit * factor, capacity)[row] * (1 + 1e-6)).mean()),
    }


def _daily(rows: pd.DataFrame, name: str) -> Floats:
    """The column's value at the workload's last midnight (UTC); before its first one, of its first row."""
    midnight = rows[name].where(rows["time"].dt.hour == 0)
    workload = rows["workload"]
    return np.asarray(midnight.groupby(workload).ffill().fillna(rows.groupby(workload)[name].transform("first")))


def _factor(limit: Floats, capacity: Floats, wanted: float) -> float:
    """The number that makes the limits, each at most its capacity, add up to `wanted` (bisection on the logarithm)."""
    low, high = -7.0, 7.0
    for _ in range(40):
        middle = (low + high) / 2
        enough = np.minimum(limit * np.exp(middle), capacity).sum() >= wanted
        low, high = (low, middle) if enough else (middle, high)
    return float(np.exp(high))
