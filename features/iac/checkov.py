"""The policy engine (checkov), in its own environment: a program on this machine, never a library of this one.

Its dependencies are pinned apart from ours (boto3, networkx, packaging), so `make checkov` installs it into `.checkov`;
`AIOPS_CHECKOV` names another, else the one on PATH is used. It runs without a shell, offline, under a time limit, on
copies that lie alone in a folder each, as the history was made.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from features.iac import FileChange
from infra.errors import DataError, UserError
from infra.settings import ROOT

TIMEOUT = 180.0  # seconds
FRAMEWORKS = ("terraform", "cloudformation", "kubernetes")
_FLAGS = ("--output", "json", "--quiet", "--compact", "--skip-download", "--skip-results-upload", "--soft-fail")
_ACROSS_FILES = "CKV2_"  # policies over several files: not judged one file at a time


class NoEngine(UserError):
    """There is no policy engine on this machine."""


@dataclass(frozen=True)
class Failure:
    """One failed check of one resource."""

    path: str
    policy: str
    title: str
    resource: str
    line: int
    guideline: str | None


def find() -> Path:
    """The engine's program. Raises NoEngine with the ways to get it, DataError when the named one is no program."""
    named = os.environ.get("AIOPS_CHECKOV")
    if named:
        if not os.access(named, os.X_OK):
            raise DataError(f"AIOPS_CHECKOV names {named}, which is not a program")
        return Path(named)
    own = ROOT / ".checkov" / "bin" / "checkov"
    program = own if os.access(own, os.X_OK) else shutil.which("checkov")
    if program is None:
        raise NoEngine("checkov is not on this machine; `make checkov` installs it, or AIOPS_CHECKOV names its program")
    return Path(program)


def scan(changes: Sequence[FileChange], timeout: float = TIMEOUT) -> tuple[list[Failure], list[Failure]]:
    """The failed checks of the old and of the new contents. Raises NoEngine, or UserError when the engine fails."""
    program = find()
    with tempfile.TemporaryDirectory(prefix="aiops-checkov-") as name:
        folder = Path(name)
        places: dict[str, tuple[bool, str]] = {}
        for number, change in enumerate(changes):
            for new, text in ((False, change.before), (True, change.after)):
                if text is not None:
                    file = folder / f"{number}-{int(new)}" / f"main{PurePosixPath(change.path).suffix}"
                    file.parent.mkdir()
                    file.write_text(text)
                    places[f"/{file.relative_to(folder).as_posix()}"] = (new, change.path)
        failures = [(places[place][0], failure) for place, failure in _failures(_run(program, folder, timeout), places)]
    return [found for new, found in failures if not new], [found for new, found in failures if new]


def introduced(before: Sequence[Failure], after: Sequence[Failure]) -> list[Failure]:
    """The failures of each file's policies that fail more often than before; of resources that were not failing."""
    counts = Counter((found.path, found.policy) for found in after)
    counts.subtract((found.path, found.policy) for found in before)
    old = {(found.path, found.policy, found.resource) for found in before}
    grown = [found for found in after if counts[found.path, found.policy] > 0]
    fresh = [found for found in grown if (found.path, found.policy, found.resource) not in old]
    told = {(found.path, found.policy) for found in fresh}
    return fresh + [found for found in grown if (found.path, found.policy) not in told]


def by_path(failures: Sequence[Failure]) -> dict[str, Counter[str]]:
    """Failures by policy, for each path."""
    found: dict[str, Counter[str]] = {}
    for failure in failures:
        found.setdefault(failure.path, Counter())[failure.policy] += 1
    return found


def _run(program: Path, folder: Path, timeout: float) -> list[dict[str, Any]]:
    command = [str(program), "-d", str(folder), "--framework", *FRAMEWORKS, *_FLAGS]
    kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    environment = {**kept, "HOME": str(folder), "LOG_LEVEL": "ERROR", "CHECKOV_RUN_SCA_PACKAGE_SCAN_V2": "false"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, env=environment, cwd=folder, check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{program} did not end within {timeout:.0f} s; give fewer files") from None
    except OSError as error:
        raise UserError(f"{program} cannot be started: {error.strerror}") from None
    try:
        content = json.loads(done.stdout[min((at for at in map(done.stdout.find, "[{") if at >= 0), default=0) :])
    except json.JSONDecodeError:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise UserError(f"{program} ended with code {done.returncode}: {last}") from None
    return content if isinstance(content, list) else [content]


def _failures(reports: list[dict[str, Any]], places: Mapping[str, tuple[bool, str]]) -> list[tuple[str, Failure]]:
    found = []
    for report in reports:
        for check in report.get("results", {}).get("failed_checks", ()):
            place, policy = check["file_path"], check["check_id"]
            if place in places and not policy.startswith(_ACROSS_FILES):
                line = max(1, int((check.get("file_line_range") or [1])[0]))
                failure = Failure(
                    places[place][1], policy, check["check_name"], check["resource"], line, check.get("guideline")
                )
                found.append((place, failure))
    return found
