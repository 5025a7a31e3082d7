"""Terraform as a program: without a shell, without questions, under a time limit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from infra.errors import UserError

TIMEOUT = 600.0  # seconds of one call
CONFIGURATION = ("*.tf", "*.tf.json", "*.tfvars", ".terraform.lock.hcl")


class NoTerraform(UserError):
    """There is no Terraform on this machine."""


class Terraform:
    """The program on a project. Plans and backups lie below `home`, never in the project."""

    def __init__(self, project: Path, home: Path, timeout: float = TIMEOUT) -> None:
        program = shutil.which("terraform")
        if program is None:
            raise NoTerraform(
                "terraform is not on this machine; install it, or give a plan as JSON, made where it is: "
                "`terraform plan -refresh-only -out=d.plan && terraform show -json d.plan > drift.json`"
            )
        if not any(project.glob("*.tf*")):
            raise UserError(f"{project} holds no Terraform configuration (*.tf)")
        self.program, self.project, self.home, self.timeout = program, project, home, timeout
        home.mkdir(mode=0o700, parents=True, exist_ok=True)  # plans and states hold secrets

    def prepare(self) -> None:
        """Initialise the project if it is not."""
        if not (self.project / ".terraform").is_dir():
            self._run("init")

    def plan(self, name: str) -> tuple[Path, dict[str, Any]]:
        """Plan the desired configuration against the live resources: the plan's file and what it says."""
        file = self.home / f"{name}.plan"
        self._run("plan", "-lock-timeout=30s", f"-out={file}")
        return file, self._json("show", "-json", str(file))

    def apply(self, plan: Path) -> None:
        """Apply exactly the plan `plan`; Terraform refuses one that is stale."""
        self._run("apply", "-lock-timeout=30s", str(plan))

    def schemas(self) -> dict[str, Any]:
        """The providers' schemas."""
        return self._json("providers", "schema", "-json")

    def state(self) -> str:
        """The present state, for a backup."""
        return self._run("state", "pull", inputs=False)

    def configuration(self) -> list[Path]:
        """The files that are the desired configuration."""
        return sorted(file for pattern in CONFIGURATION for file in self.project.glob(pattern))

    def _json(self, *arguments: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self._run(*arguments, inputs=False))
        return content

    def _run(self, command: str, *arguments: str, inputs: bool = True) -> str:
        flags = ("-input=false", "-no-color") if inputs else ()
        environment = {**os.environ, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
        try:
            done = subprocess.run(
                [self.program, command, *flags, *arguments],
                cwd=self.project,
                env=environment,
                capture_output=True,
                text=True,
                timeout=self.timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UserError(f"terraform {command} did not end within {self.timeout:.0f} s") from None
        if done.returncode:
            lines = [line.strip("│ ╷╵") for line in done.stderr.splitlines()]
            raise UserError(f"terraform {command} in {self.project} failed: {' '.join(filter(None, lines))[:600]}")
        return done.stdout
