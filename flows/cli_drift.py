"""`aiops drift`: what of a Terraform project has drifted, and its reconciliation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.errors import UserError


def drift(
    place: Annotated[Path, typer.Argument(help="A Terraform project, or a plan as `terraform show -json` prints it.")],
    apply: Annotated[bool, typer.Option("--apply", help="Put the drifted resources back, and verify.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="With either: also what must be destroyed.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Put back the last good configuration.")] = False,
) -> None:
    """Find drifted attributes; nothing is applied without --apply or --rollback. Prints JSON.

    Exit code 1 when drift is found and not, or not verifiably, put back. A plan file needs no Terraform.
    """
    from remediation.drift import plans
    from remediation.drift.reconcile import Outcome, Project

    if place.is_file():
        if apply or rollback:
            raise UserError("a plan file says what has drifted; to put it back, name the project's folder")
        plan = plans.read(place)
        outcome = Outcome(drifted=tuple(plans.drifted(plan)), planned=tuple(plans.changes(plan)))
    elif apply and rollback:
        raise UserError("give --apply or --rollback, not both")
    else:
        project = Project(place)
        outcome = project.rollback(replace) if rollback else project.reconcile(replace) if apply else project.detect()
    print(outcome.model_dump_json(indent=2))
    if outcome.verified is False or (outcome.drifted and not outcome.verified):
        raise typer.Exit(1)
