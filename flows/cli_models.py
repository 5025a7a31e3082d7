"""`aiops train`, `benchmark` and `predict`."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from flows.console import out, progress, steps
from infra.errors import DataError, UserError

PANEL = "Data and models"


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (train, benchmark, predict):
        app.command(rich_help_panel=PANEL)(command)


def train(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Models; all when left out.")] = None,
    profile: Annotated[
        Literal["default", "full"],
        typer.Option(help="One seed, and the newest folds of long ones; or five, all folds, and what takes longer."),
    ] = "default",
    jobs: Annotated[int, typer.Option(min=0, help="How many at a time; 0: one a core, at most two.")] = 0,
) -> None:
    """Bring the features up to date, train models, register them, and promote those that pass every gate."""
    from features import pipeline
    from training import catalog, registry
    from training.jobs import train_all

    chosen = catalog.enabled(tuple(names or ()))
    registry.require()
    with progress("Training") as tell:
        pipeline.prepare(
            catalog.features(chosen), lambda text: tell("Data", text), registered=catalog.features(catalog.enabled())
        )
        trained = train_all(chosen, profile=profile, progress=steps(tell), jobs=jobs)
    for one in trained:
        out().print(str(one))


def benchmark(
    name: Annotated[str | None, typer.Argument(help="The model.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every enabled model, on its reference data.")] = False,
    train: Annotated[
        Path | None, typer.Option(help="Learn from this folder, laid out as the model's reference set.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="Judge on this folder of the same layout.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 5,
    full: Annotated[
        bool, typer.Option("--full", help="Also what `aiops train --profile full` makes, where that is another model.")
    ] = False,
) -> None:
    """Measure a model by its protocol, beside a naive rule and a strong simple model.

    On the reference data the figures also go to BENCHMARKS.md. With --train and --test: learn from the one, judge what
    only the other has. Only --test: learn from the reference data. Only --train: the protocol on that folder.
    """
    if (name is None) != every or (every and (train or test or json_file)):
        raise UserError("name one model, or give --all, which takes no --train, --test or --json")
    for option, folder in (("--train", train), ("--test", test)):
        if folder is not None and not folder.is_dir():
            raise DataError(f"{option} {folder} is not a folder; it takes one laid out as the model's reference set")
    from training import benchmark as bench
    from training import catalog

    for model in catalog.enabled() if name is None else (name,):
        with progress(f"Benchmark of {model}") as tell:
            report = bench.benchmark(model, train, test, json_file, seeds, steps(tell), full=full)
        bench.show(report, out())


def predict(
    name: Annotated[str, typer.Argument(help="The model.")],
    file: Annotated[
        Path,
        typer.Argument(
            help="Rows: .json (a list of objects), .jsonl or .csv with a header; - is JSON on stdin. "
            "Or a change of infrastructure code: a .diff, a folder, a .tf, .yaml or .template file."
        ),
    ],
    explain: Annotated[bool, typer.Option(help="With the fields that moved each answer most.")] = False,
    sarif: Annotated[Path | None, typer.Option(help="Of a change: also write the findings as SARIF 2.1.0.")] = None,
    fail_above: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of a change: fail from this risk; else from the model's own.")
    ] = None,
) -> None:
    """Ask the running prediction API for an answer to each row of FILE; prints JSON.

    Of a change of infrastructure code the policy engine, where it is installed, confirms what it breaks; exit code 1
    when it confirms anything, the risk is too high, or neither the engine nor the model could judge a file.
    """
    from features.iac import diff

    if diff.readable(file):
        _check(name, file, explain, sarif, fail_above)
        return
    if sarif or fail_above is not None:
        raise UserError(f"--sarif and --fail-above are for changes of infrastructure code, and {file} holds rows")
    rows = read_rows(file)
    from serving import client

    print(client.predict(name, rows, explain=explain).model_dump_json(indent=2))


def _check(name: str, place: Path, explain: bool, sarif: Path | None, fail_above: float | None) -> None:
    from flows import premerge

    report = premerge.check(name, place, explain)
    print(report.model_dump_json(indent=2))
    if sarif:
        sarif.write_text(json.dumps(report.sarif(), indent=1) + "\n")
    if report.blocks(fail_above):
        raise typer.Exit(1)


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a file, one mapping each; empty cells of a CSV are null. Raises DataError naming what is wrong."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    rows = _parsed(file, text)
    wrong = next((number for number, row in enumerate(rows, 1) if not isinstance(row, dict)), None)
    if wrong or not rows:
        what = f"row {wrong} is {json.dumps(rows[wrong - 1])}" if wrong else "there are no rows"
        raise DataError(f"{file}: {what}; expected at least one object such as {{'field': 1.0}}")
    return rows


def _parsed(file: Path, text: str) -> list[Any]:
    kind = file.suffix if str(file) != "-" else ".json"
    if kind == ".csv":
        return [{key: value or None for key, value in row.items()} for row in csv.DictReader(text.splitlines())]
    try:
        if kind == ".jsonl":
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        if kind == ".json":
            content = json.loads(text)
            return content if isinstance(content, list) else [content]
    except json.JSONDecodeError as error:
        raise DataError(f"{file} is not valid JSON in line {error.lineno}: {error.msg}") from None
    raise DataError(f"{file}: rows are read from .json, .jsonl and .csv, not from {kind or 'a file without an ending'}")
