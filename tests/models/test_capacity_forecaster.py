"""Behaviour of CapacityForecaster: what must not matter, what must point one way, and the least it must do."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features import build
from features.demo import rssac002_root_dns
from features.transforms.usage import USAGE, USAGE_OUTCOMES
from infra.errors import DataError, SettingsError
from infra.settings import ROOT
from training import checks, plots
from training.evaluate import Evaluation, evaluate, inputs
from training.models.capacity_forecaster import CapacityForecaster
from training.signature import records

DATA = Path(os.environ.get("AIOPS_DATA") or ROOT.parent / "shared" / "data")
NAME = "rssac002_root_dns"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("usage")
    rssac002_root_dns.write(target, np.random.default_rng(1))
    return target


def _built(*folders: Path, name: str = NAME) -> pd.DataFrame:
    return build.frame(build.read([(name, folder) for folder in folders]), [USAGE], USAGE_OUTCOMES)


@pytest.fixture(scope="module")
def frame(folder: Path) -> pd.DataFrame:
    return _built(folder)


@pytest.fixture(scope="module")
def model(frame: pd.DataFrame) -> CapacityForecaster:
    return CapacityForecaster().fit(frame)


@pytest.fixture(scope="module")
def rows(frame: pd.DataFrame, model: CapacityForecaster) -> list[dict[str, Any]]:
    return records(inputs(model.spec, frame.tail(6)))


def _with_limit(model: CapacityForecaster, row: dict[str, Any], limit: float | None, **options: Any) -> Any:
    own = CapacityForecaster(options)
    own.learner = model.learner
    return own.predict([{**row, "limit": limit}])[0]


# -- what must not matter ---------------------------------------------------------------------------------------------


def test_the_unit_does_not_matter(model: CapacityForecaster, rows: list[dict[str, Any]]) -> None:
    thousands = [{**row, "values": [value / 1000 for value in row["values"]]} for row in rows]
    for given, scaled in zip(model.predict(rows), model.predict(thousands), strict=True):
        np.testing.assert_allclose(np.array(given.daily) / 1000, scaled.daily)  # type: ignore[attr-defined]


def test_the_company_a_row_is_asked_in_does_not_matter(model: CapacityForecaster, rows: list[dict[str, Any]]) -> None:
    together = model.predict(rows)
    assert [model.predict([row])[0] for row in rows] == together
    assert model.predict(rows[::-1]) == together[::-1]


def test_one_mad_day_hardly_matters(model: CapacityForecaster, rows: list[dict[str, Any]]) -> None:
    spiked = {**rows[0], "values": [*rows[0]["values"][:-3], 12 * rows[0]["values"][-3], *rows[0]["values"][-2:]]}
    calm, attacked = (np.array(answer.daily) for answer in model.predict([rows[0], spiked]))  # type: ignore[attr-defined]
    assert np.abs(attacked / calm - 1).mean() < 0.05


# -- what must point one way ------------------------------------------------------------------------------------------


def test_a_higher_level_is_forecast_higher(model: CapacityForecaster, rows: list[dict[str, Any]]) -> None:
    raised = {**rows[0], "values": [*rows[0]["values"][:-28], *(1.2 * value for value in rows[0]["values"][-28:])]}
    before, after = (np.mean(answer.daily) for answer in model.predict([rows[0], raised]))  # type: ignore[attr-defined]
    assert after > 1.08 * before


def test_intervals_hold_the_forecast_and_widen(model: CapacityForecaster, rows: list[dict[str, Any]]) -> None:
    for answer in model.predict(rows):
        low, middle, high = (np.array(getattr(answer, name)) for name in ("daily_low", "daily", "daily_high"))
        assert (low < high).all() and ((low <= middle) & (middle <= high)).mean() > 0.9
        assert (high - low)[-14:].mean() > (high - low)[:14].mean()
        assert [period.days for period in answer.periods] == [30, 60, 90]  # type: ignore[attr-defined]
        for period in answer.periods:  # type: ignore[attr-defined]
            assert period.usage == middle[period.days - 1]
            assert period.mean == pytest.approx(middle[: period.days].mean())


def test_a_lower_limit_is_reached_no_later(model: CapacityForecaster, rows: list[dict[str, Any]]) -> None:
    peak = max(model.predict(rows[:1])[0].daily_high)  # type: ignore[attr-defined]
    answers = [_with_limit(model, rows[0], share * peak) for share in (0.7, 0.9, 1.0, 1.1)]
    days = [answer.limit_reached_earliest for answer in answers]
    assert days[3] is None and days[0] <= days[1] <= days[2]
    assert all(a.limit_reached_on is None or a.limit_reached_earliest <= a.limit_reached_on for a in answers)


# -- what it says -----------------------------------------------------------------------------------------------------


def test_the_policy_follows_the_date_of_the_limit(model: CapacityForecaster, rows: list[dict[str, Any]]) -> None:
    plain = model.predict(rows[:1])[0]
    peak, near = max(plain.daily_high), max(plain.daily_high[:30])  # type: ignore[attr-defined]
    now = _with_limit(model, rows[0], 0.99 * near)
    assert (now.scaling.action, now.scaling.by) == ("scale_up_now", rows[0]["time"].date())
    later = _with_limit(model, rows[0], 0.999 * peak, lead_time="1d")
    assert later.scaling.action == "plan_scale_up"
    assert later.scaling.by < later.limit_reached_earliest
    assert _with_limit(model, rows[0], 1.5 * peak).scaling.action == "keep"
    assert _with_limit(model, rows[0], 5 * peak).scaling.action == "scale_down"
    assert _with_limit(model, rows[0], None).scaling.action == "set_limit"
    assert now.scaling.capacity == pytest.approx(1.2 * peak)
    assert now.scaling_basis.startswith("policy")


def test_limits_come_from_the_row_then_the_series_then_the_service(
    model: CapacityForecaster, rows: list[dict[str, Any]]
) -> None:
    limits = {rows[0]["series"]: 2e12, "root_dns": 3e12}
    assert _with_limit(model, rows[0], 1e12, limits=limits).limit == 1e12
    assert _with_limit(model, rows[0], None, limits=limits).limit == 2e12
    assert _with_limit(model, rows[0], None, limits={"root_dns": 3e12}).limit == 3e12


def test_periods_and_level_are_options(model: CapacityForecaster, rows: list[dict[str, Any]]) -> None:
    answer = _with_limit(model, rows[0], None, forecast_periods=["14d", "7d"])
    assert [period.days for period in answer.periods] == [7, 14]
    assert CapacityForecaster({"confidence_level": 0.8}).build().config["level"] == 0.8  # type: ignore[attr-defined]
    for wrong in (["120d"], ["36h"], []):
        with pytest.raises(SettingsError, match="forecast_periods"):
            CapacityForecaster({"forecast_periods": wrong})


def test_it_abstains_out_of_its_depth(model: CapacityForecaster, rows: list[dict[str, Any]]) -> None:
    short = {**rows[0], "values": rows[0]["values"][-90:], "days_ago": rows[0]["days_ago"][-90:]}
    stale = {**rows[0], "values": rows[0]["values"][:-20], "days_ago": rows[0]["days_ago"][:-20]}
    empty = {**rows[0], "values": [], "days_ago": []}
    dead = {**rows[0], "values": [0.0] * len(rows[0]["values"])}
    reasons = [str(a.abstained) for a in model.predict([{**rows[0], "service": "west"}, short, stale, empty, dead])]
    for reason, wanted in zip(reasons, ("'west'", "90 days", "newest value", "0 days", "0 days"), strict=True):
        assert wanted in reason
    unseen = model.predict([{**rows[0], "series": "a new one"}])[0]
    assert unseen.abstained is None and unseen.daily  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="days_ago"):
        model.predict([{**rows[0], "values": [1.0]}])


# -- the least it must be able to do ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evaluation(frame: pd.DataFrame) -> Evaluation:
    model = CapacityForecaster()
    return evaluate(model, lambda seed: list(model.folds(frame, seed))[-2:])


def test_it_beats_the_naive_rule_and_its_intervals_cover(evaluation: Evaluation) -> None:
    figures = evaluation.summary[evaluation.summary["dataset"] == NAME].pivot(
        index="metric", columns="contender", values="mean"
    )
    assert figures.loc["mase", "model"] < 1
    assert figures.loc["accuracy_total_60", "model"] > figures.loc["accuracy_total_60", "naive"]
    assert figures.loc["coverage", "model"] > 0.85


def test_the_picture_shows_all_contenders(evaluation: Evaluation) -> None:
    picture = plots.figures(CapacityForecaster.spec, evaluation)[f"plots/{NAME}.png"]
    horizon, timeline = picture.axes
    assert {line.get_label() for line in horizon.lines} >= {"model", "naive", "strong", "prophet", "xgboost"}
    assert timeline.get_title() == "a.root-servers.net"


def test_no_fold_leaks_and_nothing_is_learnt_that_was_not_known(frame: pd.DataFrame) -> None:
    model = CapacityForecaster()
    folds = list(model.folds(frame))
    assert len(folds) >= 4
    for fold in folds:
        checks.fold(model.spec, fold)
        origin = fold.test["time"].min().floor("D")
        labelled = fold.train[fold.train["future"].notna()]
        assert (labelled["time"] + pd.Timedelta(days=90) < origin).all()
        assert (fold.test["followed_days"] == 90).all()


def test_two_folders_split_by_time_are_learnt_and_judged(folder: Path, tmp_path: Path) -> None:
    for part, keep in (("early", lambda day: day < 20190401), ("late", lambda day: day >= 20190401)):
        (tmp_path / part).mkdir()
        for path in folder.glob("*.csv"):
            table = pd.read_csv(path)
            table[keep(table["#date"])].to_csv(tmp_path / part / path.name, index=False)
    learnt = _built(tmp_path / "early")
    model = CapacityForecaster().fit(inputs(CapacityForecaster.spec, learnt, label=True))
    (fold,) = model.given(learnt, _built(tmp_path / "early", tmp_path / "late"))
    assert fold.test["time"].min() > learnt["time"].max()
    assert model.learner
    figures = model.measure(fold, model.learner.predict(inputs(model.spec, fold.test)))
    assert figures["mase"] < 1.1
    assert figures["answered"] == 1  # their history runs across the border


@pytest.mark.parametrize(("name", "floor"), [(NAME, 0.94), ("pjm_hourly_load", 0.93)])
def test_minimum_on_the_reference_set(name: str, floor: float) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"reference set {name} is not at {DATA}; set AIOPS_DATA to its parent folder")
    model = CapacityForecaster()
    fold = list(model.folds(_built(DATA / name, name=name)))[-1]
    train, test = inputs(model.spec, fold.train, label=True), inputs(model.spec, fold.test)
    figures = model.measure(fold, model.build().fit(train, "future").predict(test))
    assert figures["accuracy_total_60"] >= floor
    assert figures["mase"] < 1.05
    assert figures["coverage"] > 0.9
