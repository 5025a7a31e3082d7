"""Each kind of leak is planted in data that is fine without it, and must be found and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from infra.errors import DataError, UserError
from training import catalog, checks
from training.model import Fold, Model

Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def fold(model: Model, frame: pd.DataFrame) -> Fold:
    return next(iter(model.folds(frame)))


def _set(column: str, values: Callable[[pd.DataFrame], object]) -> Change:
    return lambda frame: frame.assign(**{column: values(frame)})


def _at(column: str, value: object, row: int = 7) -> Change:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        changed = frame.copy()
        changed[column] = changed[column].astype(object)
        changed.at[row, column] = value
        return changed

    return change


def test_sound_data_passes(model: Model, frame: pd.DataFrame) -> None:
    checks.frame(model.spec, frame)
    for fold in model.folds(frame):
        checks.fold(model.spec, fold)


def test_errors_are_the_users_to_mend() -> None:
    assert issubclass(DataError, UserError)


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("heat", _set("heat", lambda f: f["failed"].fillna(0) * 2 - 1)),  # the label, scaled
        ("heat", _set("heat", lambda f: f["failed"].fillna(0) + np.linspace(0, 0.5, len(f)))),  # only the order tells
        ("heat", _set("heat", lambda f: -f["failed"].fillna(0))),
        ("load", _set("load", lambda f: f["failed"].where(f["failed"] == 1))),  # null unless it failed
        ("recent", _set("recent", lambda f: [[0.0, y] for y in f["failed"].fillna(0)])),  # hidden in the newest element
        ("recent", _set("recent", lambda f: [[0.0] * int(1 + y) for y in f["failed"].fillna(0)])),  # in the length
    ],
)
def test_a_column_that_is_the_label_is_found(model: Model, frame: pd.DataFrame, column: str, change: Change) -> None:
    with pytest.raises(DataError, match=rf"column '{column}'.* reproduces the label 'failed'"):
        checks.frame(model.spec, change(frame))


def test_a_good_column_is_not_called_a_leak(model: Model, frame: pd.DataFrame) -> None:
    truth = frame["failed"].fillna(0)
    noisy = truth.where(np.random.default_rng(0).random(len(truth)) > 0.02, 1 - truth)  # 98 % right is merely good
    checks.label_copies(model.spec, frame.assign(heat=noisy))


def test_a_label_column_among_the_inputs_is_found(model: Model) -> None:
    class Row(model.spec.row):  # type: ignore[name-defined, misc]
        failed: int

    with pytest.raises(DataError, match="column 'failed' of the labels"):
        checks.names(replace(model.spec, row=Row))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_at("heat", None), r"column 'heat': null, and the row allows none; 1 rows: 7 \(h007"),
        (_at("heat", float("inf")), "column 'heat': infinite; 1 rows: 7"),
        (_at("heat", 151.0), "column 'heat': outside le 150; 1 rows: 7"),
        (_at("heat", "hot"), "column 'heat': not a number; 1 rows: 7"),
        (_at("errors", -1), "column 'errors': outside ge 0; 1 rows: 7"),
        (_at("recent", [1.0] * 5, row=0), "column 'recent': List should have at most 4 items"),
        (lambda frame: frame.drop(columns="heat"), "column 'heat' is missing"),
        (lambda frame: frame.drop(columns="failed"), "column 'failed' is missing"),
    ],
)
def test_impossible_values_are_named(model: Model, frame: pd.DataFrame, change: Change, says: str) -> None:
    with pytest.raises(DataError, match=says):
        checks.frame(model.spec, change(frame))


def test_an_allowed_null_passes(model: Model, frame: pd.DataFrame) -> None:
    checks.values(model.spec, frame.assign(load=None))


def test_a_future_time_among_the_inputs_is_found(model: Model, frame: pd.DataFrame) -> None:
    known = frame["time"] - pd.Timedelta(hours=1)
    checks.future_columns(model.spec, frame.assign(measured_at=known))
    known.iloc[3] = frame["time"].iloc[3] + pd.Timedelta(seconds=1)
    with pytest.raises(DataError, match=r"column 'measured_at': later than the row's time.*: 3 \(h003"):
        checks.frame(model.spec, frame.assign(measured_at=known))


def test_two_rows_for_one_entity_and_time_are_found(model: Model, frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"column 'host': more than one row.*2 rows: 0 \(h000"):
        checks.frame(model.spec, pd.concat([frame, frame.iloc[:1].assign(heat=1.0)]))


def test_the_same_key_on_both_sides_is_found(model: Model, fold: Fold) -> None:
    known = fold.test[fold.test["failed"].notna()]
    leaky = Fold(fold.dataset, pd.concat([fold.train, known.head(3).assign(heat=1.0)]), fold.test)
    with pytest.raises(DataError, match="column 'host': the same entity and time is also in the training part; 3 rows"):
        checks.fold(model.spec, leaky)


def test_content_on_both_sides_is_found(model: Model, frame: pd.DataFrame) -> None:
    """Hosts with one row each: not one copy under another name may pass."""
    single = frame.drop_duplicates("host")
    copy = single.head(1).assign(host="copy")
    with pytest.raises(DataError, match="same content is also in the training part.*copy"):
        checks.fold(model.spec, Fold("tiny", single, copy))


def test_resampling_before_the_split_is_found(model: Model, frame: pd.DataFrame) -> None:
    """The rare class repeated under new names and then split, as a careless script does it."""
    single = frame.drop_duplicates("host").reset_index(drop=True)
    rare = single[single["failed"] == 1]
    more = pd.concat([single, *(rare.assign(host=rare["host"] + f"-{n}") for n in range(4))], ignore_index=True)
    with pytest.raises(DataError, match="resample only inside the training part"):
        for fold in model.folds(more):
            checks.fold(model.spec, fold)


def test_an_idle_entity_may_repeat_itself_a_little(model: Model, frame: pd.DataFrame) -> None:
    last = frame["time"] == frame["time"].unique()[1]
    train, test = frame[frame["time"] < frame.loc[last, "time"].min()], frame[last].reset_index(drop=True)
    same = [name for name in model.spec.row.model_fields if name not in ("host", "time")]
    test.loc[:0, same] = train.loc[:0, same]
    checks.fold(model.spec, Fold("tiny", train, test))
    test[same] = train[same].to_numpy()
    with pytest.raises(DataError, match="same content"):
        checks.fold(model.spec, Fold("tiny", train, test))


def test_learning_from_after_the_judged_time_is_found(model: Model, frame: pd.DataFrame) -> None:
    first = frame["time"] == frame["time"].min()
    with pytest.raises(DataError, match="column 'time': a training row lies after a judged row of the same entity"):
        checks.fold(model.spec, Fold("tiny", frame[~first], frame[first]))


def test_an_empty_part_is_named(model: Model, frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="0 to judge"):
        checks.fold(model.spec, Fold("tiny", frame, frame[frame["failed"].isna()]))


def test_equal_lists_are_equal_content_however_they_are_held() -> None:
    texts = ["".join(("a", "b")), "c"]
    held = [texts, np.array(list(map(str.lower, ["AB", "C"])), dtype=object), np.array(texts)]
    assert len(set(checks.content(pd.DataFrame({"x": held})))) == 1
    assert len(set(checks.content(pd.DataFrame({"x": [["ab"], ["a", "b"], [], None]})))) == 4
    assert len(set(checks.content(pd.DataFrame({"x": [[1, 2], np.array([1.0, 2.0])]})))) == 1


def test_a_label_in_words_among_the_inputs_is_found() -> None:
    spec = catalog.make("incident_classifier").spec
    category = pd.Series(["compute", "network", "compute", "storage"] * 10)
    frame = pd.DataFrame({name: None for name in spec.row.model_fields}, index=category.index).assign(
        category=category,
        taxonomy="x",
        logs=[[]] * 40,
        metrics=[[]] * 40,
        dataset="d",
        incident_id=[str(n) for n in range(40)],
    )
    frame["time"] = pd.date_range("2026-01-01", periods=40, tz="UTC")
    checks.label_copies(spec, frame)
    with pytest.raises(DataError, match="column 'title' reproduces the label 'category'"):
        checks.label_copies(spec, frame.assign(title=category.str.upper()))
