"""Launching and stopping the workload's processes so that any of it can be repeated and nothing happens twice.

Each instance has one state file. A launch is a compare-and-swap of its generation under a file lock, and is announced
in the file before anything is touched: whoever comes after a crash finds there what was meant, and in the process
table (the idempotency key is on the command line) what happened.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from infra.errors import NotFound, UserError
from infra.settings import ROOT, Settings
from remediation.process import alive, identity
from remediation.records import Effect, Name, Record

SERVICES = ("front", "service", "database", "load")
DEPENDENCIES = {"load": ("front",), "front": ("service",), "service": ("database",), "database": ()}
_TIMEOUT = {"load": 2.0, "front": 1.25, "service": 1.0}  # each caller waits longer than what it calls


class Launch(Record):
    """How a process is started, apart from its generation and key."""

    arguments: tuple[str, ...]
    environment: dict[str, str] = {}


class InstanceState(Record):
    """The state file: what runs (`running`, `pid`), what the next launch takes (`desired`), what ran before."""

    service: Name
    instance: Name
    port: int
    generation: int = 0
    key: str = ""
    pending: str = ""  # the key of a launch that was announced and not finished
    pid: int | None = None
    started: str | None = None
    running: Launch | None = None
    previous: Launch | None = None
    desired: Launch

    @property
    def alive(self) -> bool:
        return self.pid is not None and self.started is not None and alive(self.pid, self.started)


class Workload:
    """The processes of one `home`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = settings.home / "workload"
        self.ledger = self.folder / "launches.jsonl"

    def state(self, instance: str) -> InstanceState:
        """Read one state file. Raises NotFound."""
        try:
            return InstanceState.model_validate_json(self._file(instance).read_text())
        except FileNotFoundError:
            raise NotFound("instance", instance, self.instances()) from None

    def instances(self) -> list[str]:
        """Names of all instances that were ever set up; empty before the first `up`."""
        return sorted(path.stem for path in self.folder.glob("*-*.json"))

    def states(self) -> dict[str, InstanceState]:
        return {name: self.state(name) for name in self.instances()}

    def up(self) -> None:
        """Start everything, or do nothing when any of it runs: a dead part is for remediation to repair."""
        if any(state.alive for state in self.states().values()):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        base = self.settings.stack.ports.workload
        ports = {service: base + offset for offset, service in enumerate(SERVICES)}
        for service in reversed(SERVICES):
            instance = f"{service}-0"
            known = self.state(instance) if self._file(instance).exists() else None
            fresh = InstanceState(
                service=service,
                instance=instance,
                port=ports[service],
                generation=known.generation if known else 0,
                desired=self._launch(service, ports),
            )
            with self._locked(instance):
                self._write(fresh)
            self.relaunch(instance, fresh.generation, f"up/{instance}/{fresh.generation}/{os.urandom(4).hex()}")

    def down(self, grace: float = 2.0) -> None:
        """Stop everything; the state files stay."""
        for instance in self.instances():
            with self._locked(instance):
                stop(self.state(instance), grace)

    def relaunch(
        self, instance: str, generation: int, key: str, grace: float = 2.0, launch: Launch | None = None
    ) -> InstanceState:
        """Replace the process of `generation` by the next one, once per `key`.

        `launch`: instead of the desired one; it is desired from then on.
        Raises UserError when the instance is not of that generation any more.
        """
        with self._locked(instance):
            state = self.state(instance)
            if state.key == key:
                return state
            if state.generation != generation:
                now = f"{instance} is of generation {state.generation}, not {generation}"
                raise UserError(f"{now}: somebody else restarted it; look again before acting")
            launch = launch or state.desired
            self._write(state.model_copy(update={"pending": key}))
            stop(state, grace)
            pid = find(key) or self._spawn(state, launch, generation + 1, key)
            done = {"generation": generation + 1, "key": key, "pending": "", "pid": pid, "started": identity(pid)}
            done |= {"running": launch, "previous": state.running, "desired": launch}
            state = state.model_copy(update=done)
            self._write(state)
            return state

    def effect(self, instance: str, key: str) -> Effect:
        """What became of the launch with this key."""
        with self._locked(instance):
            state = self.state(instance)
        if state.key == key:
            return Effect.DONE
        if state.pending == key:
            return Effect.PARTIAL
        return Effect.NONE if not find(key) else Effect.UNKNOWN

    def desire(self, instance: str, launch: Launch) -> None:
        """Set what the next launch takes: a change of configuration."""
        with self._locked(instance):
            self._write(self.state(instance).model_copy(update={"desired": launch}))

    def log_tail(self, instance: str, lines: int = 5) -> str:
        path = self.folder / f"{instance}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def _launch(self, service: str, ports: dict[str, int]) -> Launch:
        arguments = ["--service", service, "--instance", f"{service}-0"]
        arguments += ["--host", self.settings.stack.host, "--port", str(ports[service])]
        for dependency in DEPENDENCIES[service]:
            arguments += ["--upstream", f"{dependency}:{ports[dependency]}", "--timeout", str(_TIMEOUT[service])]
        arguments += ["--database", str(self.folder / "orders.sqlite")] if service == "database" else []
        arguments += ["--rate", "10"] if service == "load" else []
        return Launch(arguments=tuple(arguments), environment={"AIOPS_FAULTS": os.environ.get("AIOPS_FAULTS", "0")})

    def _spawn(self, state: InstanceState, launch: Launch, generation: int, key: str) -> int:
        command = [sys.executable, "-m", "remediation.workload.server", *launch.arguments]
        command += ["--generation", str(generation), "--key", key, "--ledger", str(self.ledger)]
        with (self.folder / f"{state.instance}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **launch.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # it outlives whoever starts it
            )
        return process.pid

    @contextmanager
    def _locked(self, instance: str) -> Iterator[None]:
        with (self.folder / f"{instance}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _file(self, instance: str) -> Path:
        return self.folder / f"{instance}.json"

    def _write(self, state: InstanceState) -> None:
        temporary = self.folder / f"{state.instance}.tmp"
        with temporary.open("w") as file:
            file.write(state.model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._file(state.instance))


def find(key: str) -> int | None:
    """The living process that was launched with this key."""
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        if key in (process.info["cmdline"] or ()) and process.info["status"] != psutil.STATUS_ZOMBIE:
            return int(process.info["pid"])
    return None


def stop(state: InstanceState, grace: float) -> None:
    """End the process gently, then by force. Never touches another process that got the same pid.

    Raises UserError when it is still there five seconds after SIGKILL.
    """
    if state.pid is None or not state.alive:
        return
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(state.pid)
        try:
            if state.alive:  # asked again: from here on the handle means this very process
                _end(handle, state, grace)
        finally:
            os.close(handle)


def _end(handle: int, state: InstanceState, grace: float) -> None:
    stopped = psutil.Process(state.pid).status() == psutil.STATUS_STOPPED  # cannot act on SIGTERM
    for number, patience in ((signal.SIGTERM, 0.0 if stopped else grace), (signal.SIGKILL, 5.0)):
        signal.pidfd_send_signal(handle, number)
        deadline = time.monotonic() + patience
        while state.alive and time.monotonic() < deadline:
            time.sleep(0.01)
        if not state.alive:
            return
    raise UserError(f"{state.instance} (pid {state.pid}) survives SIGKILL; it hangs in the kernel")
