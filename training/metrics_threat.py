"""Metrics of threats: what alarms, what is merely suspicious, and which attacks neither finds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from infra.errors import DataError
from training import metrics


def figures(truth: pd.Series, scores: pd.DataFrame, benign: str, budget: float = 0.05) -> dict[str, float]:
    """Metrics of the rows whose scores are known.

    `truth`: the benign name, a type, or `type/name`. `scores`: `probability`, `threshold`; `suspicion` and `watch` are
    these again where a contender has none. `accuracy`, `fpr`, `recall`: at the threshold. `watch_*`: when the merely
    suspicious count as alarms too. `recall_at_5fpr` and, for each type, `recall_<type>`: by the ranking of the
    suspicion, at the best threshold that alarms on at most `budget` of the judged benign rows.
    """
    judged = (truth.notna().to_numpy()) & scores["probability"].notna().to_numpy()
    if not judged.any():
        raise DataError("no row could be judged; the training part must hold the same kinds of activities")
    truth, known = truth[judged], scores[judged]
    y = (truth != benign).to_numpy()
    probability, threshold = known["probability"].to_numpy(), float(known["threshold"].iloc[0])
    suspicion = known.get("suspicion", known["probability"]).to_numpy()
    called = probability >= threshold
    watched = called | (suspicion >= float(known.get("watch", known["threshold"]).iloc[0]))
    found = {
        "accuracy": float(np.mean(called == y)),
        "accuracy_majority": float(max(y.mean(), 1 - y.mean())),
        "fpr": _share(called, ~y),
        "recall": _share(called, y),
        "watch_fpr": _share(watched, ~y),
        "watch_recall": _share(watched, y),
        "pr_auc": metrics.pr_auc(y, probability),
        "roc_auc": metrics.roc_auc(y, probability),
        "recall_at_5fpr": metrics.recall_at_false_alarms(y, suspicion, budget),
        "brier": metrics.brier(y, probability),
        "ece": metrics.ece(y, probability),
        "answered": float(judged.mean()),
    }
    codes, names = pd.factorize(truth)
    types = np.array([name.partition("/")[0] for name in names], dtype=object)[codes]
    if "type" in known:
        found["type_accuracy"] = _share(types == known["type"].to_numpy(), called & y)
    return found | _by_type(types, y, suspicion, budget)


def _by_type(types: np.ndarray, attack: np.ndarray, suspicion: np.ndarray, budget: float) -> dict[str, float]:
    """Recall of each type among the rows more suspicious than all but `budget` of the benign ones."""
    benign = np.sort(suspicion[~attack])[::-1]
    if not len(benign):
        return {}
    above = suspicion > benign[min(int(budget * len(benign)), len(benign) - 1)]
    return {f"recall_{name}": float(above[types == name].mean()) for name in sorted(set(types[attack]))}


def _share(called: np.ndarray, among: np.ndarray) -> float:
    return float(called[among].mean()) if among.any() else float("nan")
