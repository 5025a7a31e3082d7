"""`aiops tune`: find a faster configuration of a real system, and keep it only when it is one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flows.console import out, progress
from infra.errors import UserError

if TYPE_CHECKING:
    from remediation.tuning.journal import Journal
    from remediation.tuning.tune import System

MODEL = "performance_optimizer"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(rich_help_panel="Remediation")(tune)


def tune(
    system: Annotated[Literal["postgresql", "sqlite"], typer.Argument(help="What is tuned.")],
    trials: Annotated[int, typer.Option(min=1, max=100, help="How many configurations are measured.")] = 8,
    dsn: Annotated[
        str | None,
        typer.Option(
            help="PostgreSQL to tune, by a synthetic workload of ours, not by its own; "
            "when left out, a temporary server of our own."
        ),
    ] = None,
    restore: Annotated[
        bool, typer.Option("--restore", help="Only undo a run on --dsn that was cut off; measure nothing.")
    ] = False,
) -> None:
    """Measure configurations that the running prediction API suggests; keep the best, or roll back.

    What is measured is a synthetic workload of our own (sorts, joins, look-ups), also on the server that --dsn names:
    a gain there says nothing certain of the queries that it serves otherwise.

    Runs alternate between the present and the new configuration, and only an interval above zero counts as a gain.
    Settings that trade durability or security are never touched. Whatever fails, what was set before is
    restored; after a power cut or kill -9 by the next run on that server, or by --restore.
    """
    if dsn and system != "postgresql":
        raise UserError(f"--dsn names a PostgreSQL server; {system} takes none")
    if restore:
        _restore(dsn)
        return
    from remediation.tuning.tune import tune as run

    with progress(f"Tuning {system}") as tell, _opened(system, dsn) as (opened, journal):
        found = run(opened, _suggest, trials, lambda text: tell(system, text), journal=journal)
    gain = f", {found.gain.gain:+.1%} ({found.gain.low:+.1%} to {found.gain.high:+.1%})" if found.gain else ""
    out().print(f"{found.reason} after {found.trials} trials{gain}")


def _suggest(row: Any) -> Any:
    from serving import client

    return client.predict(MODEL, [row]).answers[0]


def _restore(dsn: str | None) -> None:
    from remediation.tuning.tune import recover

    if not dsn:
        raise UserError("--restore needs --dsn: other systems are temporary and leave nothing to undo")
    with _opened("postgresql", dsn) as (opened, journal):
        undone = journal is not None and recover(opened, journal)
    out().print("what was set before the run is set again" if undone else "no run was cut off; nothing to restore")


@contextmanager
def _opened(name: str, dsn: str | None) -> Iterator[tuple[System, Journal | None]]:
    """The system, and the journal where it outlives this run; what was made for it is taken away afterwards."""
    from infra.settings import settings
    from remediation.tuning import postgresql, sqlite
    from remediation.tuning.journal import Journal

    with ExitStack() as stack:
        if name == "sqlite":
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aiops-tune-")))
            yield stack.enter_context(closing(sqlite.Sqlite(folder))), None
            return
        address = dsn or stack.enter_context(postgresql.server())
        opened = stack.enter_context(closing(postgresql.Postgresql(address)))
        yield opened, Journal(settings().home / "tuning", opened.identity()) if dsn else None
