"""CostPredictor: what machines will cost in a week and a month, where they are cheapest, and where spot ones last.

Measured on origins of the development set: persistence is right for nearly all prices that do not move daily. AWS spot
prices drift, and lags tell part of it; GCP and Azure re-price rarely and without warning, and are left at persistence
where nothing moves. The attention network is one part of the blend, and stands in the table alone as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from features.transforms.markets import CLOCKS, HOUR, MARKET_OUTCOMES, MARKETS, UNKNOWN, Clock, Market
from infra.errors import DataError
from training import metrics_market, placement
from training.learner import Learner
from training.learners.panel import PanelForecast
from training.model import Answer, Fold, Model, Options, Row, Spec, Target
from training.placement import POLICY, Placement

PRICES, TRACES = "coroot_cloud_pricing_2024", "skypilot_spot_traces"
PRICE, AVAILABLE = CLOCKS["cloud.machine.price"], CLOCKS["cloud.spot.available"]
KINDS: dict[str, Clock] = {"spot": PRICE, "on_demand": PRICE, "available": AVAILABLE}
WINDOW, WINDOWS, LAST = 8, 5, 6  # days judged by one model, how many such, days at the end that cannot be judged
JUDGED, BLOCKS = 0.28, 4  # share of a trace that is judged, and in how many parts
STALE = {"spot": 96.0, "on_demand": 96.0, "available": 1.0}  # hours
HORIZONS = ("7", "30")


class CostOptions(Options):
    """`alternatives`: how many of the cheapest placements are told; `interval_level`: what intervals cover."""

    alternatives: int = Field(default=3, ge=1, le=20)
    interval_level: float = Field(default=0.9, ge=0.5, le=0.99)


class PriceForecast(BaseModel):
    """What the machine costs in one place, in the unit of the market; null: not known there now."""

    model_config = ConfigDict(frozen=True)
    place: str
    now: float
    in_7_days: float
    in_7_days_low: float
    in_7_days_high: float
    in_30_days: float
    in_30_days_low: float
    in_30_days_high: float


class SpotRisk(BaseModel):
    """Whether a spot machine can be had in a zone an hour ahead."""

    model_config = ConfigDict(frozen=True)
    place: str
    available_now: bool
    chance: float = Field(ge=0, le=1, description="that one can be had an hour ahead")


class CostAnswer(Answer):
    """Forecast prices, or the risk of spot machines, and the cheapest placements."""

    market: str = ""
    unit: str = ""
    prices: list[PriceForecast] = Field(default=[], description="place by place; empty for availability")
    spot_risk: list[SpotRisk] = Field(default=[], description="likeliest first; empty for prices")
    cheapest: list[Placement] = Field(default=[], description="cheapest first; empty: none is known that fits")
    placement_basis: str = Field(default=POLICY, description="where the placements come from")


class CostPredictor(Model):
    """Persistence and learnt departures from it: boosted lags and attention over past and places."""

    spec = Spec(
        purpose="machine prices in 7 and 30 days, the cheapest placement, and spot availability an hour ahead",
        algorithm="attention over a series' past and its related places, with boosted lags, centred on persistence",
        route="predict/cost",
        task="panel",
        views=(MARKETS,),
        labels=MARKET_OUTCOMES,
        label="future",
        row=Market,
        answer=CostAnswer,
        datasets=(PRICES, TRACES),
        targets=(
            Target(f"{PRICES}/accuracy_7", 0.9, source="specification"),
            Target(f"{PRICES}/accuracy_30", 0.9, source="specification"),
            Target(f"{PRICES}/skill_changed_7", 0.02),
            Target(f"{PRICES}/skill_changed_30", 0.02),
            Target(f"{TRACES}/accuracy", 0.87),
        ),
        headline=f"{PRICES}/skill_changed_7",
        protocol=(
            f"prices: {WINDOWS} windows of {WINDOW} days, each forecast by a model of what was known when it began (a "
            "label is learnt only when it had been measured by then, so the gap is the horizon); one sixteenth of the "
            "machine types, all regions; spot prices of three clouds are judged, on-demand apart, as its published "
            "lists mix tenancies; skill: part of persistence's absolute log error saved, `changed` on the prices that "
            f"moved; availability: the last {JUDGED:.0%} of the trace in {BLOCKS} parts, an hour ahead, same gap"
        ),
        options=CostOptions,
        limits=(
            "Accuracy of prices is nearly persistence's: most prices do not move, and 1 - MAPE above 0.9 is no merit; "
            "the skill on prices that moved is. Rare re-pricings of GCP and Azure are not foreseen. Only 80 days of "
            "2024 were learnt: a month ahead few origins can be tried, so there shares are half those of a week. "
            "On-demand prices return to the median of the mixed lists. Spot availability was learnt on one machine "
            "type (V100) of AWS in 2023, whose hour of the day is not known. Placement is a rule over known prices of "
            "a sample of types; memory and vCPU come from names."
        ),
    )
    options: CostOptions

    def build(self, seed: int = 0) -> Learner:
        return self._panel(("boosted", "attention"), seed)

    def baselines(self, seed: int = 0) -> dict[str, Learner]:
        return {
            "naive": self._panel((), seed),  # persistence
            "strong": self._panel(("boosted",), seed),
            "attention": self._panel(("attention",), seed),
        }

    def folds(self, frame: pd.DataFrame, seed: int = 0) -> Iterator[Fold]:
        for name, rows in frame.groupby("dataset", sort=True):
            for begin, end in _windows(rows):
                train = _known_by(rows[rows["time"] < begin], begin)
                test = rows[(rows["time"] >= begin) & (rows["time"] < end) & rows["future"].notna()]
                if train["future"].notna().any() and len(test):
                    yield Fold(str(name), train.reset_index(drop=True), test.reset_index(drop=True))

    def measure(self, fold: Fold, scores: pd.DataFrame) -> dict[str, float]:
        kinds = {kind: _flat(fold.test, scores, kind) for kind in KINDS}
        if not any(len(newest) for newest, _, _ in kinds.values()):
            raise DataError(f"{fold.dataset}: no row could be judged; give markets of kind {', '.join(KINDS)}")
        figures: dict[str, float] = {}
        for number, days in enumerate(HORIZONS):
            for kind, suffix in (("spot", days), ("on_demand", f"on_demand_{days}")):
                newest, future, told = kinds[kind]
                known = (newest > 0) & (future[:, number] > 0) & (told[:, number] > 0)
                figures |= metrics_market.prices(newest[known], future[known, number], told[known, number], suffix)
        newest, future, told = kinds["available"]
        known = (future[:, 0] >= 0) & (told[:, 0] >= 0)
        return figures | metrics_market.availability(future[known, 0], told[known, 0])

    def decode(self, scores: pd.DataFrame, rows: Sequence[Row]) -> list[Answer]:
        markets = [cast(Market, row) for row in rows]
        learnt = cast(PanelForecast, self._fitted()).newest
        known = placement.catalogue(learnt, markets)
        return [self._answer(score, row, known) for score, row in zip(scores.to_dict("records"), markets, strict=True)]

    def _panel(self, parts: tuple[str, ...], seed: int) -> PanelForecast:
        prices = {"step": 48.0, "steps": 16, "windows": (240.0, 480.0, 2160.0)} | _ahead(PRICE)
        traces = {"step": 1 / 3, "steps": 24, "windows": (1.0, 3.0, 6.0, 12.0, 24.0, 48.0, 168.0)} | _ahead(AVAILABLE)
        plans = {
            "spot": {**prices, "chance": False, "parts": parts},
            "on_demand": {**prices, "chance": False, "parts": ("median",) if parts else ()},
            "available": {**traces, "chance": True, "parts": parts},
        }
        return PanelForecast(plans, level=self.options.interval_level, seed=seed)

    def _answer(self, score: dict[Any, Any], row: Market, known: pd.DataFrame) -> CostAnswer:
        if reason := _unusable(score, row):
            return CostAnswer(abstained=reason, market=row.market, unit=row.unit)
        newest = np.asarray(row.values).reshape(len(row.places), -1)[:, -1]
        told = {name: np.asarray(score[name]).reshape(len(row.places), -1) for name in ("forecast", "low", "high")}
        some = [place for place in range(len(row.places)) if told["forecast"][place, 0] >= 0]
        if row.kind == "available":
            risks = [
                SpotRisk(
                    place=row.places[p], available_now=bool(newest[p] >= 0.5), chance=float(told["forecast"][p, 0])
                )
                for p in some
            ]
            risks.sort(key=lambda risk: (-risk.chance, risk.place))
            return CostAnswer(market=row.market, unit=row.unit, spot_risk=risks)
        prices = [_price(row.places[p], float(newest[p]), {name: told[name][p] for name in told}) for p in some]
        fitting = placement.cheapest(known, row, self.options.alternatives)
        return CostAnswer(market=row.market, unit=row.unit, prices=prices, cheapest=fitting)


def _ahead(clock: Clock) -> dict[str, Any]:
    return {"ahead": clock.ahead, "late": clock.late}


def _windows(rows: pd.DataFrame) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """Begin and end of what is judged by one model each."""
    begin, end = rows["time"].min(), rows["time"].max()
    if (rows["kind"] == "available").all():
        marks = [begin + (end - begin) * (1 - JUDGED * left / BLOCKS) for left in range(BLOCKS, -1, -1)]
        marks[-1] += HOUR
    else:
        marks = [end - pd.Timedelta(days=LAST + WINDOW * left) for left in range(WINDOWS, -1, -1)]
    return list(zip(marks[:-1], marks[1:], strict=True))


def _known_by(rows: pd.DataFrame, when: pd.Timestamp) -> pd.DataFrame:
    """The rows with the values that had been measured by then; null where there were none."""
    return rows.assign(
        future=pd.Series(list(map(_until, rows["future"], rows["kind"], when - rows["time"])), rows.index, dtype=object)
    )


def _until(future: Any, kind: str, passed: pd.Timedelta) -> Any:
    if future is None or kind not in KINDS:
        return None
    clock = KINDS[kind]
    measured = np.asarray(clock.ahead) + clock.late <= passed / HOUR
    told = np.where(measured, np.asarray(future, dtype=float).reshape(-1, len(clock.ahead)), UNKNOWN)
    return told.ravel() if (told >= 0).any() else None


def _flat(test: pd.DataFrame, scores: pd.DataFrame, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Newest value, future and forecast of every place of the rows of a kind: N, N x horizons, N x horizons."""
    ahead = len(KINDS[kind].ahead)
    parts = [
        (np.asarray(newest), np.asarray(future).reshape(-1, ahead), np.asarray(told).reshape(-1, ahead))
        for newest, future, told, is_kind in zip(
            test["newest_values"], test["future"], scores["forecast"], scores["kind"] == kind, strict=True
        )
        if is_kind and told is not None and future is not None
    ]
    if not parts:
        return np.empty(0), np.empty((0, ahead)), np.empty((0, ahead))
    newest, future, told = (np.concatenate([part[n] for part in parts]).astype(float) for n in range(3))
    return newest, future, told


def _unusable(score: dict[Any, Any], row: Market) -> str | None:
    if not score["learnt"]:
        return f"nothing of kind {row.kind!r} at provider {row.provider!r} was in the training data"
    if not row.places or len(row.hours_ago) < 2:
        return f"{len(row.places)} places with {len(row.hours_ago)} moments of history; one place and 2 are needed"
    if row.hours_ago[-1] > STALE[row.kind]:
        return f"the newest value is {row.hours_ago[-1]:g} h old; at most {STALE[row.kind]:g} are allowed"
    return "the newest value of no place is known" if pd.isna(score["forecast_1"]) else None


def _price(place: str, now: float, told: dict[str, np.ndarray]) -> PriceForecast:
    found = {
        f"in_{days}_days{suffix}": float(told[name][number])
        for number, days in enumerate(HORIZONS)
        for name, suffix in (("forecast", ""), ("low", "_low"), ("high", "_high"))
    }
    return PriceForecast(place=place, now=now, **found)
