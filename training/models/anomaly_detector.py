"""AnomalyDetector: which instances behave unlike themselves, which metrics say so, who else is affected.

Each instance is learnt by itself, from its own past and without labels. Measured on the reference sets and left out
because none of it beat the closed form: an autoencoder over the deviations, a network that forecasts them, one that
gives their spread, and a scorer trained on injected anomalies (see BENCHMARKS.md for what the closed form reaches).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from features.transforms.windows import ANOMALIES, SERVICE_WINDOWS, InstanceState
from infra.errors import DataError
from training import detection
from training.learner import Learner
from training.learners.detector import FEWEST
from training.learners.mahalanobis import MultiscaleMahalanobis
from training.learners.reconstruction import PcaReconstruction
from training.learners.sigma import LargestSigma
from training.model import Answer, Fold, Model, Options, Row, Spec, Target

# data sets that are one system: its services are judged together, as an own data set of this name
SYSTEMS = {"nezha_online_boutique": "online_boutique"}
FELT = ("up", "request", "latency", "duration", "error", "availability", "throughput", "response")
IMPACT = (
    "importance of the service × reach × severity; severity = 1 - alarm level / level of the row, 0 below the alarm; "
    "reach = the larger of the share of the blame that metrics felt by users bear and the share of the asked instances "
    "that are anomalous, at least `least_reach`; set by operators, not learned from data"
)


class AnomalyOptions(Options):
    """`fewest_rows`: rows learnt of an instance below which it abstains. `importance`: of a service, 0 to 1.

    `alarms_per_day`: hours with an alarm a day that the unlabelled history may have, true anomalies included.
    `felt`: a metric whose name holds one of these words is felt by users. `together`: rows within which instances are
    anomalous at the same time.
    """

    alarms_per_day: float = Field(default=1.5, gt=0)
    fewest_rows: int = Field(default=120, ge=1)
    blamed: int = Field(default=5, ge=1)
    together: float = Field(default=5, ge=0)
    importance: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    felt: tuple[str, ...] = FELT
    least_reach: float = Field(default=0.2, ge=0, le=1)


class Blamed(BaseModel):
    """A metric that moved the score."""

    model_config = ConfigDict(frozen=True)
    metric: str
    value: float = Field(description="its newest value, in its own unit")
    weight: float = Field(description="its share of the score")


class Correlated(BaseModel):
    """Another instance that is anomalous at the same time."""

    model_config = ConfigDict(frozen=True)
    instance: str
    service: str
    score: float
    usual: bool = Field(description="whether the two moved together in training as well")


class AnomalyAnswer(Answer):
    """How unusual an instance is, what says so, and what it may cost."""

    instance: str
    service: str
    evidence_at: datetime = Field(description="time of the newest data looked at")
    anomalous: bool | None = None
    score: float | None = Field(default=None, ge=0, le=1, description="0.5 is where an alarm begins")
    threshold: float = 0.5
    blamed: list[Blamed] = Field(default=[], description="metrics that moved the score, strongest first")
    correlated: list[Correlated] = Field(default=[], description="of the asked instances, those anomalous as well")
    business_impact: float | None = Field(default=None, ge=0, le=1, description=IMPACT)


class AnomalyDetector(Model):
    """Deviations from a bank of seasonal forecasts, whitened by the correlation of the metrics."""

    spec = Spec(
        purpose="which services behave unlike themselves, which metrics say so and who else is affected",
        algorithm="Mahalanobis distance (PyTorch) of the residuals of seasonal exponential smoothing at five memories",
        route="analyze/anomaly",
        task="anomaly",
        views=(SERVICE_WINDOWS,),
        labels=ANOMALIES,
        label="anomalous",
        row=InstanceState,
        answer=AnomalyAnswer,
        datasets=("asd_servers", "smd_servers", "nezha_online_boutique"),
        targets=(
            Target("asd_servers/vus_pr", 1.3, baseline="strong"),
            Target("smd_servers/vus_pr", 1.3, baseline="strong"),
            Target("event_recall", 0.8),
            Target("false_alarms_per_day", 1.0, "at_most"),
        ),
        headline="vus_pr",
        protocol=(
            "each machine by itself: learnt from its unlabelled training part, threshold from the last 30 % of that, "
            "judged on its test part; no point adjustment; a false alarm is an hour with an alarm outside any event; "
            "services (`online_boutique`, in no mean) learn and take the threshold from the first half of the faults, "
            "these included and unknown, and are judged on the second; only the broken service counts as anomalous"
        ),
        options=AnomalyOptions,
        live=True,
        limits=(
            "Says that something is unusual, not that it is bad. An instance needs its own history; a day of it before "
            "daily patterns are known. A metric that never moved in training raises an alarm when it does. A live "
            "point that comes more than a minute late counts in the next training, not in the running forecasts. "
            "The business impact is a formula of the operators, not a measurement, and follows what users felt only "
            "weakly (`impact_vs_degradation`). Two hours of history with faults in it are too short: on such services "
            "(`online_boutique`) simple rules raise fewer false alarms, and `fewest_rows` lets it say nothing yet."
        ),
    )
    options: AnomalyOptions

    def build(self, seed: int = 0) -> Learner:
        return MultiscaleMahalanobis(self.options.alarms_per_day)

    def baselines(self, seed: int = 0) -> dict[str, Learner]:
        rate = self.options.alarms_per_day
        return {"naive": LargestSigma(rate), "strong": PcaReconstruction(rate)}

    def folds(self, frame: pd.DataFrame, seed: int = 0) -> Iterator[Fold]:
        """One fold a machine, its rows before the first labelled one and the labelled ones; one fold a system."""
        for dataset, _, part in _judged_together(frame):
            fold = _split(dataset, part, part["anomalous"].notna())
            if fold and len(fold.train):
                yield fold

    def given(self, train: pd.DataFrame, everything: pd.DataFrame) -> Iterator[Fold]:
        """As `folds`, of the machines that `train` does not judge; their unlabelled past may be in either folder."""
        key = ["dataset", "instance", "time"]
        labelled = train[train["anomalous"].notna()]
        seen = pd.MultiIndex.from_frame(everything[key]).isin(pd.MultiIndex.from_frame(labelled[key]))
        judged = everything["anomalous"].notna() & ~seen
        for dataset, name, part in _judged_together(everything):
            fold = _split(dataset, part, judged[part.index])
            if fold and fold.train.empty:
                raise DataError(f"{name}: no unlabelled rows before the judged ones; add its *_train.pkl")
            if fold:
                yield fold

    def measure(self, fold: Fold, scores: pd.DataFrame) -> dict[str, float]:
        """Means over the fold's instances (usually one); of a system also what concerns it as a whole."""
        figures = detection.of_instances(fold.test, scores)
        if fold.together:
            figures |= detection.of_system(fold.test, scores, self._impacts(fold.test, scores))
        return figures

    def _impacts(self, rows: pd.DataFrame, scores: pd.DataFrame) -> list[float]:
        """The impact of each row, asked together with the other instances of its time."""
        alarm = (scores["score"] > 1).where(scores["score"].notna())
        share = alarm.groupby(detection.rounds(rows)).transform("mean").fillna(0.0)
        known = zip(rows["service"], scores["score"], scores["metrics"], scores["effects"], share, strict=True)
        return [
            self._impact(service, score, dict(zip(metrics, effects / score, strict=True)), together)
            if score > 1
            else 0.0
            for service, score, metrics, effects, together in known
        ]

    def decode(self, scores: pd.DataFrame, rows: Sequence[Row]) -> list[Answer]:
        names = ["score", "learnt", "metrics", "effects", "related"]
        states = [row for row in rows if isinstance(row, InstanceState)]
        looks = [_Look(row, *values) for row, values in zip(states, scores[names].to_numpy(object), strict=True)]
        known = [look for look in looks if look.learnt >= self.options.fewest_rows]
        alarms = [look for look in known if look.score > 1]
        share = len(alarms) / max(len(known), 1)
        return [
            self._answer(look, alarms, share) if look.learnt >= self.options.fewest_rows else self._abstained(look)
            for look in looks
        ]

    def _abstained(self, look: _Look) -> AnomalyAnswer:
        row, fewest = look.row, self.options.fewest_rows
        why = f"only {look.learnt:.0f} rows of it were learnt, {fewest} are needed" if look.learnt else "it is unknown"
        return AnomalyAnswer(
            instance=row.instance,
            service=row.service,
            evidence_at=row.time,
            abstained=f"{row.instance}: {why}",
            explanation=[],
        )

    def _answer(self, look: _Look, alarms: Sequence[_Look], share: float) -> AnomalyAnswer:
        row, anomalous = look.row, look.score > 1
        newest = dict(zip(row.metrics, row.values, strict=True))
        weights = {
            name: float(effect) / look.score
            for name, effect in zip(look.metrics, look.effects, strict=True)
            if effect > 0 and name in newest
        }
        blamed = list(weights.items())[: self.options.blamed] if anomalous else []
        return AnomalyAnswer(
            abstained=None,
            explanation=[],
            instance=row.instance,
            service=row.service,
            evidence_at=row.time,
            anomalous=anomalous,
            score=_bounded(look.score),
            blamed=[Blamed(metric=name, value=newest[name], weight=weight) for name, weight in blamed],
            correlated=self._correlated(look, alarms) if anomalous else [],
            business_impact=self._impact(row.service, look.score, weights, share),
        )

    def _impact(self, service: str, score: float, weights: Mapping[str, float], share: float) -> float:
        """See `IMPACT`."""
        severity = 1 - 1 / max(score, 1.0)
        if not severity:
            return 0.0
        felt = sum(
            weight for name, weight in weights.items() if any(word in name.lower() for word in self.options.felt)
        )
        reach = min(1.0, max(felt, share, self.options.least_reach))
        return self.options.importance.get(service, 1.0) * reach * severity

    def _correlated(self, look: _Look, alarms: Sequence[_Look]) -> list[Correlated]:
        """Other instances with an alarm at the same time: those that moved with it before first, then by score."""
        near = timedelta(seconds=self.options.together * look.row.step)
        found = {
            other.row.instance: Correlated(
                instance=other.row.instance,
                service=other.row.service,
                score=_bounded(other.score),
                usual=other.row.instance in look.related,
            )
            for other in sorted(alarms, key=lambda other: other.score)
            if other.row.instance != look.row.instance and abs(other.row.time - look.row.time) <= near
        }
        return sorted(found.values(), key=lambda other: (not other.usual, -other.score))


@dataclass(frozen=True)
class _Look:
    """A row with what the learner said of it."""

    row: InstanceState
    score: float
    learnt: float
    metrics: Sequence[str]
    effects: Sequence[float]
    related: Sequence[str]


def _bounded(score: float) -> float:
    """0 to 1; the threshold, 1, becomes 0.5."""
    return score / (1 + score)


def _judged_together(frame: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(data set, name, rows) of each machine, and of each system."""
    names = frame["instance"].where(~frame["dataset"].isin(SYSTEMS), frame["dataset"].map(SYSTEMS))
    for (dataset, name), part in frame.groupby([frame["dataset"], names], sort=True):
        yield str(dataset), str(name), part


def _split(dataset: str, part: pd.DataFrame, judged: pd.Series) -> Fold | None:
    if not judged.any():
        return None
    if dataset in SYSTEMS:
        return _system_split(dataset, part.sort_values("time", kind="stable"), judged)
    test = part[judged]
    train = part[part["anomalous"].isna() & (part["time"] < test["time"].min())]
    return Fold(dataset, train.reset_index(drop=True), test.reset_index(drop=True))


def _system_split(dataset: str, part: pd.DataFrame, judged: pd.Series) -> Fold:
    """Learnt from all that lies before, its faults unknown; where that is too little, up to half of the faults.

    Its figures stand under the system's name, so that they are no part of the means over the data sets.
    """
    judged = judged.loc[part.index]
    begin = part.loc[judged, "time"].min()
    if (part["time"] < begin).sum() < FEWEST * part["instance"].nunique():
        starts = part.loc[detection.first_rows(part) & judged, "time"]
        begin = starts.iloc[len(starts) // 2] if len(starts) else begin
    train, test = part[part["time"] < begin], part[judged & (part["time"] >= begin)]
    train = train.assign(anomalous=None).reset_index(drop=True)
    return Fold(SYSTEMS[dataset], train, test.reset_index(drop=True), together=True)
