"""From the demo world to features in training and serving, through the true Spark, Great Expectations and Feast."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features import build, datasets, demo, jobs, lake, pipeline, store, table
from features.transforms.customers import CUSTOMERS, OUTCOMES, SNAPSHOT
from features.transforms.drive_health import DRIVE_HEALTH, DRIVE_OUTCOMES
from infra.errors import DataError
from infra.settings import settings

pytestmark = pytest.mark.integration
MODELS = {
    "churn": ((CUSTOMERS,), OUTCOMES, ("iranian_churn", "mlc_churn")),
    "failure": ((DRIVE_HEALTH,), DRIVE_OUTCOMES, ("backblaze_drive_stats_2013",)),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[pipeline.Prepared, list[str]]]:
    """The demo world, prepared: no mirror, and publishers at an address where nobody listens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIOPS__HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("AIOPS_DATA", "")
        nowhere = {n: d.model_copy(update={"base": "http://127.0.0.1:1/"}) for n, d in datasets._manifest().items()}
        patch.setattr(datasets, "_manifest", lambda: nowhere)
        settings.cache_clear()
        told: list[str] = []
        yield pipeline.prepare(MODELS, told.append), told
    settings.cache_clear()


def test_everything_is_made_and_says_that_it_is_synthetic(prepared: tuple[pipeline.Prepared, list[str]]) -> None:
    result, told = prepared
    assert result.synthetic == ("backblaze_drive_stats_2013", "iranian_churn", "mlc_churn")
    assert all(result.made.values()) and set(result.made) == {
        v.name for group, labels, _ in MODELS.values() for v in (*group, labels)
    }
    assert result.online == {"customers": 6000, "drive_health": 3000}
    assert any("SYNTHETIC" in text for text in told)
    assert datasets.catalogue()["mlc_churn"].synthetic
    assert (settings().home / "docs" / "index.html").is_file()


@pytest.mark.parametrize("model", MODELS)
def test_training_reads_what_the_benchmark_reads(prepared: tuple[pipeline.Prepared, list[str]], model: str) -> None:
    views, labels, sets = MODELS[model]
    found = store.training_frame(model, labels, sets)
    tables = build.read([(name, demo.folder(name)) for name in sets])
    expected = build.frame(tables, views, labels)[list(found.columns)]
    fields = {f.name: f.type for view in (*views, labels) for f in table.schema(view)}
    types = pa.schema([(name, fields[name]) for name in found.columns])
    assert len(found) > 1000
    assert pa.Table.from_pandas(found, types).equals(pa.Table.from_pandas(expected, types))


def test_serving_reads_the_newest_row(prepared: tuple[pipeline.Prepared, list[str]]) -> None:
    rows = jobs.read(DRIVE_HEALTH)
    newest = rows.sort_by("time").slice(len(rows) - 1).to_pylist()[0]
    found = store.online("failure", [newest["drive"]], now=newest["time"] + timedelta(hours=1))[0]
    assert found == {key: value for key, value in newest.items() if key != "dataset"}


def test_a_second_run_makes_nothing(prepared: tuple[pipeline.Prepared, list[str]]) -> None:
    again = pipeline.prepare(MODELS)
    assert set(again.made.values()) == set(again.online.values()) == {0}
    assert again.lake == prepared[0].lake


def test_a_failed_gate_leaves_the_feature_table_as_it_was(prepared: tuple[pipeline.Prepared, list[str]]) -> None:
    before = jobs.read(CUSTOMERS)
    events = lake.read("events", {"type": [SNAPSHOT]}, datasets=["mlc_churn"])
    bad = events.filter(pc.match_substring_regex(events["data"], '"support_calls": [1-9]')).slice(0, 1)
    data = pa.array([text.replace('"support_calls": ', '"support_calls": -') for text in bad["data"].to_pylist()])
    bad = bad.set_column(bad.column_names.index("data"), "data", data)
    bad = bad.set_column(bad.column_names.index("subject"), "subject", pa.array(["bad"]))
    lake.append("events", bad, dataset="mlc_churn")
    waiting = pipeline.transform(CUSTOMERS, MODELS["churn"][2])
    assert waiting == ["mlc_churn"]
    with pytest.raises(DataError, match="support_calls"):
        pipeline.gate(CUSTOMERS, waiting, print)
    assert jobs.read(CUSTOMERS).equals(before)
