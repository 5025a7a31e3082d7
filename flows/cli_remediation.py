"""`aiops remediate`, `approve` and `audit`."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from flows.console import out, progress

if TYPE_CHECKING:
    from remediation.kernel import Kernel

PANEL = "Remediation"
audit = typer.Typer(help="Check the audit trail of every decision and action.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command(rich_help_panel=PANEL)(remediate)
    app.command(rich_help_panel=PANEL)(approve)
    app.add_typer(audit, name="audit", rich_help_panel=PANEL)


def remediate() -> None:
    """Look at the workload once now: detect, diagnose, decide, act, verify."""
    from flows import remediate as flow

    with progress("Looking at the workload") as tell:
        flow.once(tell)


def approve(
    plan: Annotated[str, typer.Argument(help="The plan's identifier, as the notification and the Prefect UI show it.")],
    deny: Annotated[bool, typer.Option("--deny", help="Say no instead.")] = False,
    by: Annotated[str | None, typer.Option(help="Who answers; your login name when left out.")] = None,
) -> None:
    """Answer a plan that waits for approval. An approval holds once, for exactly that plan, until it expires."""
    decided = _kernel().decide(plan, not deny, by or getpass.getuser())
    out().print(f"{plan} is {decided.state} by {decided.by}.")


@audit.command()
def verify() -> None:
    """Check every link of the audit chain against its signed head. Exit code 1 when an entry was touched."""
    found = _kernel().verify_audit()
    if not found.ok:
        out().print(f"The audit trail is broken at entry {found.bad} of {found.entries}: {found.problem}.")
        raise typer.Exit(1)
    unsigned = f", the last {found.unsigned} not yet signed" if found.unsigned else ""
    out().print(f"The audit trail holds: {found.entries} entries{unsigned}.")


def _kernel() -> Kernel:
    from infra.settings import settings
    from remediation.kernel import open_kernel

    return open_kernel(settings())
