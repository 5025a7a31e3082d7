"""Metrics of anomaly scores over time. No point adjustment anywhere: it lets a random score look excellent (Kim et
al., "Towards a rigorous evaluation of time-series anomaly detection", AAAI 2022).

Inputs are of one instance in order of time: `truth` is 0/1 (or bool) a row, `score` grows with how anomalous a row is.
A run of positive rows is an event. A metric that is undefined (no event) is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Values = npt.ArrayLike

WINDOW = 20  # rows; the widest tolerance of VUS
LEVELS = 300  # thresholds tried for recall at a given number of false alarms


def events(truth: Values) -> list[tuple[int, int]]:
    """Half-open row ranges of the events."""
    flags = np.asarray(truth).astype(bool).astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags, [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def tolerant(truth: Values, window: int) -> Floats:
    """Labels that fall off as sqrt(1 - distance/window) up to half of `window` rows before and after each event."""
    label = np.asarray(truth).astype(bool).astype(float)
    fall = np.sqrt(1 - np.arange(1, window // 2 + 1) / max(window, 1))
    soft = label.copy()
    for begin, end in events(label):
        for edge, direction in ((end - 1, 1), (begin, -1)):
            rows = edge + direction * np.arange(1, len(fall) + 1)
            inside = (rows >= 0) & (rows < len(soft))
            soft[rows[inside]] += fall[inside]
    return np.minimum(soft, 1.0)


def vus_pr(truth: Values, score: Values, window: int = WINDOW) -> float:
    """Volume under the range precision-recall surface: the mean of `range_pr_auc` over tolerances 0 ... `window`.

    Paparrizos, Boniol, Palpanas, Tsay, Elmore & Franklin, "Volume under the surface: a new accuracy evaluation measure
    for time-series anomaly detection", PVLDB 15(11), 2022. All distinct scores are thresholds here (theirs: 250).
    """
    return float(np.mean([range_pr_auc(truth, score, width) for width in range(window + 1)]))


def range_pr_auc(truth: Values, score: Values, window: int) -> float:
    """Area under the range precision-recall curve with a tolerance of `window` rows around each event (PVLDB 2022).

    Recall is that of the tolerant labels times the share of events that are touched at all.
    """
    label, given = np.asarray(truth).astype(bool), np.asarray(score, dtype=float)
    if not label.any():
        return math.nan
    soft = tolerant(label, window)
    order = np.argsort(-given, kind="stable")
    last = np.flatnonzero(np.append(np.diff(given[order]) != 0, True))  # tied scores are called together
    hits = np.cumsum(soft[order])
    called = np.cumsum(np.where(soft == 1, 0.0, soft)[order])
    positives = (label.sum() + (soft == 1).sum() + called) / 2
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(len(order))
    first = [rank[begin:end].min() for begin, end in events(soft > 0)]
    touched = np.cumsum(np.bincount(first, minlength=len(order))) / len(first)
    recall = (np.minimum(hits / positives, 1) * touched)[last]
    precision = (hits / np.arange(1, len(order) + 1))[last]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def false_alarms(truth: Values, flagged: Values, hour: int) -> int:
    """Pages outside of any event: a flagged row pages unless there was a page within the `hour` rows before it."""
    rows, label = np.flatnonzero(np.asarray(flagged)), np.asarray(truth).astype(bool)
    count, place = 0, 0
    while place < len(rows):
        count += not label[rows[place]]
        place = int(np.searchsorted(rows, rows[place] + hour))
    return count


def event_recall(truth: Values, flagged: Values) -> float:
    """The share of events with at least one flagged row."""
    called, found = np.asarray(flagged).astype(bool), events(truth)
    return float(np.mean([called[begin:end].any() for begin, end in found])) if found else math.nan


def event_recall_at(truth: Values, score: Values, hour: int, per_day: float = 1.0) -> float:
    """The best event recall of any threshold with at most `per_day` false alarms a day: a point of the curve.

    It is read off the judged part, as recall at a false positive rate is; no alarm is raised by it.
    """
    given = np.asarray(score, dtype=float)
    days = len(given) / (24 * hour)
    shares = np.geomspace(1 / len(given), 0.2, LEVELS)
    levels = np.unique(np.quantile(given, 1 - shares))
    allowed = [level for level in levels if false_alarms(truth, given > level, hour) <= per_day * days]
    return max((event_recall(truth, given > level) for level in allowed), default=0.0)


def hit_rate(ranked: Sequence[str], blamed: Iterable[str], share: float = 1.0) -> float:
    """HitRate@P% (Su et al., KDD 2019): of the blamed metrics, how many are among the first `share` × their number."""
    true = set(blamed)
    return len(true & set(ranked[: math.ceil(share * len(true))])) / len(true) if true else math.nan
