"""Behaviour of CostPredictor: what must not matter, what must point one way, and the least it must do."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features import build
from features.demo import coroot_cloud_pricing_2024, skypilot_spot_traces
from features.transforms.markets import MARKET_OUTCOMES, MARKETS
from infra.errors import DataError
from infra.settings import ROOT
from training import checks, plots
from training.evaluate import evaluate, inputs
from training.models.cost_predictor import PRICES, TRACES, CostPredictor
from training.signature import records

DATA = Path(os.environ.get("AIOPS_DATA") or ROOT.parent / "shared" / "data")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for name, demo in ((PRICES, coroot_cloud_pricing_2024), (TRACES, skypilot_spot_traces)):
        found[name] = tmp_path_factory.mktemp(name)
        demo.write(found[name], np.random.default_rng(1))
    return found


def _built(places: dict[str, Path]) -> pd.DataFrame:
    return build.frame(build.read(places.items()), [MARKETS], MARKET_OUTCOMES)


@pytest.fixture(scope="module")
def frame(folders: dict[str, Path]) -> pd.DataFrame:
    return _built(folders)


@pytest.fixture(scope="module")
def model(frame: pd.DataFrame) -> CostPredictor:
    return CostPredictor().fit(frame)


def _last(frame: pd.DataFrame, model: CostPredictor, kind: str, provider: str = "aws") -> list[dict[str, Any]]:
    rows = frame[(frame["kind"] == kind) & (frame["provider"] == provider)]
    return records(inputs(model.spec, rows.tail(4)))


@pytest.fixture(scope="module")
def spot(frame: pd.DataFrame, model: CostPredictor) -> list[dict[str, Any]]:
    return _last(frame, model, "spot")


@pytest.fixture(scope="module")
def traces(frame: pd.DataFrame, model: CostPredictor) -> list[dict[str, Any]]:
    return _last(frame, model, "available")


# -- what must not matter ---------------------------------------------------------------------------------------------


def test_the_currency_does_not_matter(model: CostPredictor, spot: list[dict[str, Any]]) -> None:
    dear = [{**row, "values": [value * 100 if value > 0 else value for value in row["values"]]} for row in spot]
    for cheap, scaled in zip(model.predict(spot), model.predict(dear), strict=True):
        ratio = [b.in_7_days / a.in_7_days for a, b in zip(cheap.prices, scaled.prices, strict=True)]  # type: ignore[attr-defined]
        np.testing.assert_allclose(ratio, 100, rtol=1e-4)


def test_the_company_a_row_is_asked_in_does_not_matter(model: CostPredictor, traces: list[dict[str, Any]]) -> None:
    together = model.predict(traces)
    for row, answer in zip(traces, together, strict=True):
        [alone] = model.predict([row])
        chances = [[risk.chance for risk in one.spot_risk] for one in (alone, answer)]  # type: ignore[attr-defined]
        np.testing.assert_allclose(*chances, rtol=1e-5)


def test_prices_that_never_moved_stay(model: CostPredictor, spot: list[dict[str, Any]]) -> None:
    still = {**spot[0], "values": [0.5] * len(spot[0]["values"])}
    [answer] = model.predict([{**still, "provider": "gcp", "market": still["market"].replace("aws", "gcp")}])
    assert [price.in_30_days for price in answer.prices] == pytest.approx([0.5] * len(answer.prices))  # type: ignore[attr-defined]


# -- what must point one way ------------------------------------------------------------------------------------------


def test_rising_prices_are_forecast_above_falling_ones(model: CostPredictor, spot: list[dict[str, Any]]) -> None:
    ago = np.array(spot[0]["hours_ago"])
    count = len(spot[0]["places"])
    answers = model.predict(
        [{**spot[0], "values": np.tile(0.3 * np.exp(-slope * ago / 24), count).tolist()} for slope in (0.006, -0.006)]
    )
    rising, falling = (np.mean([price.in_7_days for price in answer.prices]) for answer in answers)  # type: ignore[attr-defined]
    assert rising > 0.3 > falling


def test_a_zone_that_was_full_is_riskier(model: CostPredictor, traces: list[dict[str, Any]]) -> None:
    size = len(traces[0]["values"])
    good, bad = model.predict([{**traces[0], "values": [value] * size} for value in (1.0, 0.0)])
    chances = [np.mean([risk.chance for risk in answer.spot_risk]) for answer in (good, bad)]  # type: ignore[attr-defined]
    assert chances[0] > chances[1] + 0.3


def test_intervals_hold_the_forecast(model: CostPredictor, spot: list[dict[str, Any]]) -> None:
    for answer in model.predict(spot):
        for price in answer.prices:  # type: ignore[attr-defined]
            assert price.in_7_days_low <= price.in_7_days <= price.in_7_days_high
            assert price.in_30_days_low <= price.in_30_days <= price.in_30_days_high


# -- placement --------------------------------------------------------------------------------------------------------


def test_the_cheapest_placement_fits_what_is_asked(model: CostPredictor, spot: list[dict[str, Any]]) -> None:
    asked = {"need_vcpu": 8, "need_memory_gib": 16}
    [free] = model.predict([{**spot[0], **asked}])
    [bound] = model.predict([{**spot[0], **asked, "clouds": ["gcp"], "spot_allowed": False}])
    [tied] = model.predict([{**spot[0], **asked, "regions": ["westeurope"]}])
    for answer in (free, bound, tied):
        prices = [one.price for one in answer.cheapest]  # type: ignore[attr-defined]
        assert prices == sorted(prices) and prices
        assert all(one.vcpu >= 8 and one.memory_gib >= 16 for one in answer.cheapest)  # type: ignore[attr-defined]
    assert {(one.cloud, one.kind) for one in bound.cheapest} == {("gcp", "on_demand")}  # type: ignore[attr-defined]
    assert {one.place for one in tied.cheapest} == {"westeurope"}  # type: ignore[attr-defined]
    assert free.cheapest[0].price <= min(bound.cheapest[0].price, tied.cheapest[0].price)  # type: ignore[attr-defined]


def test_the_newest_price_is_that_of_the_request(model: CostPredictor, spot: list[dict[str, Any]]) -> None:
    bargain = {**spot[0], "values": [0.0001] * len(spot[0]["values"]), "need_vcpu": 1, "need_memory_gib": 1}
    [answer] = model.predict([bargain])
    assert (answer.cheapest[0].market, answer.cheapest[0].price) == (bargain["market"], 0.0001)  # type: ignore[attr-defined]


def test_what_cannot_be_had_is_not_placed(model: CostPredictor, spot: list[dict[str, Any]]) -> None:
    [answer] = model.predict([{**spot[0], "need_vcpu": 1e6}])
    assert answer.cheapest == []  # type: ignore[attr-defined]


# -- out of its depth -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"provider": "other"}, "was in the training data"),
        ({"places": [], "values": [], "hours_ago": []}, "history"),
        ({"stale": True}, "h old"),
    ],
)
def test_abstains_with_a_reason(
    model: CostPredictor, spot: list[dict[str, Any]], change: dict[str, Any], reason: str
) -> None:
    row = {**spot[0], **change}
    if row.pop("stale", False):
        row["hours_ago"] = [ago + 200 for ago in row["hours_ago"]]
    [answer] = model.predict([row])
    assert reason in (answer.abstained or "")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"values": [1.0]}, "values has 1"),
        ({"places": ["a", "a"], "values": [1.0, 1.0], "hours_ago": [0.0]}, "twice"),
        ({"places": ["a"], "values": [1.0, 1.0], "hours_ago": [0.0, 5.0]}, "must fall"),
        ({"places": ["a"], "values": [-3.0], "hours_ago": [0.0]}, "negative"),
    ],
)
def test_bad_rows_are_refused(
    model: CostPredictor, spot: list[dict[str, Any]], change: dict[str, Any], match: str
) -> None:
    with pytest.raises(DataError, match=match):
        model.predict([{**spot[0], **change}])


# -- the least it must do ---------------------------------------------------------------------------------------------


def test_folds_keep_the_gap(frame: pd.DataFrame) -> None:
    model = CostPredictor()
    for fold in model.folds(frame):
        checks.fold(model.spec, fold)
        gap = pd.Timedelta(days=7) if fold.dataset == PRICES else pd.Timedelta(hours=1)
        learnt = fold.train[fold.train["future"].notna()]
        assert (learnt["time"] + gap <= fold.test["time"].min()).all()


def test_minimum_on_the_demo_set(frame: pd.DataFrame) -> None:
    model = CostPredictor()
    folds = [fold for fold in model.folds(frame) if fold.dataset == PRICES][-2:-1]
    found = evaluate(model, lambda seed: folds, draws=10)
    assert found.figure(model.spec.headline)["mean"] > 0.1  # type: ignore[index]
    assert found.figure(model.spec.headline, "naive")["mean"] == pytest.approx(0, abs=1e-9)  # type: ignore[index]
    assert len(plots.figures(model.spec, found)) == 2


def test_folders_split_by_time_are_judged(folders: dict[str, Path], tmp_path: Path) -> None:
    parts = [tmp_path / "early", tmp_path / "late"]
    for part in parts:
        part.mkdir()
    for path in sorted(folders[PRICES].glob("*.gz")):
        shutil.copy(path, parts[path.name > "cloud-pricing_2024-02-25"] / path.name)
    early = _built({PRICES: parts[0]})
    whole = build.frame(build.read([(PRICES, part) for part in parts]), [MARKETS], MARKET_OUTCOMES)
    model = CostPredictor()
    [fold] = model.given(early, whole)
    checks.fold(model.spec, fold)
    learner = model.baselines()["naive"].fit(inputs(model.spec, fold.train, label=True), "future")
    figures = model.measure(fold, learner.predict(inputs(model.spec, fold.test)))
    assert figures["skill_changed_7"] == pytest.approx(0, abs=1e-9)
    assert figures["accuracy_7"] > 0.9


def test_minimum_on_the_reference_set() -> None:
    if not (DATA / TRACES).is_dir():
        pytest.skip(f"{DATA / TRACES} is absent")
    model = CostPredictor()
    frame = build.frame(build.read([(TRACES, DATA / TRACES)]), [MARKETS], MARKET_OUTCOMES)
    fold = list(model.folds(frame))[-1]
    figures = {}
    for name in ("naive", "strong"):
        learner = model.baselines()[name].fit(inputs(model.spec, fold.train, label=True), "future")
        figures[name] = model.measure(fold, learner.predict(inputs(model.spec, fold.test)))
    assert figures["strong"]["accuracy"] > figures["naive"]["accuracy"] - 0.01
    assert figures["strong"]["brier"] < figures["naive"]["brier"]
