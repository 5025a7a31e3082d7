"""The gates of promotion. `@champion` moves only when every gate holds; otherwise the version is `@challenger`.

1. Every target of the model's spec holds, absolute or against a baseline of the same run.
2. The headline metric is better than the naive rule's, in the same run.
3. It is not worse than the present champion: the headline reaches the champion's *floor*, the lower end of its 95 %
   interval as recorded (at most `TOLERANCE` below the figure: two machines have an interval that allows anything), or
   the floor that the champion itself had to reach when both learnt from the same data, whichever is higher. So noise
   does not block a retraining, and many small losses cannot add up. The recorded figures are compared, not the
   champion scored anew: it has been fitted on all of the data, so any fold would flatter it. Where the two were judged
   on different folds (the default profile judges a large model on the newest ones), the newest of both are compared.

A first version gets no other treatment: missed targets make it a challenger, and serving, which falls back to
`@challenger` while there is no champion, says so in every answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from training.evaluate import MODEL, Evaluation
from training.model import Spec, Target

TOLERANCE = 0.05  # share of the champion's figure
SCOPES = {"": False, "_newest": True}  # of a recorded headline and floor: all judged folds, the newest ones only


@dataclass(frozen=True)
class Outcome:
    """One target held against the figures; `value` and `bound` are None when not measured."""

    target: Target
    value: float | None
    bound: float | None

    @property
    def met(self) -> bool:
        """True when the figure reaches its bound."""
        if self.value is None or self.bound is None:
            return False
        return self.value >= self.bound if self.target.direction == "at_least" else self.value <= self.bound

    @property
    def sign(self) -> str:
        """How the figure is held against its bound."""
        return "≥" if self.target.direction == "at_least" else "≤"

    def short(self) -> str:
        """`≥ 0.95 ✓` or `≥ 0.95 ✗`."""
        bound = "?" if self.bound is None else f"{self.bound:.3g}"
        return f"{self.sign} {bound} {'✓' if self.met else '✗'}"

    def __str__(self) -> str:
        against = f" ({self.target.threshold:g} × {self.target.baseline})" if self.target.baseline else ""
        if self.value is None or self.bound is None:
            asked = f"{self.target.source} {self.sign} {self.target.threshold:g}{against}"
            return f"{self.target.metric} was not measured; {asked}"
        return f"{self.target.metric} is {self.value:.4g}; {self.target.source} {self.sign} {self.bound:.4g}{against}"


@dataclass(frozen=True)
class Decision:
    """Where the version goes and why; `tags` are written to it."""

    alias: Literal["champion", "challenger"]
    failed: tuple[str, ...]
    tags: dict[str, str]

    @property
    def reason(self) -> str:
        """Every failed gate in words, or that all held."""
        return "; ".join(self.failed) or "every gate holds"


def outcomes(spec: Spec, evaluation: Evaluation) -> list[Outcome]:
    """Every target held against the figures."""
    return [_outcome(target, evaluation) for target in spec.targets]


def decide(spec: Spec, evaluation: Evaluation, data: str, champion: Mapping[str, str] | None = None) -> Decision:
    """Hold a version against the gates. `data`: digest of its data; `champion`: the tags of the present one."""
    champion = _comparable(spec, champion)
    tags = {"judged": evaluation.judged, "headline_metric": spec.headline}
    for suffix, newest in SCOPES.items():
        if (figure := evaluation.figure(spec.headline, newest=newest)) is not None:
            tags[f"headline{suffix}"] = f"{figure['mean']:.6g}"
            tags[f"floor{suffix}"] = f"{_floor(spec, figure, data, champion, suffix):.6g}"
    failed = tuple(_failures(spec, evaluation, champion))
    decision = Decision("challenger" if failed else "champion", failed, tags)
    return Decision(decision.alias, failed, {**tags, "gate_reason": decision.reason, "data": data})


def _comparable(spec: Spec, champion: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """None where the champion's floor is one of another metric. Without a record it is taken for the same."""
    same = champion is not None and champion.get("headline_metric", spec.headline) == spec.headline
    return champion if same else None


def lower_is_better(spec: Spec, metric: str) -> bool:
    """Whether a target asks for `metric` (without its data set) to be small."""
    name = metric.rpartition("/")[2]
    return any(t.direction == "at_most" for t in spec.targets if t.metric.rpartition("/")[2] == name)


def _outcome(target: Target, evaluation: Evaluation) -> Outcome:
    figure = evaluation.figure(target.metric)
    value = None if figure is None else float(figure["mean"])
    if target.baseline is None:
        return Outcome(target, value, target.threshold)
    other = evaluation.figure(target.metric, target.baseline)
    return Outcome(target, value, None if other is None else float(other["mean"]) * target.threshold)


def _failures(spec: Spec, evaluation: Evaluation, champion: Mapping[str, str] | None) -> Iterator[str]:
    yield from (f"target missed: {outcome}" for outcome in outcomes(spec, evaluation) if not outcome.met)
    figure, naive = evaluation.figure(spec.headline, MODEL), evaluation.figure(spec.headline, "naive")
    if figure is None or naive is None:
        yield f"{spec.headline} was not measured for the model and the naive rule"
        return
    sign = -1 if lower_is_better(spec, spec.headline) else 1
    if sign * figure["mean"] <= sign * naive["mean"]:
        yield f"not better than the naive rule: {spec.headline} {figure['mean']:.4g} against {naive['mean']:.4g}"
    if champion:
        yield from _losses(spec, evaluation, champion, sign)


def _losses(spec: Spec, evaluation: Evaluation, champion: Mapping[str, str], sign: int) -> Iterator[str]:
    """What is worse than the champion, on the folds that both were judged on."""
    suffix = "" if champion.get("judged") == evaluation.judged else "_newest"
    figure, floor = evaluation.figure(spec.headline, newest=SCOPES[suffix]), champion.get(f"floor{suffix}")
    if figure is not None and floor is not None and sign * figure["mean"] < sign * float(floor):
        folds = " on the newest folds" if suffix else ""
        yield (
            f"worse than the champion: {spec.headline} {figure['mean']:.4g}{folds}, the champion has "
            f"{champion.get(f'headline{suffix}', '?')} and its floor is {floor}"
        )


def _floor(spec: Spec, figure: pd.Series, data: str, champion: Mapping[str, str] | None, suffix: str) -> float:
    """What the next version must reach: the worse end of this interval, or the inherited floor if stricter."""
    sign = -1 if lower_is_better(spec, spec.headline) else 1
    worse = figure["high"] if sign < 0 else figure["low"]
    mean, half = float(figure["mean"]), abs(float(figure["mean"] - worse))
    own = mean - sign * (
        0.0 if math.isnan(half) else min(half, TOLERANCE * abs(mean))
    )  # no interval: the figure itself
    if champion and champion.get("data") == data and f"floor{suffix}" in champion:
        return sign * max(sign * own, sign * float(champion[f"floor{suffix}"]))
    return own
