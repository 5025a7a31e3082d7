"""Benchmarks on folders, with a source of the tiny model's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

import features.sources
from features import datasets
from infra import plugins
from infra.errors import DataError, NotFound
from tests.models import tiny
from training import benchmark, catalog

SOURCE = '''
"""The tiny model's records: CSV files with instance_id, time, value."""
from pathlib import Path
import pandas as pd, pyarrow as pa
from features.source import Batch, Source

class Tiny(Source):
    def pull(self, where):
        for file in sorted(Path(where).glob("*.csv")):
            rows = pd.read_csv(file, parse_dates=["time"]).assign(dataset="tiny", metric_name="heat")
            yield Batch("metrics", pa.Table.from_pandas(rows, preserve_index=False))
'''
Write = Callable[[str, int, int], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Plugs model and source in; returns a writer of folders: name, first host, number of hosts."""
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "tiny.py").write_text(SOURCE)
    features.sources.__path__.append(str(tmp_path / "sources"))

    def folder(name: str, first: int, hosts: int) -> Path:
        (tmp_path / name).mkdir()
        frame = tiny.frame(hosts=200, days=1)
        rows = frame.rename(columns={"host": "instance_id", "heat": "value"})[["instance_id", "time", "value"]]
        rows.iloc[first : first + hosts].to_csv(tmp_path / name / "heat.csv", index=False)
        return tmp_path / name

    with tiny.plugged_in() as name:
        model = catalog.load(name)
        # the label is no function of one column here, or the check of leaks would rightly stop the run
        noisy = replace(model.spec.labels, transform=_labels)
        monkeypatch.setattr(model, "spec", replace(model.spec, datasets=("tiny",), labels=noisy))
        monkeypatch.setattr(datasets, "fetch", lambda each: tmp_path / "reference")
        yield folder
    features.sources.__path__.remove(str(tmp_path / "sources"))
    plugins.names.cache_clear()


def _labels(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    rows = frames["metrics"].rename(columns={"instance_id": "host"})
    noise = rows["host"].str[1:].astype(int) % 7 * 4.0
    return rows[["dataset", "host", "time"]].assign(failed=(rows["value"] + noise > 65).astype(int))


def test_reference_sets_fill_page_and_report(write: Write, tmp_path: Path) -> None:
    write("reference", 0, 150)
    page, report_file = tmp_path / "BENCHMARKS.md", tmp_path / "report.json"
    report = benchmark.benchmark(tiny.NAME, json_file=report_file, seeds=2, page=page)
    content = json.loads(report_file.read_text())
    assert content == json.loads(json.dumps(report.content))
    assert content["schema"] == 1
    assert content["command"] == "aiops benchmark tiny_scorer --seeds 2"
    assert content["data"]["tiny"]["judged"] == 150
    assert {entry["contender"] for entry in content["results"]} == {"model", "strong", "naive"}
    model = next(e for e in content["results"] if (e["contender"], e["metric"]) == ("model", "roc_auc"))
    assert model["ci_low"] < model["mean"] < model["ci_high"]
    assert [target["met"] for target in content["targets"]] == [True, True]
    text = page.read_text()
    assert text.startswith("# Benchmarks")
    assert "| tiny | roc_auc | 0." in text
    assert "150 labelled rows" in text
    assert "- met: roc_auc is" in text
    assert "\n| [tiny_scorer](#tiny_scorer) | roc_auc | 0." in text


def test_the_full_profile_stands_beside_the_model(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("reference", 0, 150)
    kind, page = catalog.load(tiny.NAME), tmp_path / "page.md"
    assert "full" not in set(benchmark.benchmark(tiny.NAME, seeds=1, page=page, full=True).evaluation.runs["contender"])
    monkeypatch.setattr(kind, "spec", replace(kind.spec, thorough={"strength": 2.0}))
    report = benchmark.benchmark(tiny.NAME, seeds=1, page=page, full=True)
    assert "full" in set(report.evaluation.runs["contender"])
    assert report.content["command"] == "aiops benchmark tiny_scorer --seeds 1 --full"


def test_a_second_run_replaces_its_own_section_only() -> None:
    page = benchmark.merged(benchmark.HEAD, "b_model", "## b_model\n\nreplaced")
    page = benchmark.merged(page, "a_model", "<!-- row a_model | f1 -->\n\n## a_model\n\nkept")
    page = benchmark.merged(page, "b_model", "## b_model\n\nnew")
    assert page.count("## ") == 2
    assert "\n| a_model | f1 |\n\n" in page  # the overview, above the sections
    assert "replaced" not in page
    assert page.index("kept") < page.index("new")
    assert benchmark.merged(page, "b_model", "## b_model\n\nnew") == page


def test_both_folders_given_judges_what_only_the_second_has(write: Write, tmp_path: Path) -> None:
    learnt, judged = write("a", 0, 120), write("b", 100, 80)  # twenty hosts are in both
    page = tmp_path / "page.md"
    report = benchmark.benchmark(tiny.NAME, learnt, judged, seeds=2, page=page)
    [part] = report.evaluation.scored
    assert part.truth["host"].nunique() == 60
    assert not page.exists()  # only the reference sets are published
    assert report.content["command"] == "aiops benchmark tiny_scorer --train a --test b --seeds 2"
    assert set(report.evaluation.summary.query("metric == 'roc_auc'")["method"]) == {"bootstrap"}


def test_only_test_given_learns_from_the_reference(write: Write) -> None:
    write("reference", 0, 120)
    report = benchmark.benchmark(tiny.NAME, test=write("b", 120, 60), seeds=1)
    assert report.evaluation.scored[0].truth["host"].nunique() == 60


def test_only_train_given_runs_the_protocol_on_it(write: Write) -> None:
    report = benchmark.benchmark(tiny.NAME, train=write("a", 0, 120), seeds=1)
    assert len(report.evaluation.scored) == 5


def test_nothing_left_to_judge_is_said(write: Write) -> None:
    folder = write("a", 0, 100)
    with pytest.raises(DataError, match="nothing is left to judge"):
        benchmark.benchmark(tiny.NAME, folder, folder, seeds=1)


def test_wrong_folders_are_named(write: Write, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a folder"):
        benchmark.benchmark(tiny.NAME, test=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty cannot be read for tiny_scorer; as tiny: .*holds no file"):
        benchmark.benchmark(tiny.NAME, train=tmp_path / "empty")
    with pytest.raises(NotFound, match="tiny_scorer"):
        benchmark.benchmark("tiny_scorrer")


def test_shown_as_a_table(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    report = benchmark.benchmark(tiny.NAME, train=write("a", 0, 120), seeds=1)
    benchmark.show(report, Console(width=140))
    shown = capsys.readouterr().out
    for text in ("model", "strong", "naive", "target", "roc_auc", "≥ 0.8 ✓", "met"):
        assert text in shown
