"""What every model promises, tried on every model found. A new model file is under it without a change here."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features import source
from infra.errors import DataError, SettingsError
from tests.models import tiny
from tests.models.conftest import Reference
from training import catalog, checks, plots, probes, signature
from training.evaluate import MODEL, Evaluation, inputs, kept
from training.model import Answer, Fold, Model

FRAMEWORKS = ("torch", "xgboost", "lightgbm", "pytorch_lightning", "lightning", "prophet", "transformers", "sklearn")
SCALE = 20_000  # rows; a million is the same fifty times, as nothing may grow faster than the input


def test_importing_the_file_loads_no_framework(name: str) -> None:
    code = (
        "import sys; from tests.models import tiny; from training import catalog\n"
        f"with tiny.plugged_in(): catalog.load({name!r})\n"
        f"print(*(m for m in {FRAMEWORKS!r} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path.cwd(), timeout=120)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [], "")


def test_spec_is_coherent(model: Model) -> None:
    spec = model.spec
    columns = {name for view in spec.views for name in view.columns.model_fields}
    assert set(spec.row.model_fields) == columns | {"time"}
    for view in (*spec.views, spec.labels):
        assert view.entity in view.columns.model_fields
        assert set(view.keys) == set(view.reads)
    assert all(view.online for view in spec.views)
    assert not spec.labels.online
    assert spec.label in spec.labels.columns.model_fields
    assert spec.route.count("/") == 1
    assert spec.route.split("/")[0] in ("predict", "analyze", "optimize")
    assert issubclass(spec.answer, Answer)
    assert spec.protocol
    assert spec.limits
    assert spec.purpose
    checks.names(spec)
    for name in spec.datasets:
        assert source.load(name)


def test_no_two_models_share_a_route() -> None:
    routes = [catalog.load(each).spec.route for each in catalog.enabled()]
    assert len(routes) == len(set(routes))


def test_unknown_option_names_the_known_ones(model: Model) -> None:
    with pytest.raises(SettingsError, match="no_such_option"):
        type(model)({"no_such_option": 1})


def test_the_options_of_the_full_profile_are_options(model: Model) -> None:
    thorough = dict(model.spec.thorough)
    assert type(model)(thorough).options.model_dump(include=set(thorough)) == thorough


def test_baselines_are_a_naive_rule_and_a_strong_model(model: Model) -> None:
    assert {"naive", "strong"} <= set(model.baselines())


def test_unfitted_model_refuses_to_predict(model: Model, rows: list[dict[str, Any]]) -> None:
    with pytest.raises(DataError, match="not fitted"):
        model.predict(rows[:1])


def test_measures_what_headline_and_targets_name(model: Model, reference: Reference) -> None:
    fold = next(iter(model.folds(reference.frame)))
    checks.fold(model.spec, fold)
    learner = model.baselines()["naive"].fit(inputs(model.spec, fold.train, label=True), model.spec.label)
    measured = model.measure(fold, learner.predict(inputs(model.spec, fold.test)))
    named = [model.spec.headline, *(target.metric for target in model.spec.targets)]
    wanted = {metric.rpartition("/")[2] for metric in named}
    assert wanted <= set(measured) | {"fit_seconds", "predict_seconds"}


def test_its_pictures_are_drawn(model: Model, fitted: Model, reference: Reference) -> None:
    assert fitted.learner
    fold = next(iter(model.folds(reference.frame)))
    rows = inputs(model.spec, fold.test)
    scores = fold.play(fitted.learner, rows) if fold.play else fitted.learner.predict(rows)
    part = kept(model.spec, Fold("some", fold.train, fold.test), {MODEL: scores})
    empty = pd.DataFrame(columns=["dataset", "contender", "metric", "mean", "low", "high"])
    drawn = plots.figures(model.spec, Evaluation(empty, empty, empty, [part]))
    assert sorted(drawn) == ["plots/comparison.png", "plots/some.png"]


def test_frame_passes_the_checks(model: Model, reference: Reference) -> None:
    checks.frame(model.spec, reference.frame)


def test_views_know_no_future(model: Model, reference: Reference) -> None:
    for view in model.spec.views:
        frames = reference.frames[view.name]
        times = pd.concat([rows["time"] for rows in frames.values()]).sort_values()
        probes.causal(view, frames, times.iloc[len(times) // 2])


def test_same_seed_same_scores(model: Model, fitted: Model, reference: Reference) -> None:
    again = catalog.make(model.name()).fit(inputs(model.spec, reference.frame, label=True))
    assert again.learner and fitted.learner
    rows = inputs(model.spec, reference.frame)
    pd.testing.assert_frame_equal(again.learner.predict(rows), fitted.learner.predict(rows))


def test_scores_depend_on_no_later_row(model: Model, fitted: Model, reference: Reference) -> None:
    assert fitted.learner
    rows = inputs(model.spec, reference.frame)
    probes.causal_scores(model.spec, fitted.learner, rows, fitted.learner.predict(rows))


def test_saved_and_loaded_answers_the_same(fitted: Model, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    loaded = type(fitted).load(tmp_path / "model")
    assert loaded.predict(rows, explain=True) == fitted.predict(rows, explain=True)
    assert loaded.options == fitted.options


def test_saved_files_execute_nothing(fitted: Model, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    for file in filter(Path.is_file, tmp_path.rglob("*")):
        assert not file.read_bytes().startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")), (
            f"{file} is a pickle"
        )
        inside = zipfile.ZipFile(file).namelist() if zipfile.is_zipfile(file) else []
        assert not [name for name in inside if name.endswith("pkl")], f"{file} holds a pickle"


def test_loading_another_models_files_is_refused(fitted: Model, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    content = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**content, "model": "another"}))
    with pytest.raises(DataError, match="another"):
        type(fitted).load(tmp_path)


def test_answers_are_in_order_and_typed(fitted: Model, rows: list[dict[str, Any]]) -> None:
    answers = fitted.predict(rows)
    assert len(answers) == len(rows)
    assert all(isinstance(answer, fitted.spec.answer) for answer in answers)
    assert all(answer.abstained is None or answer.abstained.strip() for answer in answers)
    assert any(answer.abstained is None for answer in answers)
    assert fitted.predict([]) == []


def test_explanations_name_inputs_strongest_first(fitted: Model, rows: list[dict[str, Any]]) -> None:
    answers = fitted.predict(rows, explain=True, top=3)
    explained = [answer for answer in answers if answer.explanation]
    assert explained, "no answer is explained"
    for answer in explained:
        effects = [abs(part.effect) for part in answer.explanation]
        assert effects == sorted(effects, reverse=True)
        assert len(effects) <= 3
        assert all(np.isfinite(effects))
    assert not any(answer.explanation for answer in fitted.predict(rows))


def test_what_moved_the_scores_is_computed_once(
    fitted: Model, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fitted.learner
    asked, contributions = [], fitted.learner.contributions
    monkeypatch.setattr(
        fitted.learner, "contributions", lambda frame: (asked.append(len(frame)), contributions(frame))[1]
    )
    assert any(answer.explanation for answer in fitted.predict(rows, explain=True))
    assert asked == [len(rows)]


@pytest.mark.parametrize("wrong", [None, float("nan"), float("inf"), "wrong", {"a": 1}])
def test_bad_value_is_refused_by_name(fitted: Model, rows: list[dict[str, Any]], wrong: object) -> None:
    numbers = [name for name, (kind, nullable) in fitted.spec.row.kinds().items() if kind in (int, float)]
    for name in numbers:
        if wrong is None and fitted.spec.row.kinds()[name][1]:
            continue  # null is a right value there
        with pytest.raises(DataError, match=rf"row 1: .*\b{name}\b"):
            fitted.predict([rows[0], {**rows[1], name: wrong}])


def test_missing_and_unknown_fields_are_refused_by_name(fitted: Model, rows: list[dict[str, Any]]) -> None:
    required = next(name for name, info in fitted.spec.row.model_fields.items() if info.is_required())
    with pytest.raises(DataError, match=required):
        fitted.predict([{key: value for key, value in rows[0].items() if key != required}])
    with pytest.raises(DataError, match="no_such_field"):
        fitted.predict([{**rows[0], "no_such_field": 1}])
    with pytest.raises(DataError, match="row 0"):
        fitted.predict([{}])


def test_abstains_out_of_its_depth(fitted: Model, rows: list[dict[str, Any]]) -> None:
    """A row of something never seen, one with nothing known that may be unknown, or one at its limits: at least one."""
    kinds = fitted.spec.row.kinds()
    strange = {
        "never seen": {name: "never-seen" for name, (kind, _) in kinds.items() if kind is str},
        "nothing known": {name: None for name, (_, nullable) in kinds.items() if nullable},
        "no history": {name: [] for name, (kind, _) in kinds.items() if kind in (list[float], list[str])},
        "at the limits": {name: limit for name in kinds if (limit := _highest(fitted, name)) is not None},
    }
    abstained = []
    for what, change in strange.items():
        try:
            [answer] = fitted.predict([{**rows[0], **change}], explain=True)
        except DataError:
            continue  # the Row itself refuses it: as good
        abstained += [what] if answer.abstained else []
    assert abstained


def test_signature_accepts_the_input_example(fitted: Model, reference: Reference) -> None:
    from mlflow.models.utils import _enforce_schema
    from mlflow.types import Schema

    example = signature.example(fitted.spec.row, reference.frame.tail(3))
    schema = Schema.from_json(json.dumps(signature.columns(fitted.spec.row)))
    sent = _enforce_schema(pd.DataFrame(json.loads(json.dumps(signature.records(example)))), schema)
    assert fitted.predict(signature.records(sent)) == fitted.predict(signature.records(example))


def test_many_rows_need_no_more_than_a_few_times_their_size(fitted: Model, reference: Reference) -> None:
    assert fitted.learner
    rows = inputs(fitted.spec, reference.frame)
    many = pd.concat([rows] * (SCALE // len(rows) + 1), ignore_index=True).head(SCALE)
    size = many.memory_usage(deep=True).sum() + sum(8 * np.concatenate(many[c].to_list()).size for c in _arrays(many))
    tracemalloc.start()
    try:
        assert len(fitted.learner.predict(many)) == SCALE
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12 * size + 2**26


def _arrays(frame: pd.DataFrame) -> list[str]:
    return [name for name in frame if isinstance(frame[name].iloc[0], (list, np.ndarray))]


def _highest(model: Model, name: str) -> float | None:
    kind, _ = model.spec.row.kinds()[name]
    limits = [item.le for item in model.spec.row.model_fields[name].metadata if hasattr(item, "le")]
    return limits[0] if limits and kind in (int, float) else None


def test_the_tiny_model_is_found_like_any_other() -> None:
    with tiny.plugged_in() as name:
        assert catalog.enabled((name,)) == (name,)
