"""The program `aiops`. Commands import what they need when they run, so that help comes at once."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from flows import cli_data, cli_drift, cli_models, cli_remediation, cli_tune
from flows.console import fail, out, progress
from infra.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from infra.health import PartStatus

STACK = "Stack"

app = typer.Typer(
    name="aiops",
    help="AIOps engine of IAC Dharma: predict, diagnose and safely repair infrastructure.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def prepare() -> None:
    """Let every library used by a command see the addresses and switches of the settings."""
    from infra.parts import environment

    os.environ.update(environment())


@app.command(rich_help_panel="Start here")
def run(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Models to wait for; three when left out.")
    ] = None,
) -> None:
    """Run the whole loop once on real data.

    Start the stack, load the data, build the features, train, register and deploy models, break a live workload,
    detect, repair and verify, and end with a summary. The stack stays up and trains the other models meanwhile.
    """
    from flows.run import main_job

    _remark()
    with progress("Running the whole loop") as tell:
        main_job(tell, tuple(names or ()))


@app.command(rich_help_panel=STACK)
def up(
    parts: Annotated[
        list[str] | None, typer.Argument(metavar="[PART]...", help="Only these; all when left out.")
    ] = None,
) -> None:
    """Start the stack: each part in turn, until it is healthy.

    Parts that run already are left alone. What a killed supervisor left behind is cleaned up first.
    """
    from infra import stack

    _remark()
    begun = time.monotonic()
    with progress("Starting the stack") as tell:
        stack.up(tell, parts or ())
    out().print(f"The stack is up after {time.monotonic() - begun:.1f} s.")


@app.command(rich_help_panel=STACK)
def down() -> None:
    """Stop every process of the stack, also those whose supervisor is gone."""
    from infra import stack

    with progress("Stopping the stack") as tell:
        orphans = stack.down(tell)
    note = f" {orphans} processes had no supervisor any more and were ended one by one." if orphans else ""
    out().print(f"The stack is down.{note}")


@app.command(rich_help_panel=STACK)
def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list, for programs.")] = False,
) -> None:
    """Show what each part does. Exit code 1 unless all of them run and are healthy."""
    from dataclasses import asdict

    from infra import stack

    parts = stack.status()
    if as_json:
        print(json.dumps([asdict(part) for part in parts], indent=2))
    else:
        out().print(_table(parts))
        if any(part.state == "unsupervised" for part in parts):
            out().print("The supervisor is gone: nothing restarts these parts. `aiops up` takes over.")
        _remark()
    if any(part.state != "running" or part.health != "ok" for part in parts):
        raise typer.Exit(1)


def _remark() -> None:
    from infra.settings import settings
    from remediation.remarks import remarks

    for sentence in remarks(settings()):
        out().print(sentence, markup=False)


def _table(parts: list[PartStatus]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Part", "State", "Health", "Process", "Uptime", "Memory", "Restarts", "Address"):
        table.add_column(title, justify="right" if title in ("Process", "Uptime", "Memory") else "left")
    for part in parts:
        table.add_row(
            part.title,
            part.state,
            part.health,
            str(part.pid or ""),
            _duration(part.uptime),
            f"{part.memory:.0f} MiB" if part.memory else "",
            _restarts(part),
            part.address,
        )
    return table


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _restarts(part: PartStatus) -> str:
    if not part.last_restart:
        return str(part.restarts)
    return f"{part.restarts}, last at {time.strftime('%H:%M:%S', time.localtime(part.last_restart))}"


app.add_typer(cli_data.app, name="data", rich_help_panel="Data and models")
cli_models.register(app)
cli_remediation.register(app)
cli_tune.register(app)
app.command(rich_help_panel=cli_remediation.PANEL)(cli_drift.drift)


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 the answer is bad or something unexpected failed, 2 the user can mend it."""
    try:
        app()
    except UserError as error:
        fail(str(error), 2)
    except Exception as error:  # the last line of defence: a sentence for the user, the traceback for the log
        from infra.logs import record_crash

        fail(f"unexpected {type(error).__name__}: {error}; the traceback is in {record_crash(error)}", 1)


if __name__ == "__main__":
    main()
