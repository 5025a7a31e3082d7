"""From drift to a verified repair: detect, plan, apply on an explicit order, verify, else back to the last good one.

Closed by default: nothing is applied unless asked; a plan that would touch what has not drifted, or delete or replace
anything, is refused. The last good configuration is the one under which the project was last seen without drift.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from pydantic import Field

from infra.errors import UserError
from infra.settings import settings
from remediation.drift import Change, Drifted, plans
from remediation.drift.terraform import Terraform
from remediation.records import Record

GOOD = "good"


class Outcome(Record):
    """What was found and done.

    `verified`: every drifted attribute is live again as it was applied, and nothing to change is left; null: nothing
    was applied.
    """

    drifted: tuple[Drifted, ...]
    planned: tuple[Change, ...]
    applied: bool = False
    verified: bool | None = None
    remaining: tuple[Drifted, ...] = Field(default=(), description="drift that is left after the repair")
    note: str = ""


class Project:
    """A Terraform project and what is remembered of it."""

    def __init__(self, folder: Path, home: Path | None = None) -> None:
        folder = folder.resolve()
        name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
        self.home = home or settings().home / "drift" / name
        self.terraform = Terraform(folder, self.home)
        self.terraform.prepare()
        self._computed: plans.Computed | None = None

    def detect(self) -> Outcome:
        """Compare; changes nothing. Without drift and with nothing to change the configuration is kept as good."""
        return self._compared("detect")[1]

    def reconcile(self, replace: bool = False) -> Outcome:
        """Put the drifted resources back and verify. `replace`: also what must be made anew.

        Raises UserError when the plan would do more than undo the drift.
        """
        plan, found, _ = self._compared("reconcile")
        if not found.drifted:
            return found
        _allow(found, replace)
        return self._applied(plan, found)

    def rollback(self) -> Outcome:
        """Put back the last good configuration, apply and verify it. Raises UserError when there is none."""
        good = self.home / GOOD
        if not good.is_dir():
            raise UserError(
                f"no good configuration of {self.terraform.project} is known; detect it without drift first"
            )
        replaced = self.home / "replaced"
        shutil.rmtree(replaced, ignore_errors=True)
        replaced.mkdir()
        for file in self.terraform.configuration():
            file.rename(replaced / file.name)
        for file in good.iterdir():
            shutil.copy2(file, self.terraform.project / file.name)
        plan, found, _ = self._compared("rollback")
        return self._applied(plan, found, note=f"the configuration it replaced is in {replaced}")

    def _compared(self, name: str) -> tuple[Path, Outcome, dict[str, Any]]:
        file, plan = self.terraform.plan(name)
        found = Outcome(drifted=tuple(self._drifted(plan)), planned=tuple(plans.changes(plan)))
        if not found.drifted and not found.planned:
            self._keep()
        return file, found, plan

    def _applied(self, plan: Path, found: Outcome, note: str = "") -> Outcome:
        (self.home / "before.tfstate").write_text(self.terraform.state())
        try:
            self.terraform.apply(plan)
        except UserError as error:  # half applied: what is left is seen by the comparison
            note = f"{error}; {note}".rstrip("; ")
        _, after, seen = self._compared("verify")
        # what the configuration does not set, Terraform takes over from the live resource instead of putting it back
        adopted = tuple(each for each in found.drifted if not plans.restored(each, seen))
        left = tuple(dict.fromkeys((*after.drifted, *adopted)))
        update = {"applied": True, "verified": not left and not after.planned, "remaining": left, "note": note}
        return found.model_copy(update=update)

    def _drifted(self, plan: dict[str, Any]) -> list[Drifted]:
        if not plan.get("resource_drift"):
            return []
        if self._computed is None:
            self._computed = self._schemas()
        return plans.drifted(plan, self._computed)

    def _schemas(self) -> plans.Computed:
        """What only the providers set; kept until the project's lock file names other providers."""
        lock = self.terraform.project / ".terraform.lock.hcl"
        version = hashlib.sha256(lock.read_bytes() if lock.is_file() else b"").hexdigest()[:16]
        file = self.home / f"computed-{version}.json"
        if not file.is_file():
            found = plans.computed(self.terraform.schemas())
            file.write_text(json.dumps({kind: sorted(names) for kind, names in found.items()}))
        return {kind: frozenset(names) for kind, names in json.loads(file.read_text()).items()}

    def _keep(self) -> None:
        """Remember the present configuration as good, in one step."""
        staging, good = self.home / "_good", self.home / GOOD
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        for file in self.terraform.configuration():
            shutil.copy2(file, staging / file.name)
        shutil.rmtree(good, ignore_errors=True)
        staging.rename(good)


def _allow(found: Outcome, replace: bool) -> None:
    """Raises UserError when the plan touches what has not drifted, or destroys anything without leave."""
    drifted = {each.address for each in found.drifted}
    if others := sorted(each.address for each in found.planned if each.address not in drifted):
        raise UserError(
            f"the plan would also change {', '.join(others)}, which has not drifted: the configuration was changed; "
            "apply that on its own first"
        )
    if gone := sorted(each.address for each in found.planned if "delete" in each.actions and not replace):
        raise UserError(
            f"the plan would destroy and make anew {', '.join(gone)}; nothing was applied; allow it explicitly"
        )
