"""Rate limit, breaker and leases against jumping clocks and against simple models of what they must do."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from remediation.kernel import breaker, leases, limits
from remediation.kernel.store import Store, outcomes
from remediation.records import Verdict
from remediation.testing import JumpingClock
from remediation.testing import limits as make_limits

JUMPS = st.sampled_from([0.0, 0.0, 0.0, 3600.0, -3600.0, 59.0, -61.0])


@contextmanager
def undone(store: Store) -> Iterator[Connection]:
    """A transaction that leaves nothing behind, so that examples do not see each other."""
    with store.engine.connect() as conn, conn.begin() as change:
        yield conn
        change.rollback()


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/kernel.db")
        yield store
        store.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 40), JUMPS), min_size=20, max_size=40), st.integers(1, 5))
def test_never_more_than_the_rate_in_any_true_minute(store: Store, moves: list[tuple[float, float]], rate: int) -> None:
    clock, granted, allowed = JumpingClock(), [], make_limits(max_actions_per_minute=rate)
    with undone(store) as conn:
        for number, (pause, jump) in enumerate(moves):
            clock.advance(pause)
            clock.jump(jump)
            if limits.rate(conn, clock.now(), allowed) is None:
                limits.take_token(conn, f"intent-{number}", clock.now())
                granted.append(clock.true)
    for start in granted:
        assert sum(start <= at < start + limits.WINDOW for at in granted) <= rate


def test_the_rate_is_reached_and_comes_back(tmp_path: Path) -> None:
    clock, allowed = JumpingClock(), make_limits(max_actions_per_minute=3)
    store = Store(f"sqlite:///{tmp_path}/kernel.db")

    def granted() -> int:
        count = 0
        with store.transaction("test") as conn:
            for number in range(5):
                if limits.rate(conn, clock.now(), allowed) is None:
                    limits.take_token(conn, f"{clock.true}-{number}", clock.now())
                    count += 1
        return count

    assert granted() == 3
    clock.advance(59.9)
    assert granted() == 0
    clock.advance(0.2)
    assert granted() == 3


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["good", "bad", "cancelled", "wait", "reset"]), min_size=10, max_size=40))
def test_the_breaker_does_what_its_model_does(store: Store, events: list[str]) -> None:
    allowed = make_limits(circuit_breaker_window=6, circuit_breaker_min_outcomes=3, circuit_breaker_threshold=0.8)
    clock, model = JumpingClock(), BreakerModel()
    with undone(store) as conn:
        for number, event in enumerate(events):
            clock.advance(301 if event == "wait" else 1)
            if event == "reset":
                breaker.reset(conn)
                model = BreakerModel()
                continue
            may = model.state == "closed" or clock.wall >= model.opened + 300
            assert (breaker.check(conn, clock.now(), allowed) is None) == may
            if not may or event == "wait":
                continue
            intent, probing = f"intent-{number}", model.state == "open"
            breaker.admitted(conn, intent)
            # while the one probe runs, nobody else may start
            assert (breaker.check(conn, clock.now(), allowed) is None) != probing
            good = None if event == "cancelled" else event == "good"
            if good is not None:
                _outcome(conn, intent, Verdict.SUCCEEDED if good else Verdict.INCONCLUSIVE, clock.wall)
            assert breaker.learns(conn, intent, good, clock.now(), allowed) == model.learn(good, clock.wall)


class BreakerModel:
    """What the breaker must do, without a store."""

    def __init__(self) -> None:
        self.state, self.opened, self.seen = "closed", 0.0, list[bool]()

    def learn(self, good: bool | None, now: float) -> str:
        if good is None:
            return self.state
        if self.state == "open":  # this was the probe
            self.state, self.seen = ("closed", []) if good else ("open", self.seen)
            self.opened = self.opened if good else now
            return self.state
        self.seen = [*self.seen, good][-6:]
        if len(self.seen) >= 3 and sum(self.seen) / len(self.seen) < 0.8:
            self.state, self.opened = "open", now
        return self.state


def _outcome(conn: Connection, intent: str, verdict: Verdict, at: float) -> None:
    values = {"intent": intent, "incident": "i", "action": "flip", "cause": "c", "resource": "r", "body": "{}"}
    conn.execute(outcomes.insert().values(verdict=verdict, finished_at=at, **values))


def test_a_lease_is_exclusive_and_its_fence_only_grows(tmp_path: Path) -> None:
    clock, store = JumpingClock(), Store(f"sqlite:///{tmp_path}/kernel.db")
    with store.transaction("test") as conn:
        one, other = leases.new_holder(), leases.new_holder()
        assert leases.acquire(conn, "r", one, clock.now(), 60) == 1
        assert leases.acquire(conn, "r", other, clock.now(), 60) is None
        clock.advance(61)
        assert leases.acquire(conn, "r", other, clock.now(), 60) == 2
        leases.release(conn, "r", 1)  # the old owner's release does nothing
        assert leases.acquire(conn, "r", one, clock.now(), 60) is None
        leases.release(conn, "r", 2)
        assert leases.acquire(conn, "r", one, clock.now(), 60) == 3


def test_a_dead_process_holds_no_lease(tmp_path: Path) -> None:
    clock, store = JumpingClock(), Store(f"sqlite:///{tmp_path}/kernel.db")
    place, _, started, rest = leases.new_holder().split("|")
    with store.transaction("test") as conn:
        assert leases.acquire(conn, "r", f"{place}|4194303|{started}|{rest}", clock.now(), 3600) == 1
        assert leases.acquire(conn, "r", leases.new_holder(), clock.now(), 3600) == 2
        assert leases.acquire(conn, "s", f"elsewhere/boot/ns|1|1|{rest}", clock.now(), 3600) == 1
        assert leases.acquire(conn, "s", leases.new_holder(), clock.now(), 3600) is None


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_jump_frees_no_token(store: Store, jump: float) -> None:
    clock, allowed = JumpingClock(), make_limits(max_actions_per_minute=1)
    with undone(store) as conn:
        limits.take_token(conn, "intent-1", clock.now())
        clock.jump(jump)
        assert limits.rate(conn, clock.now(), allowed) is not None
        clock.advance(59)
        assert limits.rate(conn, clock.now(), allowed) is not None
