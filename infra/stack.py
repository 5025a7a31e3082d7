"""The local stack: `up`, `down`, `status`, for all parts of `infra.parts` under one supervisord.

A stack belongs to a home directory; stacks with other homes and ports run side by side.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from infra import health, processes, supervision
from infra import parts as table
from infra.errors import NotFound, UserError
from infra.health import PartStatus
from infra.parts import Part
from infra.settings import ROOT, settings

Progress = Callable[[str, str], None]  # (title of the part, what happens to it)
_ALIVE = ("STARTING", "RUNNING")  # supervisord says RUNNING when a part has lasted for a while
_LASTED = 3  # seconds that a part without a health check must have run
_GIVE_UP_AFTER = 3  # restarts of a part during its start


class StackError(UserError):
    """The stack cannot start or stop; the text says which part, why, and where its log is."""


def up(progress: Progress, only: Collection[str] = ()) -> None:
    """Start the stack of `settings()`, or only the named parts; see `LocalStack.up`."""
    local().up(progress, only)


def down(progress: Progress) -> int:
    """Stop the stack of `settings()`; see `LocalStack.down`."""
    return local().down(progress)


def status() -> list[PartStatus]:
    """The state of each part of the stack of `settings()`; see `LocalStack.status`."""
    return local().status()


def local() -> LocalStack:
    """The stack of `settings()`."""
    config = settings()
    fingerprint = hashlib.sha256(config.model_dump_json().encode()).hexdigest()
    return LocalStack(config.home, table.parts(), table.environment(), fingerprint)


class LocalStack:
    """The parts below one home directory. Everything it knows is read anew from the running processes."""

    def __init__(
        self, home: Path, parts: Sequence[Part], environment: Mapping[str, str], fingerprint: str = ""
    ) -> None:
        self._home = home.resolve()
        self._parts = tuple(parts)
        self._environment = environment
        self._configuration = supervision.configuration(self._home, self._parts, fingerprint)
        self._supervisor: Any = supervision.client(self._home)

    def up(self, progress: Progress, only: Collection[str] = ()) -> None:
        """Start what does not run yet, one part after another, each until its health check passes.

        A supervisor that died is replaced: what it left behind is ended first. Changed settings restart the stack.
        Raises StackError for a port held by somebody else and for a part that does not become healthy.
        """
        chosen = self._chosen(only)
        with self._lock(progress):
            supervised = self._is_supervised(progress)
            self._check_ports(chosen)
            if not supervised:
                self._launch()
            for part in chosen:
                self._start(part, progress)

    def down(self, progress: Progress) -> int:
        """Stop every process of the stack, supervised or not; return how many had to be ended one by one."""
        with self._lock(progress):
            return self._stop(progress)

    def status(self) -> list[PartStatus]:
        """The parts in starting order, each probed now (two seconds at most)."""
        supervised, restarts = self._supervised()
        trees: dict[str, list[psutil.Process]] = {}
        for name, process in processes.marked(self._home):
            trees.setdefault(name, []).append(process)
        with ThreadPoolExecutor(max_workers=max(1, len(self._parts))) as pool:
            return list(
                pool.map(
                    lambda part: health.examine(
                        part, supervised.get(part.name), trees.get(part.name, []), restarts.get(part.name, {})
                    ),
                    self._parts,
                )
            )

    def _chosen(self, only: Collection[str]) -> list[Part]:
        names = [part.name for part in self._parts]
        for name in only:
            if name not in names:
                raise NotFound("part", name, names)
        return [part for part in self._parts if not only or part.name in only]

    @contextmanager
    def _lock(self, progress: Progress) -> Iterator[None]:
        """Let one `up` or `down` at a time work on this home."""
        for folder in ("run", "logs", "prefect", "mlflow"):
            (self._home / folder).mkdir(parents=True, exist_ok=True)
        with (self._home / "run" / "stack.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress("Stack", "another `aiops up` or `down` works on it; waiting")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _supervised(self) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, float]]]:
        try:
            found = {info["name"]: info for info in self._supervisor.supervisor.getAllProcessInfo()}
            return found, self._supervisor.aiops.restarts()
        except (OSError, xmlrpc.client.Fault):  # none, or one that shuts down
            return {}, {}

    def _is_supervised(self, progress: Progress) -> bool:
        """True when our supervisor runs with these settings; ends whatever else is left of the stack."""
        try:
            self._supervisor.supervisor.getState()
            if self._config_file.read_text() == self._configuration:
                return True
            progress("Stack", "the settings have changed; restarting it")
        except OSError:
            if left := len(processes.marked(self._home)):
                progress("Stack", f"its supervisor is gone; ending the {left} processes it left behind")
        self._stop(lambda *_: None)
        return False

    @property
    def _config_file(self) -> Path:
        return self._home / "run" / "supervisord.conf"

    def _check_ports(self, parts: Sequence[Part]) -> None:
        host = self._environment["AIOPS__STACK__HOST"]
        ours = {process.pid for _, process in processes.marked(self._home)}
        taken = {p.name: (p, holder) for p in parts if p.port and (holder := processes.port_holder(host, p.port, ours))}
        if taken:
            held = "; ".join(f"port {p.port} ({p.title}) is held by {holder}" for p, holder in taken.values())
            first = next(iter(taken))
            raise StackError(
                f"{held}; stop it, or choose another port: stack.ports.{first} in infra/aiops.yaml "
                f"or AIOPS__STACK__PORTS__{first.upper()} in the environment"
            )

    def _launch(self) -> None:
        self._config_file.write_text(self._configuration)
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._config_file)]
        environment = {**os.environ, **self._environment, processes.STACK: str(self._home)}
        environment.pop(processes.PART, None)
        # supervisord checks its configuration, then goes to the background and this call returns
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise StackError(f"supervisord does not start: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
        deadline = time.monotonic() + 15
        while True:
            try:
                self._supervisor.supervisor.getState()
                return
            except OSError:
                if time.monotonic() > deadline:
                    log = self._home / "logs" / "supervisord.log"
                    raise StackError(f"supervisord does not answer 15 seconds after its start; see {log}") from None
                time.sleep(0.1)

    def _start(self, part: Part, progress: Progress) -> None:
        begun = time.monotonic()
        if self._info(part)["statename"] in _ALIVE and not health.trouble(part):
            progress(part.title, f"runs already  {part.address}".rstrip())
            return
        progress(part.title, "starting")
        try:
            self._supervisor.supervisor.startProcess(part.name, False)
        except xmlrpc.client.Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise StackError(f"{part.title} cannot be started: {fault.faultString}") from None
        self._wait_until_healthy(part)
        progress(part.title, f"ready after {time.monotonic() - begun:.1f} s  {part.address}".rstrip())

    def _wait_until_healthy(self, part: Part) -> None:
        deadline = time.monotonic() + part.start_timeout
        before = self._restart_count(part)
        while True:
            info = self._info(part)
            trouble = health.trouble(part) if info["statename"] in _ALIVE else "not running"
            if not trouble and (part.probe or info["now"] - info["start"] >= _LASTED):
                return
            if info["statename"] == "FATAL" or self._restart_count(part) - before >= _GIVE_UP_AFTER:
                raise StackError(f"{part.title} ends again and again: {self._last_line(part)}; see {self._log(part)}")
            if time.monotonic() > deadline:
                raise StackError(
                    f"{part.title} is not healthy {part.start_timeout:.0f} seconds after its start ({trouble}); "
                    f"see {self._log(part)}"
                )
            time.sleep(0.2)

    def _info(self, part: Part) -> dict[str, Any]:
        try:
            return self._supervisor.supervisor.getProcessInfo(part.name)
        except OSError:
            raise StackError(f"the supervisor ended while {part.title} was starting; run `aiops up` again") from None

    def _restart_count(self, part: Part) -> float:
        return self._supervised()[1].get(part.name, {}).get("count", 0)

    def _log(self, part: Part) -> Path:
        return self._home / "logs" / f"{part.name}.log"

    def _last_line(self, part: Part) -> str:
        try:
            lines = self._log(part).read_text(errors="replace").split("\n")
        except FileNotFoundError:
            return "it wrote no log"
        return next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")

    def _stop(self, progress: Progress) -> int:
        try:
            self._supervisor.supervisor.shutdown()
            progress("Stack", "stopping")
            self._wait_for_end(30)
        except OSError:
            progress("Stack", "no supervisor runs")
        # the supervisor before the rest, lest it restarts what is ended here
        left = processes.marked(self._home)
        processes.end([process for name, process in left if not name], grace=0)
        processes.end([process for name, process in left if name])
        return len(left)

    def _wait_for_end(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while any(not name for name, _ in processes.marked(self._home)) and time.monotonic() < deadline:
            time.sleep(0.2)
