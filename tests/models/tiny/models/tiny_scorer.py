"""The smallest complete model: hosts fail when they are hot; the fixture of the contract's own tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import numpy as np
import pandas as pd

from features.view import Columns, Frames, View, column
from training.learner import Learner
from training.model import Answer, Fold, Model, Options, Row, Spec, Target


class HostState(Columns):
    """What is known of a host."""

    host: str = column("the host", min_length=1)
    heat: float = column("mean temperature of the day", unit="Cel", ge=-50, le=150)
    errors: int = column("errors of the day", ge=0)
    load: float | None = column("mean load; absent on old hosts", ge=0, default=None)
    recent: list[float] = column("temperature of the last hours, oldest first", unit="Cel", max_length=4)


class HostFailed(Columns):
    """Whether the host failed within a day."""

    host: str = column("the host")
    failed: int | None = column("1 when it failed", ge=0, le=1)


def _states(frames: Frames) -> pd.DataFrame:
    daily = frames["metrics"].rename(columns={"instance_id": "host", "value": "heat"})
    return daily[["dataset", "host", "time", "heat"]].assign(
        errors=0, load=None, recent=daily["heat"].map(lambda v: [v])
    )


def _labels(frames: Frames) -> pd.DataFrame:
    daily = frames["metrics"].rename(columns={"instance_id": "host"})
    return daily[["dataset", "host", "time"]].assign(failed=(daily["value"] > 60).astype(int))


STATES = View(
    "tiny_states",
    "host",
    HostState,
    {"metrics": {"metric_name": ("heat",)}},
    {"metrics": "instance_id"},
    _states,
    timedelta(days=1),
)
LABELS = View(
    "tiny_labels",
    "host",
    HostFailed,
    {"metrics": {"metric_name": ("heat",)}},
    {"metrics": "instance_id"},
    _labels,
    timedelta(days=1),
    online=False,
)


class TinyRow(HostState):
    """One host on one day."""


class TinyAnswer(Answer):
    """How likely the host fails."""

    probability: float | None = None


class TinyOptions(Options):
    """`strength`: inverse of the regularisation."""

    strength: float = 1.0


class TinyScorer(Model):
    """Logistic regression on the heat of a host."""

    spec = Spec(
        purpose="tests the contract",
        algorithm="logistic regression",
        route="predict/tiny",
        task="classification",
        views=(STATES,),
        labels=LABELS,
        label="failed",
        row=TinyRow,
        answer=TinyAnswer,
        datasets=(),
        targets=(Target("roc_auc", 0.8), Target("roc_auc", 1.0, baseline="naive", source="specification")),
        headline="roc_auc",
        protocol="five folds over hosts",
        options=TinyOptions,
        limits="not for real hosts",
    )

    def build(self, seed: int = 0) -> Learner:
        """See Model."""
        from training.learners.tiny_logit import TinyLogit

        return TinyLogit(["heat", "errors"], self.options.strength)  # type: ignore[attr-defined]

    def baselines(self, seed: int = 0) -> dict[str, Learner]:
        """The errors alone; heat alone."""
        from training.learners.tiny_logit import TinyLogit

        return {"naive": TinyLogit(["errors"]), "strong": TinyLogit(["heat"])}

    def folds(self, frame: pd.DataFrame, seed: int = 0) -> Iterator[Fold]:
        """Five folds over hosts of each data set."""
        for dataset, part in frame.groupby("dataset"):
            hosts = np.random.default_rng(seed).permutation(part["host"].unique())
            for block in np.array_split(hosts, 5):
                judged = part["host"].isin(block)
                yield Fold(str(dataset), part[~judged], part[judged])

    def measure(self, fold: Fold, scores: pd.DataFrame) -> dict[str, float]:
        """ROC-AUC and the Brier score."""
        truth = fold.test["failed"].astype(float)
        positive = truth == 1
        ranks, n, m = scores["probability"].rank(), positive.sum(), (~positive).sum()
        area = (ranks[positive].sum() - n * (n + 1) / 2) / (n * m) if n and m else float("nan")
        return {"roc_auc": float(area), "brier": float(((scores["probability"] - truth) ** 2).mean())}

    def decode(self, scores: pd.DataFrame, rows: Sequence[Row]) -> list[Answer]:
        """Abstains beyond 100 Cel, where no host was seen."""
        return [
            TinyAnswer(abstained="hotter than any host seen") if row.heat > 100 else TinyAnswer(probability=probability)  # type: ignore[attr-defined]
            for row, probability in zip(rows, scores["probability"], strict=True)
        ]
