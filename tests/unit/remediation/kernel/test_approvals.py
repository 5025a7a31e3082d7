"""Approvals: once, in time, for exactly that plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.errors import NotFound, UserError
from remediation.engine import Engine
from remediation.records import Incident, State
from remediation.testing import Inbox, JumpingClock, World, fake_engine, limits


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def engine(tmp_path: Path, world: World, inbox: Inbox) -> Engine:
    return fake_engine(tmp_path, world, limits(actions={"flip": False}), ways=[inbox])


def ask(engine: Engine, world: World) -> tuple[Incident, str]:
    world.write("web-0", healthy=False)
    incident = engine.handle(world.detection("web-0"))
    assert incident.state is State.AWAITING_APPROVAL and incident.approval is not None
    assert world.effects() == []
    return incident, incident.approval.id


def test_an_approved_plan_runs_once(engine: Engine, world: World, clock: JumpingClock) -> None:
    _, plan = ask(engine, world)
    clock.advance(600)  # the first evidence is stale by now; the repair takes a fresh look
    incident = engine.approve(plan, by="alice")
    assert incident.state is State.RESOLVED and len(world.effects()) == 1
    assert incident.approval is not None and incident.approval.state == "used"
    with pytest.raises(UserError, match="already used"):
        engine.approve(plan, by="alice")


def test_the_human_is_told_how_to_approve(engine: Engine, world: World, inbox: Inbox) -> None:
    _, plan = ask(engine, world)
    assert f"aiops approve {plan}" in inbox.notices[0].body("")


def test_duplicates_do_not_ask_again(engine: Engine, world: World) -> None:
    first, plan = ask(engine, world)
    again = engine.handle(world.detection("web-0"))
    assert again.id == first.id and again.approval is not None and again.approval.id == plan and again.duplicates == 1


def test_no_answer_in_time_is_a_no(engine: Engine, world: World, clock: JumpingClock) -> None:
    first, plan = ask(engine, world)
    clock.advance(30 * 60 + 1)
    engine.recover()
    assert engine.get(first.id).state is State.PAUSED
    with pytest.raises(UserError, match="already expired"):
        engine.approve(plan, by="alice")
    assert world.effects() == []


@pytest.mark.parametrize("jump", [-3600, 3600])
def test_a_clock_jump_never_turns_into_a_yes(engine: Engine, world: World, clock: JumpingClock, jump: float) -> None:
    _, plan = ask(engine, world)
    clock.jump(jump)
    with pytest.raises(UserError, match="expired"):
        engine.approve(plan, by="alice")
    assert world.effects() == []


def test_a_denied_plan_is_not_run(engine: Engine, world: World) -> None:
    first, plan = ask(engine, world)
    assert engine.deny(plan, by="bob").state is State.PAUSED
    engine.resume(first.id)
    engine.recover()
    assert world.effects() == []


def test_an_approval_is_bound_to_the_exact_plan(engine: Engine, world: World) -> None:
    first, plan = ask(engine, world)
    world.write("web-0", generation=7)  # somebody restarted it meanwhile
    incident = engine.approve(plan, by="alice")
    assert incident.state is State.AWAITING_APPROVAL and world.effects() == []
    assert incident.approval is not None and incident.approval.id != plan
    assert engine.approve(incident.approval.id, by="alice").state is State.RESOLVED


def test_an_approved_plan_whose_symptom_is_gone_does_nothing(engine: Engine, world: World) -> None:
    _, plan = ask(engine, world)
    world.write("web-0", healthy=True)
    assert engine.approve(plan, by="alice").state is State.DISMISSED
    assert world.effects() == []


def test_an_unknown_plan_names_the_pending_ones(engine: Engine, world: World) -> None:
    _, plan = ask(engine, world)
    with pytest.raises(NotFound, match=plan):
        engine.approve("plan-0", by="alice")


def test_approval_required_for_everything(tmp_path: Path, world: World) -> None:
    engine = fake_engine(tmp_path, world, limits(approval_required=True))
    ask(engine, world)
