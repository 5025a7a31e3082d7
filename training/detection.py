"""The figures of a detector: of instances judged one by one, and of a system whose services are judged together.

`part` are judged rows (instance, time, step, anomalous, blamed and what users felt), `scores` what a detector gave for
them (same index): score, threshold, metrics, effects. The metrics themselves are in `training.metrics_anomaly`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import pandas as pd

from training import metrics, metrics_anomaly

FIRST = (1, 3)  # places in which the broken service is looked for


def of_instances(part: pd.DataFrame, scores: pd.DataFrame) -> dict[str, float]:
    """Means over the instances; of a figure that needs an event, over those that had one."""
    found = [of_instance(rows, scores.loc[rows.index]) for _, rows in part.groupby("instance", sort=True)]
    return {str(name): float(value) for name, value in pd.DataFrame(found).mean().items()}


def of_system(part: pd.DataFrame, scores: pd.DataFrame, impact: Sequence[float]) -> dict[str, float]:
    """Whether the broken service stands out, and whether `impact` (one value a row) follows what users felt."""
    rows = part.assign(score=scores["score"].fillna(0.0), impact=np.asarray(impact), minute=rounds(part))
    return {**_service_hits(rows), **_felt(rows)}


def rounds(part: pd.DataFrame) -> pd.Series:
    """A number for each row: the same for rows of different instances that belong together in time."""
    return ((part["time"] - part["time"].min()).dt.total_seconds() / part["step"].median()).round()


def first_rows(part: pd.DataFrame) -> pd.Series:
    """Whether a row is the first of an event of its instance; `part` is in order of time."""
    positive = part["anomalous"].eq(True)
    return positive & ~positive.groupby(part["instance"]).shift(fill_value=False)


def _service_hits(rows: pd.DataFrame) -> dict[str, float]:
    """The share of events in which the instance's highest score is among the first of all; a tie counts against it."""
    rows = rows.sort_values("time", kind="stable")
    positive = rows[rows["anomalous"].eq(True)]
    number = first_rows(rows).loc[positive.index].groupby(positive["instance"]).cumsum()
    places = []
    for (instance, _), event in positive.groupby([positive["instance"], number], sort=False):
        highest = rows[rows["minute"].isin(event["minute"])].groupby("instance")["score"].max()
        places.append(int((highest.drop(str(instance)) >= highest[str(instance)]).sum()) + 1)
    return {f"service_hit_{k}": float(np.mean(np.array(places) <= k)) if places else np.nan for k in FIRST}


def _felt(rows: pd.DataFrame) -> dict[str, float]:
    """Spearman's correlation, over minutes, of the system's impact (its worst service's) with what users felt.

    `degradation` ranks a minute by latency or by the share of failures, whichever is worse: requests that fail at once
    are fast. The latency is itself one of the metrics that a detector sees.
    """
    impact = rows.groupby("minute")["impact"].max()
    felt = (
        rows.dropna(subset=["user_latency", "user_failures"]).groupby("minute")[["user_latency", "user_failures"]].max()
    )
    impact = impact.reindex(felt.index)
    ranks = felt.rank(pct=True, method="min").max(axis=1)  # `min`: the many minutes without a failure rank lowest
    against = {"degradation": ranks, "latency": felt["user_latency"]}
    return {f"impact_vs_{name}": _spearman(impact, values) for name, values in against.items()}


def _spearman(one: pd.Series, other: pd.Series) -> float:
    if one.nunique() < 2 or other.nunique() < 2:
        return np.nan
    return float(one.rank().corr(other.rank()))


def of_instance(part: pd.DataFrame, scores: pd.DataFrame) -> dict[str, float]:
    """The metrics of one instance; without an event only those that need none."""
    part = part.sort_values("time", kind="stable")
    given = scores.loc[part.index]
    truth, score = part["anomalous"].eq(True).to_numpy(), given["score"].fillna(0.0).to_numpy()
    flagged = score > given["threshold"].fillna(np.inf).to_numpy()
    step = float(part["step"].median())
    hour = max(1, round(3600 / step))
    figures = {
        "false_alarms_per_day": metrics_anomaly.false_alarms(truth, flagged, hour) / (len(part) * step / 86400),
        "accuracy": float(np.mean(truth == flagged)),
        "accuracy_all_normal": float(1 - truth.mean()),
    }
    if not truth.any():
        return figures
    return figures | {
        "vus_pr": metrics_anomaly.vus_pr(truth, score),
        "pr_auc": metrics.pr_auc(truth, score),
        "f1": metrics.f1(truth, flagged),
        "event_recall": metrics_anomaly.event_recall(truth, flagged),
        "event_recall_at_1_a_day": metrics_anomaly.event_recall_at(truth, score, hour),
        **_attribution(part, given),
    }


def _attribution(part: pd.DataFrame, given: pd.DataFrame) -> dict[str, float]:
    """HitRate at 100 % and 150 % of the metrics that operators blame, from the effects summed over each event."""
    known = given["metrics"].notna().to_numpy()
    rows = [(tuple(blamed), place) for place, blamed in enumerate(part["blamed"]) if known[place]]
    hits: list[tuple[float, float]] = []
    for blamed, group in groupby(rows, key=lambda row: row[0]):
        if not blamed:
            continue
        total: dict[str, float] = {}
        for _, place in group:
            for name, effect in zip(given["metrics"].iloc[place], given["effects"].iloc[place], strict=True):
                total[name] = total.get(name, 0.0) + effect
        ranked = sorted(total, key=lambda name: -total[name])
        hits.append((metrics_anomaly.hit_rate(ranked, blamed, 1.0), metrics_anomaly.hit_rate(ranked, blamed, 1.5)))
    first, second = np.mean(hits, axis=0) if hits else (np.nan, np.nan)
    return {"hit_rate_100": float(first), "hit_rate_150": float(second)}
