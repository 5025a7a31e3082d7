"""`aiops data`: the public data sets."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.console import out, progress
from infra.errors import DataError

app = typer.Typer(help="List, fetch and verify the public data sets.", no_args_is_help=True)
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Data sets; all when left out.")]


@app.command("list")
def list_() -> None:
    """Show the data sets: where each comes from here, its licence and what it is."""
    from rich.table import Table

    from features import datasets

    table = Table("Name", "From", "Files", "Licence", "Title", box=None, pad_edge=False, header_style="bold")
    with progress("Looking for the data sets"):
        for name, dataset in sorted(datasets.catalogue().items()):
            where = datasets.available(name)
            table.add_row(name, where, str(len(dataset.files)), dataset.licence, dataset.title)
    out().print(table)


@app.command()
def fetch(names: Names = None) -> None:
    """Get the data sets from the mirror, the cache or their publisher, and verify every file."""
    from features import datasets

    with progress("Fetching data") as tell:
        for name in names or sorted(datasets.catalogue()):
            datasets.fetch(name, lambda text: tell("Data", text))


@app.command()
def verify(names: Names = None) -> None:
    """Compare every local file with its published checksum. A wrong or missing file is an error that names it."""
    from features import datasets

    wrong = []
    with progress("Verifying data") as tell:
        for name in names or sorted(datasets.catalogue()):
            problems = datasets.verify(name)
            tell(name, "; ".join(problems) or "verified")
            wrong += [f"{name}: {problem}" for problem in problems]
    if wrong:
        raise DataError(f"{len(wrong)} files are not as published: {wrong[0]}; get them with `aiops data fetch`")
