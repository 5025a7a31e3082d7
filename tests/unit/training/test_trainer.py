"""From a frame to an alias, against a real MLflow store in a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from infra.errors import DataError, NotFound
from infra.settings import settings
from tests.models import tiny
from training import catalog, registry, signature, trainer
from training.registry import Version
from training.trainer import Trained

NAME = tiny.NAME


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A database and an artifact folder of their own; the tiny model plugged in."""
    home = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch, tiny.plugged_in():
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        patch.setenv("AIOPS__HOME", str(home))
        settings.cache_clear()
        yield home
    settings.cache_clear()


@pytest.fixture(scope="module")
def trained(store: Path) -> Trained:
    return trainer.train(NAME, frame=tiny.frame())


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return signature.records(tiny.frame().drop(columns=["dataset", "failed"]).head(4))


def test_nothing_registered_is_none_and_due(store: Path) -> None:
    assert registry.current("nobody") is None
    assert registry.versions("nobody") == []
    assert registry.last_trained("nobody") is None
    assert trainer.due("nobody")
    with pytest.raises(NotFound, match="nobody@champion"):
        registry.load("nobody")


def test_a_good_model_becomes_champion(trained: Trained) -> None:
    assert trained.decision.alias == "champion"
    current = registry.current(NAME)
    assert current is not None
    assert (current.number, current.aliases) == (trained.version.number, ("champion",))
    assert current.tags["gate_reason"] == "every gate holds"
    assert trained.rows == len(tiny.frame())
    assert trained.peak_memory > 2**20


def test_where_it_came_from_is_tagged(trained: Trained) -> None:
    tags = trained.version.tags
    assert tags["datasets"] == "tiny"
    assert tags["synthetic"] == "no"
    assert tags["feature_service"] == NAME
    assert tags["seed"] == "0"
    assert len(tags["data"]) == 16
    assert {"git_sha", "trained", "label", "headline", "floor"} <= set(tags)


def test_figures_of_all_contenders_are_logged_with_their_bounds(trained: Trained) -> None:
    figures = registry.metrics(trained.version)
    for name in ("roc_auc", "tiny/roc_auc", "naive/tiny/roc_auc", "strong/tiny/brier"):
        assert figures[f"{name}_ci_low"] < figures[name] < figures[f"{name}_ci_high"]
    assert figures["train_seconds"] > 0


def test_card_and_pictures_are_artifacts(trained: Trained, tmp_path: Path) -> None:
    from mlflow.artifacts import download_artifacts

    folder = Path(download_artifacts(run_id=trained.version.run_id, dst_path=str(tmp_path)))
    assert (folder / "plots" / "tiny.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "plots" / "comparison.png").stat().st_size > 5000
    assert "| tiny | roc_auc |" in (folder / "model_card.md").read_text()
    runs = pd.read_csv(folder / "evaluation" / "runs.csv")
    pd.testing.assert_frame_equal(runs, trained.evaluation.runs)


def test_description_of_the_version_is_the_card(trained: Trained) -> None:
    from mlflow import MlflowClient

    found = MlflowClient().get_model_version(NAME, str(trained.version.number))
    assert found.description.startswith("# TinyScorer")
    assert "not for real hosts" in found.description


def test_loaded_natively_it_answers_the_same(trained: Trained, rows: list[dict[str, Any]]) -> None:
    model, version = registry.load(NAME)
    assert version.number == trained.version.number
    fitted = catalog.make(NAME).fit(tiny.frame().drop(columns="dataset"))
    assert model.predict(rows, explain=True) == fitted.predict(rows, explain=True)


def test_pyfunc_answers_the_same_and_explains(trained: Trained, rows: list[dict[str, Any]]) -> None:
    import mlflow

    served = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    example = signature.example(catalog.load(NAME).spec.row, pd.DataFrame(rows))
    model, _ = registry.load(NAME)
    expected = [answer.model_dump(mode="json") for answer in model.predict(rows, explain=True)]
    assert served.predict(example, params={"explain": True}).to_dict("records") == expected
    assert not any(served.predict(example)["explanation"])
    assert served.metadata.get_input_schema().input_names() == list(catalog.load(NAME).spec.row.model_fields)


def test_logged_model_needs_no_pickle(trained: Trained, store: Path) -> None:
    logged = [file for file in store.rglob("*") if "models" in file.parts and file.is_file()]
    assert logged
    assert not [file for file in logged if file.suffix in (".pkl", ".pickle", ".cloudpickle")]
    [needed] = {file.read_text() for file in logged if file.name == "requirements.txt"}
    assert "pandas==" in needed
    assert "torch" not in needed


def test_a_new_champion_replaces_the_old_one(trained: Trained) -> None:
    again = trainer.train(NAME, frame=tiny.frame(), seed=1)
    assert again.decision.alias == "champion"
    assert [v.number for v in registry.versions(NAME)][:2] == [again.version.number, trained.version.number]
    assert next(v for v in registry.versions(NAME) if v.number == trained.version.number).aliases == ()


def test_a_worse_model_is_challenger_with_the_reason(trained: Trained) -> None:
    before = registry.current(NAME)
    frame = tiny.frame(seed=3)
    blurred = frame.assign(heat=frame["heat"].sample(frac=1, random_state=0).to_numpy())
    worse = trainer.train(NAME, frame=blurred)
    assert worse.decision.alias == "challenger"
    assert registry.current(NAME) == before
    challenger = registry.current(NAME, "challenger")
    assert challenger is not None
    assert challenger.number == worse.version.number
    assert "target missed: roc_auc" in challenger.tags["gate_reason"]
    assert "worse than the champion" in challenger.tags["gate_reason"]


def test_leaks_stop_the_training_before_anything_is_registered(trained: Trained) -> None:
    count = len(registry.versions(NAME))
    frame = tiny.frame()
    with pytest.raises(DataError, match="'heat' reproduces the label"):
        trainer.train(NAME, frame=frame.assign(heat=frame["failed"].fillna(0)))
    assert len(registry.versions(NAME)) == count


def test_due_follows_the_interval(trained: Trained) -> None:
    last = registry.last_trained(NAME)
    assert last is not None
    assert abs(datetime.now(UTC) - last) < timedelta(minutes=10)
    interval = catalog.entry(NAME).retrain_interval
    assert not trainer.due(NAME, last + interval - timedelta(seconds=1))
    assert trainer.due(NAME, last + interval)


def test_promoting_a_challenger_takes_its_old_alias(trained: Trained) -> None:
    version = registry.promote(trained.version, "challenger", {})
    assert version.aliases == ("challenger",)
    version = registry.promote(version, "champion", {"gate_reason": "by hand"})
    assert (version.aliases, version.tags["gate_reason"]) == (("champion",), "by hand")
    assert registry.current(NAME, "challenger") is None


def test_version_shows_what_it_is() -> None:
    version = Version("scorer", 3, "r", datetime.now(UTC), ("champion",))
    assert str(version) == "scorer v3 @champion"


def test_talking_to_a_server_imports_no_framework(tmp_path: Path) -> None:
    """Feast's wheel would make every REST call import Feast and torch."""
    code = (
        "import sys\nfrom training import registry\nregistry._prepare()\n"
        "from mlflow.tracking.request_header.registry import resolve_request_headers\nresolve_request_headers()\n"
        "print(*(m for m in ('feast', 'torch', 'xgboost') if m in sys.modules))"
    )
    environment = {**os.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment)
    assert (done.returncode, done.stdout.strip()) == (0, ""), json.dumps(done.stderr[-2000:])
