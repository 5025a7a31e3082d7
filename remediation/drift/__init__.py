"""Drift of a Terraform project: found by comparison, reconciled on an explicit order, verified, rolled back.

`plans` reads what Terraform says as JSON and needs no Terraform; `terraform` runs the program; `reconcile` is the walk
from detection to a verified repair.
"""

from __future__ import annotations

from pydantic import Field

from remediation.records import Record


class Drifted(Record):
    """One attribute that is live another than it was applied; `attribute` is empty when the resource itself is gone."""

    address: str
    attribute: str
    applied: str | None = Field(description="as JSON; null when it was not set, '(sensitive)' when it is a secret")
    live: str | None


class Change(Record):
    """What a plan would do to a resource: create, update, delete."""

    address: str
    actions: tuple[str, ...]
