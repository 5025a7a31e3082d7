"""Score a model on its reference sets, or on folders of anybody's own, beside both baselines.

The JSON report (`Report.content`), schema 1; a key is never renamed or removed without a new number:

    schema, model, date (UTC), git_sha, command, protocol, seeds, synthetic, seconds, peak_memory_bytes
    data      {data set: {rows, judged, positive, digest}}  rows: all; judged: labelled; positive: null if not binary
    results   [{dataset, metric, contender, mean, ci_low, ci_high, n, method}]  dataset `mean`: over data sets;
              contender: model, strong, naive, ...; null where nothing was measured; method: see `training.intervals`
    targets   [{metric, direction, bound, value, met, source, baseline}]

`BENCHMARKS.md` holds the newest such report of every model on its reference sets; each is a section between two
comments and is replaced as a whole. The first line of a section is its row of the overview, in a comment.
"""

from __future__ import annotations

import json
import re
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features import build, datasets
from infra.errors import DataError
from infra.settings import ROOT
from training import card, catalog, checks, gates, provenance
from training.evaluate import MODEL, Evaluation, Folds, Progress, evaluate
from training.model import Model

if TYPE_CHECKING:
    from rich.console import Console

FILE = ROOT / "BENCHMARKS.md"
HEAD = """# Benchmarks

Written by `aiops benchmark NAME` (`--all`: every model); do not edit. Every model stands beside a naive rule and a
strong simple model, on the same folds, with 95 % intervals. No parameter or threshold is fitted on a judged part;
designs were chosen on these development sets, so that only data nobody has looked at can confirm them.
"""
OVERVIEW = ("model", "metric", "value", "strong", "naive", "specified", "targets met")
Tables = dict[str, pa.Table]


@dataclass(frozen=True)
class Report:
    """The outcome of one benchmark."""

    model: Model
    evaluation: Evaluation
    outcomes: list[gates.Outcome]
    content: dict[str, Any]  # what the JSON file holds

    def markdown(self) -> str:
        """The section of this model in `BENCHMARKS.md`."""
        facts = self.content
        data = "; ".join(f"{name}: {_counts(entry)}" for name, entry in facts["data"].items())
        lines = [
            f"<!-- row {' | '.join(self._overview())} -->",
            f"## {self.model.name()}",
            "**Synthetic data: these figures say nothing about a real system.**" if facts["synthetic"] else "",
            f"Protocol: {facts['protocol']}. Seeds: {facts['seeds']}. Data: {data}.",
            card.results(self.evaluation),
            card.verdicts(self.outcomes),
            f"Intervals: {', '.join(sorted(set(self.evaluation.summary['method'])))} (see `training/intervals.py`). "
            f"{facts['date']}, commit {facts['git_sha'][:12]}, {facts['seconds']:.0f} s: `{facts['command']}`",
        ]
        return "\n\n".join(line for line in lines if line)

    def _overview(self) -> list[str]:
        """The cells of `OVERVIEW`: the headline of each contender, and the targets."""
        name, headline = self.model.name(), self.model.spec.headline
        figures = (self.evaluation.figure(headline, who) for who in (MODEL, "strong", "naive"))
        cells = ["–" if one is None else card.shown(*one[["mean", "low", "high"]]) for one in figures]
        asked = [one for one in self.outcomes if one.target.source == "specification"]
        specified = ", ".join(f"{one.target.metric} {one.short()}" for one in asked) or "–"
        met = sum(one.met for one in self.outcomes)
        return [f"[{name}](#{name})", headline, *cells, specified, f"{met} of {len(self.outcomes)}"]


def benchmark(
    name: str,
    train: Path | None = None,
    test: Path | None = None,
    json_file: Path | None = None,
    seeds: int = 5,
    progress: Progress | None = None,
    page: Path = FILE,
    full: bool = False,
) -> Report:
    """Score model `name` and its baselines; writes `json_file`, and `page` when run on the reference sets.

    `train`, `test`: folders in the layout of one of the model's reference sets. Both: learn from one, judge what only
    the other has. Only `test`: learn from the reference set. Only `train`: the model's protocol on that folder.
    `full`: beside it stands the contender `full`, with the options of that profile, where the model has any.
    Raises DataError when a folder holds no reference set's layout, or nothing is left to judge.
    """
    start = time.monotonic()
    model = catalog.make(name)
    if train is None and test is None:
        places = [(each, datasets.fetch(each)) for each in model.spec.datasets]
        data = _frame(model, build.read(places))
        folds: Folds = lambda seed: model.folds(data, seed)  # noqa: E731
    elif test is None:
        data = _frame(model, recognise(model, _folder(train))[1])
        folds = lambda seed: model.folds(data, seed)  # noqa: E731
    else:
        learnt, data = _parts(model, train, test)
        folds = lambda seed: model.given(learnt, data)  # noqa: E731
    checks.frame(model.spec, data)
    others = {"full": catalog.make(name, "full").build} if full and model.spec.thorough else {}
    evaluation = evaluate(model, folds, range(seeds), progress, others=others)
    outcomes = gates.outcomes(model.spec, evaluation)
    command = _command(name, train, test, seeds, bool(others))
    content = _content(model, evaluation, outcomes, data, command, time.monotonic() - start)
    report = Report(model, evaluation, outcomes, content)
    if json_file:
        json_file.write_text(json.dumps(report.content, indent=1, allow_nan=False) + "\n")
    if train is None and test is None:
        page.write_text(merged(page.read_text() if page.exists() else HEAD, name, report.markdown()))
    return report


def recognise(model: Model, folder: Path) -> tuple[str, Tables]:
    """The reference set whose layout `folder` has, and its canonical tables. Raises DataError with what was tried."""
    tried = []
    for name in model.spec.datasets:
        try:
            return name, build.read([(name, folder)])
        except DataError as error:
            tried.append(f"as {name}: {error}")
    raise DataError(f"{folder} cannot be read for {model.name()}; {'; '.join(tried)}")


def show(report: Report, console: Console | None = None) -> None:
    """Print the report: a row a metric, a column a contender, the targets, and which of them hold."""
    from rich.console import Console
    from rich.table import Table

    console = console or Console()
    figures = card.pivot(report.evaluation, report.outcomes, times=True)
    table = Table("metric", *map(str, figures.columns), title=f"{report.model.name()}: {report.content['protocol']}")
    for dataset, part in figures.groupby(level="dataset", sort=False):
        table.add_row(f"[bold]{dataset}[/]")
        for metric, cells in zip(part.index.get_level_values("metric"), part.to_numpy(), strict=True):
            table.add_row(f"  {metric}", *cells)
        table.add_section()
    console.print(table)
    for outcome in report.outcomes:
        console.print("[green]met[/]   " if outcome.met else "[red]missed[/]", str(outcome))


def merged(text: str, name: str, section: str) -> str:
    """`text` with the section of model `name` replaced, or added in alphabetical order."""
    found = dict(re.findall(r"<!-- begin (\w+) -->\n(.*?)\n<!-- end \1 -->", text, re.DOTALL))
    found[name] = section
    sections = (f"<!-- begin {each} -->\n{found[each]}\n<!-- end {each} -->" for each in sorted(found))
    rows = [match[1] for each in sorted(found) if (match := re.match(r"<!-- row (.*?) -->", found[each]))]
    lines = [" | ".join(OVERVIEW), "|".join(["---"] * len(OVERVIEW)), *rows]
    overview = "\n".join(f"| {line} |" for line in lines)
    return HEAD + "\n" + overview + "\n\n" + "\n\n".join(sections) + "\n"


def _parts(model: Model, train: Path | None, test: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The frame to learn from, and the frame of both folders together (history runs across their border)."""
    kind, judged = recognise(model, _folder(test))
    learnt = build.read([(kind, _folder(train) if train else datasets.fetch(kind))])
    both = {table: _union([t[table] for t in (learnt, judged) if table in t]) for table in {*learnt, *judged}}
    everything = _frame(model, both)
    part = _frame(model, learnt)
    if len(everything) == len(part):
        raise DataError(f"{test} holds no row that {train or kind} does not hold; nothing is left to judge")
    return part, everything


def _union(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of `tables`; a record that several of them hold counts once."""
    joined = pa.concat_tables(tables)
    spans = sorted((pc.min(table["time"]).as_py(), pc.max(table["time"]).as_py()) for table in tables if len(table))
    if all(end < start for (_, end), (start, _) in pairwise(spans)):
        return joined  # no common time, no common record
    keys = joined.drop_columns(["attributes"] if "attributes" in joined.column_names else [])
    numbered = keys.append_column("row", pa.array(range(len(keys)), pa.int64()))
    first = numbered.group_by(keys.column_names, use_threads=False).aggregate([("row", "min")])
    return joined.take(first["row_min"].sort())


def _frame(model: Model, tables: Tables) -> pd.DataFrame:
    return build.frame(tables, model.spec.views, model.spec.labels)


def _folder(path: Path | None) -> Path:
    if path is None or not path.is_dir():
        raise DataError(f"{path} is not a folder; give one in the layout of a reference set")
    return path


def _content(
    model: Model, found: Evaluation, outcomes: list[gates.Outcome], data: pd.DataFrame, command: str, seconds: float
) -> dict[str, Any]:
    entries = {str(name): _data(part, model.spec.label) for name, part in data.groupby("dataset")}
    known = datasets.catalogue()
    columns = {"low": "ci_low", "high": "ci_high"}
    results = found.summary.rename(columns=columns).astype(object).where(found.summary.notna().to_numpy(), None)
    return {
        "schema": 1,
        "model": model.name(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "git_sha": provenance.git_sha(),
        "command": command,
        "protocol": model.spec.protocol.rstrip("."),
        "seeds": found.seeds,
        "synthetic": any(name in known and known[name].synthetic for name in entries),
        "seconds": round(seconds, 1),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "data": entries,
        "results": results.to_dict("records"),
        "targets": [_target(outcome) for outcome in outcomes],
    }


def _target(outcome: gates.Outcome) -> dict[str, Any]:
    target = outcome.target
    asked = {
        "metric": target.metric,
        "direction": target.direction,
        "source": target.source,
        "baseline": target.baseline,
    }
    return {**asked, "bound": outcome.bound, "value": outcome.value, "met": outcome.met}


def _data(part: pd.DataFrame, label: str) -> dict[str, Any]:
    truth = part[label].dropna()
    binary = pd.api.types.is_numeric_dtype(truth.infer_objects()) and set(truth.unique()) <= {0, 1}
    positive = int(truth.sum()) if binary else None
    return {"rows": len(part), "judged": len(truth), "positive": positive, "digest": provenance.digest(part)}


def _counts(entry: dict[str, Any]) -> str:
    positive = "" if entry["positive"] is None else f" ({entry['positive']} positive)"
    return f"{entry['judged']} labelled rows{positive}"


def _command(name: str, train: Path | None, test: Path | None, seeds: int, full: bool) -> str:
    folders = (f"{flag} {path.name}" for flag, path in (("--train", train), ("--test", test)) if path)
    return " ".join([f"aiops benchmark {name}", *folders, f"--seeds {seeds}", *(["--full"] if full else [])])
