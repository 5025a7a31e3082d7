"""CapacityForecaster: how much is used in 30, 60 and 90 days, when a limit is reached, and what the policy says to do.

Prophet and XGBoost are two of the paths that a robust level may take; how much of each is followed is decided on past
origins only. Measured on the early origins of the reference sets: on root servers, whose level jumps when traffic
moves, the level alone is hard to beat; on electricity, which follows the season, XGBoost is worth most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Annotated, Any, cast

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, field_validator

from features.transforms.usage import AHEAD, DAYS, STEP, USAGE, USAGE_OUTCOMES, UsageHistory
from infra.errors import DataError
from infra.settings import Duration
from training import metrics_forecast
from training.learner import Learner
from training.learners.forecast import KINDS, QUARTER, BlendedForecast
from training.metrics_forecast import Floats
from training.model import Answer, Fold, Model, Options, Row, Spec, Target
from training.scaling import DAY, POLICY, ScalingAction, action

HORIZONS = (30, 60, 90)
ORIGINS = 7  # quarters judged; designs were chosen on earlier ones
FRESH = 7  # days: older than that, the newest value says nothing about the present level
PATHS = ("trend", "season", "prophet", "xgboost")


class CapacityOptions(Options):
    """`limits`: of a series, or of all series of a service, where the row gives none; for the others see `POLICY`."""

    forecast_periods: tuple[Duration, ...] = tuple(timedelta(days=days) for days in HORIZONS)
    confidence_level: float = Field(default=0.95, ge=0.5, le=0.99)
    min_history: Duration = timedelta(days=180)
    limits: dict[str, Annotated[float, Field(gt=0)]] = {}
    lead_time: Duration = timedelta(days=30)
    headroom: float = Field(default=0.2, ge=0)
    scale_down_below: float = Field(default=0.5, ge=0, lt=1)

    @field_validator("forecast_periods")
    @classmethod
    def _learnt(cls, periods: tuple[timedelta, ...]) -> tuple[timedelta, ...]:
        if not periods or any(period % DAY or not DAY <= period <= AHEAD * DAY for period in periods):
            raise ValueError(f"give one or more whole days from 1d to {AHEAD}d; further ahead nothing was verified")
        return tuple(sorted(set(periods)))


class Period(BaseModel):
    """The usage at the end of a period, and on average over it; each interval holds with the confidence level."""

    model_config = ConfigDict(frozen=True)
    days: int
    date: date
    usage: float = Field(description="on that day")
    low: float
    high: float
    mean: float = Field(description="mean of the days up to it; times `days`: the total")
    mean_low: float
    mean_high: float


class CapacityAnswer(Answer):
    """What a series will use, when its limit is reached, and what the policy proposes."""

    series: str = ""
    unit: str = ""
    confidence_level: float | None = Field(default=None, description="share of days that the intervals cover")
    periods: list[Period] = []
    daily: list[float] = Field(default=[], description=f"usage of each of the next {AHEAD} days")
    daily_low: list[float] = []
    daily_high: list[float] = []
    limit: float | None = Field(default=None, description="of the row, else of the options; null: none is known")
    limit_reached_on: date | None = Field(default=None, description="first day on which the forecast reaches the limit")
    limit_reached_earliest: date | None = Field(default=None, description="the same of the upper bound")
    scaling: ScalingAction | None = None
    scaling_basis: str = Field(default=POLICY, description="where the action comes from")


class CapacityForecaster(Model):
    """A robust level with the paths of Prophet, XGBoost, trend and last years' seasons, blended on past evidence."""

    spec = Spec(
        purpose="usage in 30, 60 and 90 days with intervals, when a limit is reached, and what to do about it",
        algorithm="Prophet and XGBoost, blended with robust level, damped trend and season; conformal intervals",
        route="predict/capacity",
        task="forecast",
        views=(USAGE,),
        labels=USAGE_OUTCOMES,
        label="future",
        row=UsageHistory,
        answer=CapacityAnswer,
        datasets=("rssac002_root_dns", "pjm_hourly_load"),
        targets=(
            *(
                Target(f"{name}/accuracy_total_{days}", 0.95, source="specification")
                for name in ("rssac002_root_dns", "pjm_hourly_load")
                for days in HORIZONS
            ),
            *(
                target
                for name in ("rssac002_root_dns", "pjm_hourly_load")
                for target in (
                    Target(f"{name}/mase", 1.0, "at_most"),
                    Target(f"{name}/coverage", 0.92),
                    Target(f"{name}/coverage", 0.98, "at_most"),
                )
            ),
        ),
        headline="accuracy_total_60",
        protocol=(
            f"rolling origins: the last {ORIGINS} whole quarters are each forecast weekly, {AHEAD} days ahead, by a "
            "model of what was known when the quarter began; weights and intervals from earlier origins; accuracy is "
            "1 - MAPE of raw daily usage and of the total of the first 30, 60 and 90 days; partial days (told by "
            "earlier days only, see features/transforms/usage.py) are neither learnt nor judged, attack days are; "
            "mase: against the better of last week and last year repeated, for each series"
        ),
        options=CapacityOptions,
        limits=(
            "Jumps of the level, when traffic moves between sites, cannot be foreseen: on root servers they keep the "
            "totals of 60 and 90 days below 0.95, for every contender, and Prophet alone runs after them. Intervals "
            "hold over all series and days together; in a quarter with more jumps than the six before it they are too "
            "narrow. No weather, holidays or launches are known. A fall by more than 40 % is taken for failed "
            "collection for eight days, one by more than 70 % for three months. Not for services that were not learnt. "
            "Scaling actions are a policy; what they do was not learnt."
        ),
    )
    options: CapacityOptions

    def build(self, seed: int = 0) -> Learner:
        return self._blend(PATHS, seed)

    def baselines(self, seed: int = 0) -> dict[str, Learner]:
        return {
            "naive": self._blend(("last_week", "last_year"), seed, whole=True, step=1.0),  # the better one so far
            "strong": self._blend(("lightgbm",), seed, whole=True, origins=3),  # only for its interval
            "prophet": self._blend(("prophet",), seed, whole=True, origins=3),
            "xgboost": self._blend(("xgboost",), seed, whole=True, origins=3),
            "level": self._blend((), seed),
        }

    def folds(self, frame: pd.DataFrame, seed: int = 0) -> Iterator[Fold]:
        for name, rows in frame.groupby("dataset", sort=True):
            day = (rows["time"] - pd.Timestamp(0, tz="UTC")) // DAY
            judged = day.where(self._judged(rows))
            if judged.isna().all():
                raise DataError(
                    f"{name}: no series has {self.options.min_history} of history and {AHEAD} days after it"
                )
            last = (int(judged.max()) + STEP) // QUARTER - 1  # whole quarters only: each counts the same
            for origin in range(last - ORIGINS + 1, last + 1):
                train, test = rows[day < origin * QUARTER], rows[judged // QUARTER == origin]
                decided = train["time"] + AHEAD * DAY < pd.Timestamp(origin * QUARTER, unit="D", tz="UTC")
                train = train.assign(future=train["future"].where(decided, None))
                if decided.any() and len(test):
                    yield Fold(str(name), train.reset_index(drop=True), test.reset_index(drop=True))

    def measure(self, fold: Fold, scores: pd.DataFrame) -> dict[str, float]:
        asked = fold.test["future"].notna().to_numpy()
        judged = asked & self._answered(scores).to_numpy()
        if not judged.any():
            raise DataError(f"{fold.dataset}: no row could be judged; {self.options.min_history} of history are needed")
        test, given = fold.test[judged], {kind: _days(scores[judged], kind) for kind in KINDS}
        truth = metrics_forecast.futures(test["future"].tolist(), test["future_days"].tolist(), AHEAD)
        figures = {"answered": float(judged.sum() / asked.sum())}
        for days in HORIZONS:
            figures |= _until(truth, given, days, test["followed_days"].to_numpy() >= days)
        naive = [test[name].to_numpy(dtype=float) for name in ("naive_week_error", "naive_year_error")]
        error = np.nanmean(np.abs(given["forecast"] - truth), axis=1)
        width = np.nanmean((given["high"] - given["low"]) / given["forecast"])
        return figures | {
            "mase": metrics_forecast.scaled_error(test["series"].tolist(), error, *naive),
            "coverage": metrics_forecast.coverage(truth, given["low"], given["high"]),
            "interval_width": float(width),
        }

    def decode(self, scores: pd.DataFrame, rows: Sequence[Row]) -> list[Answer]:
        given = {kind: _days(scores, kind) for kind in KINDS}
        return [
            self._answer({kind: values[place] for kind, values in given.items()}, facts, cast(UsageHistory, row))
            for place, ((_, facts), row) in enumerate(zip(scores.iterrows(), rows, strict=True))
        ]

    def _blend(self, paths: Sequence[str], seed: int, **config: Any) -> BlendedForecast:
        return BlendedForecast(
            paths, "service", "series", AHEAD, DAYS, self.options.confidence_level, seed=seed, **config
        )

    def _judged(self, rows: pd.DataFrame) -> pd.Series:
        """Rows that are followed to the end, with enough history."""
        return (rows["followed_days"] >= AHEAD) & rows["future"].notna() & (rows["values"].map(len) >= self._needed)

    def _answered(self, scores: pd.DataFrame) -> pd.Series:
        fresh = (scores["stale"] <= FRESH) & scores["forecast_1"].notna()
        return fresh & (scores["known"] >= self._needed)

    @property
    def _needed(self) -> int:
        return self.options.min_history // DAY

    def _unusable(self, facts: pd.Series, row: UsageHistory) -> str | None:
        if not facts["learnt"]:
            return f"no series of service {row.service!r} was in the training data"
        if facts["known"] < self._needed:
            return f"{facts['known']:.0f} days of history with a positive value; {self._needed} are needed"
        if facts["stale"] > FRESH:
            return f"the newest value is {facts['stale']:.0f} days old; at most {FRESH} are allowed"
        return (
            None
            if pd.notna(facts["forecast_1"])
            else "the last week has days without a value, this week and the one before"
        )

    def _answer(self, given: dict[str, Floats], facts: pd.Series, row: UsageHistory) -> CapacityAnswer:
        if reason := self._unusable(facts, row):
            return CapacityAnswer(abstained=reason, series=row.series, unit=row.unit)
        limit = row.limit or self.options.limits.get(row.series) or self.options.limits.get(row.service)
        today = row.time.date()
        expected, earliest = (_reached(given[kind], limit) for kind in ("forecast", "high"))
        needed = float(given["high"].max()) * (1 + self.options.headroom)
        return CapacityAnswer(
            series=row.series,
            unit=row.unit,
            confidence_level=self.options.confidence_level,
            periods=[_period(given, period // DAY, today) for period in self.options.forecast_periods],
            daily=given["forecast"].tolist(),
            daily_low=given["low"].tolist(),
            daily_high=given["high"].tolist(),
            limit=limit,
            limit_reached_on=None if expected is None else today + expected * DAY,
            limit_reached_earliest=None if earliest is None else today + earliest * DAY,
            scaling=action(needed, limit, earliest, today, self.options.lead_time, self.options.scale_down_below),
        )


def _days(scores: pd.DataFrame, kind: str) -> Floats:
    """The columns `kind_1` to `kind_90`, rows × days."""
    return scores[[f"{kind}_{day}" for day in range(1, AHEAD + 1)]].to_numpy(dtype=float)


def _until(truth: Floats, given: dict[str, Floats], days: int, followed: np.ndarray) -> dict[str, float]:
    """The accuracies of the first `days` days, on the rows that were followed so long."""
    part, told = truth[followed, :days], given["forecast"][followed, :days]
    if not (~np.isnan(part)).any():
        return {f"{name}_{days}": float("nan") for name in ("accuracy_daily", "accuracy_total", "coverage_mean")}
    known = ~np.isnan(part).all(axis=1)
    mean = np.nanmean(part[known], axis=1)
    low, high = (given[kind][followed][known, days - 1] for kind in ("mean_low", "mean_high"))
    return {
        f"accuracy_daily_{days}": metrics_forecast.daily_accuracy(part, told),
        f"accuracy_total_{days}": metrics_forecast.total_accuracy(part, told),
        f"coverage_mean_{days}": metrics_forecast.coverage(mean, low, high),
    }


def _period(given: dict[str, Floats], days: int, today: date) -> Period:
    low, high, mean_low, mean_high = (float(given[kind][days - 1]) for kind in KINDS[1:])
    return Period(
        days=days,
        date=today + days * DAY,
        usage=float(given["forecast"][days - 1]),
        low=low,
        high=high,
        mean=float(given["forecast"][:days].mean()),
        mean_low=mean_low,
        mean_high=mean_high,
    )


def _reached(values: Floats, limit: float | None) -> int | None:
    """The first day ahead on which `values` reach the limit."""
    if limit is None or not (values >= limit).any():
        return None
    return int((values >= limit).argmax()) + 1
