"""Seeded histories of several replicas over one kernel store, killed at write boundaries, with a clock that jumps.

All replicas live in this process, so that thousands of histories run in minutes and each repeats from its seed. A kill
is an exception that nothing catches, and the dead replica commits nothing more; its leases stay until they expire, as
those of a lost host do. A death between two statements of a transaction undoes it like one before its commit, so the
moments around each commit and between the target's own writes are all the boundaries there are. At a boundary outside
of a transaction another replica may run, or the clock jump.

The oracle looks at the store right before and after each commit and at the target's ledger, and keeps its own account.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Row, select

from remediation.kernel import breaker
from remediation.kernel.limits import WINDOW
from remediation.kernel.store import Store, intents, outcomes
from remediation.records import Target, Verdict
from remediation.testing import Flip, JumpingClock, World, fake_engine, limits

HOUR = 3600.0
SERVICES = {"web": 4, "db": 2, "outside": 1}
# tight, so that the histories reach them often
LIMITS = limits(max_actions_per_minute=2, circuit_breaker_min_outcomes=3, circuit_breaker_window=5)
VERDICTS = (*4 * (Verdict.SUCCEEDED,), Verdict.FAILED, Verdict.INCONCLUSIVE)


class Killed(BaseException):
    """The process is gone. Not an Exception: no handler of the engine may see it."""


class TwoNamespaces(World):
    """A world whose service `outside` is in another namespace than the one that may be repaired."""

    def targets(self) -> Mapping[str, Target]:
        found = super().targets()
        return {
            name: target.model_copy(update={"namespace": "elsewhere"}) if target.service == "outside" else target
            for name, target in found.items()
        }


@dataclass
class Oracle:
    """What must never happen, found independently of the kernel's own answers."""

    clock: JumpingClock
    world: World
    problems: list[str] = field(default_factory=list)
    before: dict[str, Row] = field(default_factory=dict)
    gate: str = ""  # why nothing may be admitted in the transaction under way
    started: dict[str, float] = field(default_factory=dict)  # true time
    effects: list[float] = field(default_factory=list)  # true time

    def see(self, name: str, store: Store) -> None:
        """Called at each boundary, before anything else happens there."""
        if name == "commit:admit":
            self.before, self.gate = _intents(store), self._shut(store)
        elif name == "committed:admit":
            self._admissions(_intents(store))
        elif name == "committed:begin":
            running = (row.id for row in _intents(store).values() if row.state == "started")
            for intent in running:
                self.started.setdefault(intent, self.clock.true)
        elif name == "target:done":
            new = len(self.world.effects()) - len(self.effects)
            self.effects += [self.clock.true] * new

    def judge(self) -> list[str]:
        """All that went wrong."""
        self._rate("begun", sorted(self.started.values()))
        self._rate("done", self.effects)
        ledger = self.world.effects()
        for what in ("key", "generation"):
            seen = Counter((effect["instance"], effect[what]) for effect in ledger)
            self.problems += [f"{count} effects of one {what}: {one}" for one, count in seen.items() if count > 1]
        outside = [effect["instance"] for effect in ledger if effect["instance"].startswith("outside")]
        self.problems += [f"{instance} is outside of the blast radius and was repaired" for instance in outside]
        return self.problems

    def _rate(self, what: str, moments: list[float]) -> None:
        most = LIMITS.max_actions_per_minute
        for first, last in zip(moments, moments[most:], strict=False):
            if last - first < WINDOW:
                self.problems.append(f"{most + 1} actions {what} within {last - first:.1f} s")

    def _shut(self, store: Store) -> str:
        with store.read() as conn:
            row = conn.execute(select(breaker.breaker).where(breaker.breaker.c.scope == "all")).first()
            since = row.since if row else 0
            newest = select(outcomes.c.verdict).where(outcomes.c.seq > since).order_by(outcomes.c.seq.desc())
            verdicts = conn.execute(newest.limit(LIMITS.circuit_breaker_window)).scalars().all()
        if row is not None and row.state != "closed":
            wait = row.opened_at + LIMITS.circuit_breaker_cooldown.total_seconds() - self.clock.wall
            return f"the breaker is {row.state}" if row.state == "half_open" or wait > 0 else ""
        bad = len(verdicts) >= LIMITS.circuit_breaker_min_outcomes
        return "too few succeed" if bad and verdicts.count("succeeded") / len(verdicts) < 0.8 else ""

    def _admissions(self, after: dict[str, Row]) -> None:
        for intent in after.keys() - self.before.keys():
            row = after[intent]
            if self.gate:
                self.problems.append(f"{intent} was admitted although {self.gate}")
            if row.service == "outside":
                self.problems.append(f"{intent} was admitted outside of the blast radius")
            busy = sum(one.service == row.service and one.finished_at is None for one in after.values())
            if busy > max(1, int(LIMITS.blast_radius.max_share * SERVICES[row.service])):
                self.problems.append(f"{busy} replicas of {row.service} are in repair after {intent}")


class Replica:
    """One engine that dies after `life` boundaries."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.life = history.dice.randrange(60)
        self.dead = self.busy = False
        self.engine = fake_engine(history.home, history.world, LIMITS, self.boundary)
        self.engine.sleep = lambda seconds: None  # retries at once are the harder load

    def boundary(self, name: str) -> None:
        """Die here, or let others run."""
        if self.dead:
            raise Killed
        self.history.oracle.see(name, self.engine.kernel.core.store)
        self.history.passed[name] += 1
        if self.life == 0:
            self.dead = True
            self.history.killed[name] += 1
            raise Killed
        self.life -= 1
        if name.startswith("committed:") or name == "target:returned":
            self.history.disturb()

    def step(self) -> None:
        """Recover what others left, or handle a detection."""
        dice, world = self.history.dice, self.history.world
        flip = self.engine.actions["flip"]
        assert isinstance(flip, Flip)
        flip.outcome, flip.forgetful = dice.choice(VERDICTS), dice.random() < 0.1
        self.busy = True
        try:
            if dice.random() < 0.3:
                self.engine.recover()
            else:
                broken = [name for name in sorted(world.targets()) if not world.read(name)["healthy"]]
                self.engine.handle(world.detection(dice.choice(broken or sorted(world.targets()))))
        except Killed:
            self.engine.kernel.core.store.close()
        finally:
            self.busy = False


class History:
    """One history: 1 to 5 replicas take turns, die and are started again."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home = home
        self.dice = random.Random(seed)
        self.clock = JumpingClock()
        self.world = TwoNamespaces(home / "world", SERVICES, self.clock)
        self.oracle = Oracle(self.clock, self.world)
        self.passed: Counter[str] = Counter()
        self.killed: Counter[str] = Counter()
        self.replicas = [Replica(self) for _ in range(self.dice.randint(1, 5))]

    def run(self, steps: int = 8) -> list[str]:
        """Play it to its end; returns what went wrong."""
        for _ in range(steps):
            for instance in self.dice.sample(sorted(self.world.targets()), 3):
                self.world.write(instance, healthy=False)
            self._turn()
            self.clock.advance(self.dice.choice((0.0, 1.0, 5.0, 20.0, 130.0)))
        left = self._leftovers()
        return left + self.oracle.judge()

    def disturb(self) -> None:
        """What may happen between two writes of a replica: the clock jumps, or another replica runs."""
        chance = self.dice.random()
        if chance < 0.03:
            self.clock.jump(self.dice.choice((-HOUR, HOUR)))
        elif chance < 0.12:
            self._turn()

    def _turn(self) -> None:
        self.replicas = [Replica(self) if one.dead and not one.busy else one for one in self.replicas]
        idle = [one for one in self.replicas if not one.busy]
        if idle:
            self.dice.choice(idle).step()

    def _leftovers(self) -> list[str]:
        for one in self.replicas:
            one.engine.kernel.core.store.close()
        self.clock.advance(24 * HOUR)  # every lease is over, however the clock jumped
        engine = fake_engine(self.home, self.world, LIMITS)
        for _ in range(len(self.world.targets())):  # the rate lets few of them end in a minute
            engine.recover()
            self.clock.advance(300)
        store = engine.kernel.core.store
        left = [f"{row.id} is {row.state} for ever" for row in _intents(store).values() if row.finished_at is None]
        trail = engine.verify_audit()
        store.close()
        return left if trail.ok else [*left, f"audit: {trail.problem}"]


def _intents(store: Store) -> dict[str, Row]:
    query = select(intents.c.id, intents.c.service, intents.c.state, intents.c.finished_at)
    with store.read() as conn:
        return {row.id: row for row in conn.execute(query).all()}
