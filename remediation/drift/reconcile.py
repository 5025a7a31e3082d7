"""From drift to a verified repair: detect, plan, apply and verify on an explicit order; or back to the last good one.

Closed by default: nothing is applied unless asked; a repair that would touch what has not drifted is refused, and so is
whatever would delete or replace anything, unless that is asked for, too. The last good configuration is the one under
which the project was last seen without drift.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
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
        plan, found, said = self._compared("reconcile")
        if not found.drifted:
            return found
        _only_drift(found)
        _spares(found, replace)
        return self._applied(plan, found, said)

    def rollback(self, replace: bool = False) -> Outcome:
        """Put back the last good configuration, apply and verify it. `replace`: also where that destroys something.

        Raises UserError when there is none, or it cannot be planned as asked; then the configuration stays as it is.
        """
        good = self.home / GOOD
        if not good.is_dir():
            raise UserError(
                f"no good configuration of {self.terraform.project} is known; detect it without drift first"
            )
        replaced = self.home / "replaced"
        present = self.terraform.configuration()
        other = _contents(present) != _contents(good.iterdir())
        if other:  # else what was replaced before would be lost
            _copy(present, replaced)
            self._put(good)
        try:
            plan, found, said = self._compared("rollback")
            _spares(found, replace)
        except UserError:
            if other:
                self._put(replaced)
            raise
        return self._applied(plan, found, said, note=f"the configuration it replaced is in {replaced}")

    def _put(self, source: Path) -> None:
        """Make the files of `source` the configuration."""
        for file in self.terraform.configuration():
            file.unlink()
        for file in source.iterdir():
            shutil.copy2(file, self.terraform.project / file.name)

    def _compared(self, name: str) -> tuple[Path, Outcome, dict[str, Any]]:
        file, plan = self.terraform.plan(name)
        found = Outcome(drifted=tuple(self._drifted(plan)), planned=tuple(plans.changes(plan)))
        if not found.drifted and not found.planned:
            self._keep()
        return file, found, plan

    def _applied(self, plan: Path, found: Outcome, said: dict[str, Any], note: str = "") -> Outcome:
        (self.home / "before.tfstate").write_text(self.terraform.state())
        try:
            self.terraform.apply(plan)
        except UserError as error:  # half applied: what is left is seen by the comparison
            note = f"{error}; {note}".rstrip("; ")
        _, after, seen = self._compared("verify")
        # what the configuration does not set, Terraform takes over from the live resource instead of putting it back
        adopted = tuple(each for each in found.drifted if not plans.restored(each, said, seen))
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
        _copy(self.terraform.configuration(), staging)
        shutil.rmtree(good, ignore_errors=True)
        staging.rename(good)


def _contents(files: Iterable[Path]) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in files}


def _copy(files: Iterable[Path], folder: Path) -> None:
    """Make `folder` hold these files and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for file in files:
        shutil.copy2(file, folder / file.name)


def _only_drift(found: Outcome) -> None:
    """Raises UserError when the plan touches what has not drifted."""
    drifted = {each.address for each in found.drifted}
    if others := sorted(each.address for each in found.planned if each.address not in drifted):
        raise UserError(
            f"the plan would also change {', '.join(others)}, which has not drifted: the configuration was changed; "
            "apply that on its own first"
        )


def _spares(found: Outcome, replace: bool) -> None:
    """Raises UserError when the plan destroys anything without leave."""
    if gone := sorted(each.address for each in found.planned if "delete" in each.actions and not replace):
        raise UserError(
            f"the plan would destroy, or destroy and make anew, {', '.join(gone)}; nothing was applied; "
            "allow it explicitly (--replace)"
        )
