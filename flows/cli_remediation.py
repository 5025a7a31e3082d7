"""What an operator does about incidents and limits. It works without Prefect: the kernel decides and remembers."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flows.console import out, progress
from infra.errors import UserError

if TYPE_CHECKING:
    from remediation.records import Incident

PANEL = "Remediation"
audit = typer.Typer(help="Check or export the audit trail of every decision and action.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command(rich_help_panel=PANEL)(remediate)
    app.command(rich_help_panel=PANEL)(approve)
    app.command(rich_help_panel=PANEL)(dismiss)
    app.command(rich_help_panel=PANEL)(switch)
    app.command(rich_help_panel=PANEL)(reset_breaker)
    app.add_typer(audit, name="audit", rich_help_panel=PANEL)


def remediate() -> None:
    """Look at the workload now, and repair what is wrong.

    Goes on with incidents that wait, then makes as many looks as `remediation.health.of` says, and works each detection
    through diagnosis, decision, action and verification. Shows the timeline of every incident.
    """
    from infra.settings import settings
    from remediation.detect import looks
    from remediation.engine import engine

    health = settings().remediation.health
    with progress("Looking at the workload") as tell:
        incidents = {incident.id: incident for incident in engine().recover()}
        for number, seen in enumerate(looks(engine().watcher().poll, health), start=1):
            tell("Workload", f"look {number} of {health.of}: {len(seen)} detections")
            for incident in map(engine().handle, seen):
                incidents[incident.id] = incident
    for incident in incidents.values():
        _show(incident)
    if not incidents:
        out().print("Nothing is wrong, and no incident waits.")


def _show(incident: Incident) -> None:
    from flows import timeline

    out().print(f"{incident.id} is {incident.state}: {incident.reason}", markup=False)
    for seconds, step, text in timeline.rows(incident):
        out().print(f"{seconds:8.2f} s  {step:<12} {text}", markup=False)


def approve(
    plan: Annotated[str | None, typer.Argument(help="Left out: list the plans that wait.")] = None,
    deny: Annotated[bool, typer.Option("--deny", help="Say no instead.")] = False,
    by: Annotated[str | None, typer.Option(help="Who answers; your login name when left out.")] = None,
) -> None:
    """Answer a plan that waits for approval, and carry it out when the answer is yes.

    An approval holds once, for exactly that plan, until it expires. The Prefect UI asks the same question.
    """
    if plan is None:
        if deny or by:
            raise UserError("name the plan to answer; `aiops approve` alone lists the plans that wait")
        _list_waiting()
        return
    from flows.approve import answer

    _show(answer(plan, not deny, by or getpass.getuser()))


def dismiss(incident: Annotated[str, typer.Argument(help="The incident's identifier.")]) -> None:
    """Close an incident that waits for a human; the next detection of its instance opens a new one."""
    from remediation.engine import engine

    engine().kernel.incidents.dismiss(incident, getpass.getuser())
    engine().tell()
    _show(engine().get(incident))


def switch(
    state: Annotated[Literal["on", "off"], typer.Argument(help="off: no repair begins.")],
) -> None:
    """The kill switch: stop, or allow again, every action that has not begun, in every process."""
    from remediation.engine import engine

    engine().kernel.switch(state == "on", getpass.getuser())
    allowed = "may be taken" if engine().kernel.enabled() else "are stopped, in every process, from the next step on"
    out().print(f"Remediation is switched {state}: actions {allowed}.")


def reset_breaker() -> None:
    """Close the circuit breaker by hand, after the reason of the failures is gone."""
    from remediation.engine import engine

    engine().kernel.reset_breaker(getpass.getuser())
    out().print("The circuit breaker is closed; only outcomes from now on count.")


def _list_waiting() -> None:
    from rich.table import Table

    from remediation.engine import engine
    from remediation.records import State

    table = Table("Plan", "Incident", "Changes", "Expires", box=None, pad_edge=False, header_style="bold")
    for incident in engine().history(state=State.AWAITING_APPROVAL):
        if incident.approval and incident.decision and incident.decision.plan:
            approval, changes = incident.approval, "; ".join(map(str, incident.decision.plan.changes))
            table.add_row(approval.id, incident.id, changes, f"{approval.expires_at.astimezone():%H:%M:%S}")
    out().print(table if table.row_count else "No plan waits for approval.")


@audit.command()
def verify(
    file: Annotated[Path | None, typer.Argument(help="An exported trail; the live one when left out.")] = None,
    key: Annotated[Path | None, typer.Option(help="The public key for FILE; the live trail's when left out.")] = None,
) -> None:
    """Check every link of the audit chain against its signed head. Exit code 1 when an entry was touched."""
    if file is None and key is not None:
        raise UserError("--key goes with an exported FILE; the live trail has its own key")
    if file is not None and not file.is_file():
        raise UserError(f"{file} is not a file; `aiops audit export FILE` writes one")
    from infra.settings import settings
    from remediation.engine import engine
    from remediation.kernel import audit as trail

    if file is None:
        found = engine().verify_audit()
    else:
        found = trail.verify_file(file, trail.load_public_key(key or settings().home / "audit.pub"))
    if not found.ok:
        out().print(
            f"The audit trail is broken at entry {found.bad} of {found.entries}: {found.problem}.", markup=False
        )
        raise typer.Exit(1)
    unsigned = f", the last {found.unsigned} not yet signed" if found.unsigned else ""
    out().print(f"The audit trail holds: {found.entries} entries{unsigned}.")


@audit.command()
def export(file: Annotated[Path, typer.Argument(help="Where to write it, as JSON lines.")]) -> None:
    """Write the trail to a file that can be verified anywhere, without this machine."""
    from remediation.engine import engine

    out().print(f"Written to {engine().export_audit(file)}.")
