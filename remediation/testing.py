"""Stand-ins beside the contracts: a target kept in files, an action on it that counts its effects, a clock that jumps.

Like a real target, the files outlive the process that acts on them, so tests can kill it anywhere and look afterwards
at what really happened: `effects()` is the target's own ledger, not the kernel's opinion.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.settings import Remediation, Rule, Settings
from remediation.action import Action, Check, Parameters
from remediation.clock import Instant
from remediation.engine import Engine
from remediation.kernel import open_kernel
from remediation.notice import Notice
from remediation.notify import Channel, deliver
from remediation.records import Detection, Effect, Observation, Plan, Status, Target, Verdict


@dataclass
class JumpingClock:
    """True time moves by `advance`; the wall clock can be set besides by `jump`."""

    wall: float = 1_800_000_000.0
    true: float = 1_000.0

    def now(self) -> Instant:
        return Instant(self.wall, "boot", self.true)

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.true += seconds

    def jump(self, seconds: float) -> None:
        self.wall += seconds


class World:
    """An inventory of instances kept in one JSON file each; `services` gives the replicas of each service."""

    def __init__(self, folder: Path, services: Mapping[str, int], clock: JumpingClock | None = None) -> None:
        self.folder = folder
        self.clock = clock
        self.ledger = folder / "effects.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        for service, replicas in services.items():
            for number in range(replicas):
                if not (folder / f"{service}-{number}.json").exists():
                    self.write(f"{service}-{number}", service=service, generation=1, healthy=True, key="", pending="")

    def read(self, instance: str) -> dict[str, Any]:
        return dict(json.loads((self.folder / f"{instance}.json").read_text()))

    def write(self, instance: str, **values: Any) -> None:
        path = self.folder / f"{instance}.json"
        old = self.read(instance) if path.exists() else {}
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps({**old, **values}))
        draft.replace(path)

    @contextmanager
    def locked(self, instance: str) -> Iterator[None]:
        with (self.folder / f"{instance}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def effects(self) -> list[dict[str, Any]]:
        """What really happened to the targets, in order."""
        return [json.loads(line) for line in self.ledger.read_text().splitlines()] if self.ledger.exists() else []

    def targets(self) -> Mapping[str, Target]:
        found = {}
        for path in sorted(self.folder.glob("*-*.json")):
            state = self.read(path.stem)
            found[path.stem] = Target(
                cluster="local",
                namespace="workload",
                service=state["service"],
                instance=path.stem,
                generation=state["generation"],
            )
        return found

    def dependencies(self) -> Mapping[str, tuple[str, ...]]:
        return {}

    def observe(self) -> Mapping[str, Observation]:
        return {name: self.look(name) for name in self.targets()}

    def look(self, instance: str) -> Observation:
        healthy = self.read(instance)["healthy"]
        return Observation(
            service=self.read(instance)["service"],
            instance=instance,
            observed_at=self._now(),
            alive=healthy,
            responding=healthy,
            ready=healthy,
        )

    def detection(self, instance: str, age: float = 0.0, status: Status = Status.FIRING) -> Detection:
        """A detection about an instance, its evidence `age` seconds old."""
        at = datetime.fromtimestamp(self._now().timestamp() - age, UTC)
        service = instance.rpartition("-")[0]
        return Detection(
            source="/test", service=service, instance=instance, observed_at=at, evidence_at=at, status=status
        )

    def _now(self) -> datetime:
        return self.clock.now().utc if self.clock else datetime.now(UTC)


class Nothing(Parameters):
    """No parameters."""


class Flip(Action[Nothing]):
    """Makes an instance healthy in three separate writes, with a boundary before each; `outcome` steers the check."""

    parameters = Nothing
    treats = frozenset({"process_down"})
    disruption = 1

    def __init__(self, world: World, boundary: Callable[[str], None] | None = None) -> None:
        self.world = world
        self.boundary = boundary or (lambda name: None)
        self.outcome = Verdict.SUCCEEDED
        self.error: Exception | None = None
        self.forgetful = False
        self.undone: list[str] = []

    @property
    def name(self) -> str:
        return "flip"

    def parametrise(self, target: Target) -> Nothing:
        return Nothing()

    def changes(self, target: Target, parameters: Nothing) -> tuple[str, ...]:
        return (f"{target.instance} becomes healthy",)

    def apply(self, plan: Plan, key: str) -> None:
        if self.error is not None:
            raise self.error
        instance, generation = plan.target.instance, plan.target.generation
        with self.world.locked(instance):
            state = self.world.read(instance)
            if state["key"] == key:
                return
            if state["generation"] != generation:
                raise ValueError(f"{instance} is of generation {state['generation']}, not {generation}")
            self.boundary("target:announce")
            self.world.write(instance, pending=key)
            self.boundary("target:effect")
            if not any(effect["key"] == key for effect in self.world.effects()):
                with self.world.ledger.open("a") as ledger:
                    ledger.write(json.dumps({"instance": instance, "generation": generation + 1, "key": key}) + "\n")
            self.boundary("target:done")
            well = self.outcome is Verdict.SUCCEEDED
            self.world.write(instance, generation=generation + 1, key=key, pending="", healthy=well)
        self.boundary("target:returned")

    def verify(self, plan: Plan) -> Check:
        return Check(verdict=self.outcome, reason=f"the check says {self.outcome}")

    def probe(self, plan: Plan, key: str) -> Effect:
        if self.forgetful:
            return Effect.UNKNOWN
        state = self.world.read(plan.target.instance)
        if state["key"] == key:
            return Effect.DONE
        return Effect.PARTIAL if state["pending"] == key else Effect.NONE

    def undo(self, plan: Plan, key: str) -> str:
        self.undone.append(key)
        return "put back"


@dataclass
class Inbox(Channel):
    """Keeps what it is sent."""

    name: str = "inbox"
    notices: list[Notice] = field(default_factory=list)

    @classmethod
    def configured(cls, settings: Settings) -> Inbox:
        return cls()

    def send(self, notice: Notice) -> None:
        self.notices.append(notice)


def limits(**changed: Any) -> Remediation:
    """Limits that allow `flip`, with some changed."""
    rule = Rule(cause="process_down", actions=("flip",))
    return Remediation(**{"actions": {"flip": True}, "rules": (rule,), **changed})


def fake_engine(
    home: Path,
    world: World,
    remediation: Remediation | None = None,
    boundary: Callable[[str], None] | None = None,
    ways: list[Channel] | None = None,
) -> Engine:
    """An engine with a real kernel over a fake world, whose backoff takes no time and which tells in the foreground."""
    # built, not read: a fake must not depend on this machine's settings file
    settings = Settings.model_construct(enabled=True, home=home, remediation=remediation or limits())
    ways = ways or []
    kernel = open_kernel(settings, clock=world.clock, boundary=boundary, channels=[way.name for way in ways])
    actions: dict[str, Action] = {"flip": Flip(world, boundary)}
    wait = world.clock.advance if world.clock else (lambda seconds: None)
    return Engine(kernel, world, actions, lambda: [deliver(kernel, way) for way in ways], sleep=wait)
