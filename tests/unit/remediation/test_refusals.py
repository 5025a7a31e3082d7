"""Every no of the kernel, by its name: nothing is done, and what should be told is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.settings import BlastRadius
from remediation import guard
from remediation.engine import Engine
from remediation.kernel.leases import Fenced
from remediation.records import Claim, Diagnosis, Incident, Permit, Refusal, State, Status, Verdict
from remediation.testing import Flip, Inbox, JumpingClock, World, fake_engine, limits


def failing(world: World, instance: str = "web-0") -> None:
    world.write(instance, healthy=False)


def flip(engine: Engine) -> Flip:
    action = engine.actions["flip"]
    assert isinstance(action, Flip)
    return action


def run(tmp_path: Path, world: World, **changed: Any) -> Incident:
    failing(world)
    return fake_engine(tmp_path, world, limits(**changed)).handle(world.detection("web-0"))


def test_repairs_what_is_broken(tmp_path: Path, world: World) -> None:
    incident = run(tmp_path, world)
    assert incident.state is State.RESOLVED
    assert incident.outcome is not None and incident.outcome.verdict is Verdict.SUCCEEDED
    assert [effect["instance"] for effect in world.effects()] == ["web-0"]
    kinds = [step.type.rpartition(".")[2] for step in incident.steps]
    assert kinds == [
        "detected",
        "diagnosed",
        "decided",
        "admitted",
        "started",
        "applied",
        "finished",
        "outcome",
        "incident_resolved",
    ]


def test_resolved_alert_is_never_acted_on(tmp_path: Path, world: World) -> None:
    failing(world)
    incident = fake_engine(tmp_path, world).handle(world.detection("web-0", status=Status.RESOLVED))
    assert incident.state is State.REFUSED and incident.reason.startswith("resolved")
    assert world.effects() == []


@pytest.mark.parametrize("age", [61, 3600, -61, -3600])
def test_evidence_of_the_wrong_age_is_refused(tmp_path: Path, world: World, age: float) -> None:
    failing(world)
    incident = fake_engine(tmp_path, world).handle(world.detection("web-0", age=age))
    assert incident.reason.startswith("stale_evidence")
    assert world.effects() == []


def test_unknown_instance_is_refused(tmp_path: Path, world: World) -> None:
    incident = fake_engine(tmp_path, world).handle(world.detection("billing-0"))
    assert incident.reason.startswith("unknown_target")


def test_an_action_that_the_settings_do_not_name_is_refused(tmp_path: Path, world: World) -> None:
    incident = run(tmp_path, world, actions={})
    assert incident.state is State.HELD and incident.reason.startswith("undecided")
    assert incident.decision is not None and incident.decision.rejected[0].action == "flip"
    assert world.effects() == []


def test_the_kernel_itself_refuses_an_action_that_is_not_allowed(tmp_path: Path, world: World) -> None:
    answer = admit(fake_engine(tmp_path, world, limits(actions={})), world)
    assert isinstance(answer, Refusal) and answer.name == "not_allowed" and not answer.transient


def admit(engine: Engine, world: World, instance: str = "web-0", **target: Any) -> Permit | Refusal:
    """Ask the kernel directly, without the engine's care."""
    failing(world, instance)
    _, claim = engine.kernel.incidents.observe(world.detection(instance), world.targets())
    assert claim is not None
    known = world.targets()[instance].model_copy(update=target)
    plan = engine.actions["flip"].plan(known)
    return engine.kernel.admission.admit(claim, plan, 4, diagnosis(world, instance))


def diagnosis(world: World, instance: str, age: float = 0.0) -> Diagnosis:
    at = world.detection(instance, age).evidence_at
    service = instance.rpartition("-")[0]
    return Diagnosis(
        cause="process_down", confidence=0.9, service=service, instance=instance, evidence=(), evidence_at=at
    )


@pytest.mark.parametrize("place", [{"cluster": "other"}, {"namespace": "kube-system"}])
def test_blast_radius_is_one_cluster_and_namespace(tmp_path: Path, world: World, place: dict[str, str]) -> None:
    answer = admit(fake_engine(tmp_path, world), world, **place)
    assert isinstance(answer, Refusal) and answer.name == "blast_radius" and not answer.transient


@pytest.mark.parametrize(("share", "allowed"), [(0.1, 1), (0.5, 2), (0.75, 3), (1.0, 4)])
def test_blast_radius_caps_the_share_of_replicas(tmp_path: Path, world: World, share: float, allowed: int) -> None:
    engine = fake_engine(tmp_path, world, limits(blast_radius=BlastRadius(max_share=share)))
    answers = [admit(engine, world, f"web-{number}") for number in range(4)]
    assert sum(isinstance(answer, Permit) for answer in answers) == allowed
    assert {answer.name for answer in answers if isinstance(answer, Refusal)} <= {"blast_radius"}


def test_stale_diagnosis_is_refused_at_the_door(tmp_path: Path, world: World) -> None:
    engine = fake_engine(tmp_path, world)
    _, claim = engine.kernel.incidents.observe(world.detection("web-0"), world.targets())
    assert claim is not None
    plan = flip(engine).plan(world.targets()["web-0"])
    answer = engine.kernel.admission.admit(claim, plan, 4, diagnosis(world, "web-0", age=61))
    assert isinstance(answer, Refusal) and answer.name == "stale_evidence"


def test_an_alert_that_lingers_after_the_repair_is_refused(tmp_path: Path, world: World, clock: JumpingClock) -> None:
    run(tmp_path, world)
    clock.advance(10)
    engine = fake_engine(tmp_path, world)
    _, claim = engine.kernel.incidents.observe(world.detection("web-0"), world.targets())
    assert claim is not None
    plan = flip(engine).plan(world.targets()["web-0"])
    answer = engine.kernel.admission.admit(claim, plan, 4, diagnosis(world, "web-0", age=20))
    assert isinstance(answer, Refusal) and answer.name == "lingering_alert"


def test_a_busy_target_is_refused(tmp_path: Path, world: World) -> None:
    engine = fake_engine(tmp_path, world)
    assert isinstance(admit(engine, world), Permit)
    other, claim = engine.kernel.incidents.observe(world.detection("db-0"), world.targets())
    assert claim is not None
    plan = flip(engine).plan(world.targets()["web-0"])
    answer = engine.kernel.admission.admit(claim, plan, 4, diagnosis(world, "web-0"))
    assert isinstance(answer, Refusal) and answer.name == "target_busy"


def test_a_target_that_changed_after_the_plan_is_held(tmp_path: Path, world: World) -> None:
    engine = fake_engine(tmp_path, world)
    failing(world)
    _, claim = engine.kernel.incidents.observe(world.detection("web-0"), world.targets())
    assert claim is not None
    plan = flip(engine).plan(world.targets()["web-0"])
    world.write("web-0", generation=2)
    assert guard.review(engine.kernel, world, claim, plan, diagnosis(world, "web-0")) is State.HELD
    assert engine.get(claim.incident).reason.startswith("target_changed")


def test_rate_limit_holds_and_the_next_minute_repairs(tmp_path: Path, world: World, clock: JumpingClock) -> None:
    engine = fake_engine(tmp_path, world, limits(max_actions_per_minute=1))
    for instance in ("web-0", "db-0"):
        failing(world, instance)
    assert engine.handle(world.detection("web-0")).state is State.RESOLVED
    held = engine.handle(world.detection("db-0"))
    assert held.state is State.HELD and held.reason.startswith("rate_limited")
    clock.advance(61)
    assert engine.handle(world.detection("db-0")).state is State.RESOLVED
    assert len(world.effects()) == 2


def test_kill_switch_stops_before_and_between_the_steps(tmp_path: Path, world: World, clock: JumpingClock) -> None:
    engine = fake_engine(tmp_path, world)
    permit = admit(engine, world)
    assert isinstance(permit, Permit)
    engine.kernel.switch(False, by="alice")
    refusal = engine.kernel.admission.begin(permit)
    assert refusal is not None and refusal.name == "kill_switch" and "alice" in refusal.reason
    failing(world, "db-0")
    assert engine.handle(world.detection("db-0")).reason.startswith("kill_switch")
    assert world.effects() == []
    engine.kernel.switch(True, by="alice")
    assert engine.handle(world.detection("db-0")).state is State.RESOLVED


def test_kill_switch_stops_the_undo_and_tells_a_human(tmp_path: Path, world: World) -> None:
    inbox = Inbox()
    engine = fake_engine(tmp_path, world, ways=[inbox])
    flip(engine).outcome = Verdict.FAILED
    flip(engine).boundary = lambda name: engine.kernel.switch(False, by="bob") if name == "target:returned" else None
    failing(world)
    incident = engine.handle(world.detection("web-0"))
    assert incident.state is State.PAUSED and flip(engine).undone == []
    assert "a human is needed" in inbox.notices[-1].text


def test_settings_switch_everything_off(tmp_path: Path, world: World) -> None:
    assert run(tmp_path, world, enabled=False).reason.startswith("kill_switch")


def test_a_failed_repair_is_undone_and_the_budget_ends_at_a_human(tmp_path: Path, world: World) -> None:
    inbox = Inbox()
    engine = fake_engine(tmp_path, world, limits(max_actions_per_incident=3), ways=[inbox])
    flip(engine).outcome = Verdict.FAILED
    failing(world)
    incident = engine.handle(world.detection("web-0"))
    assert incident.state is State.PAUSED and incident.reason.startswith("budget_exhausted")
    assert len(world.effects()) == 3 == len(flip(engine).undone)
    assert incident.outcome is not None and incident.outcome.undone
    assert [notice.incident for notice in inbox.notices] == [incident.id]


def test_backoff_doubles_between_attempts(tmp_path: Path, world: World, clock: JumpingClock) -> None:
    engine = fake_engine(tmp_path, world, limits(max_actions_per_incident=4))
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    engine.sleep = sleep
    flip(engine).outcome = Verdict.FAILED
    failing(world)
    engine.handle(world.detection("web-0"))
    assert waits == [0.5, 1.0, 2.0, 4.0]


def test_inconclusive_pauses_and_is_not_undone(tmp_path: Path, world: World) -> None:
    engine = fake_engine(tmp_path, world)
    flip(engine).outcome = Verdict.INCONCLUSIVE
    failing(world)
    incident = engine.handle(world.detection("web-0"))
    assert incident.state is State.PAUSED and flip(engine).undone == []
    again = engine.handle(world.detection("web-0"))
    assert again.id == incident.id and again.state is State.PAUSED and len(world.effects()) == 1


def test_an_apply_that_raises_without_effect_is_a_failure(tmp_path: Path, world: World) -> None:
    engine = fake_engine(tmp_path, world, limits(max_actions_per_incident=1))
    flip(engine).error = OSError("connection refused")
    failing(world)
    outcome = engine.handle(world.detection("web-0")).outcome
    assert outcome is not None and outcome.verdict is Verdict.FAILED and "connection refused" in outcome.reason
    assert world.effects() == []


def test_an_apply_that_raises_with_unknown_effect_is_inconclusive(tmp_path: Path, world: World) -> None:
    engine = fake_engine(tmp_path, world)
    flip(engine).error, flip(engine).forgetful = OSError("reset by peer"), True
    failing(world)
    incident = engine.handle(world.detection("web-0"))
    assert incident.state is State.PAUSED
    assert incident.outcome is not None and incident.outcome.verdict is Verdict.INCONCLUSIVE


def test_who_lost_the_lease_can_do_nothing(tmp_path: Path, world: World, clock: JumpingClock) -> None:
    engine = fake_engine(tmp_path, world)
    permit = admit(engine, world)
    assert isinstance(permit, Permit)
    clock.advance(3600)
    newer = engine.kernel.incidents.claim(permit.claim.incident)
    assert newer is not None and newer.fence > permit.claim.fence
    for step in (engine.kernel.admission.begin, engine.kernel.admission.applied):
        with pytest.raises(Fenced):
            step(permit)
    with pytest.raises(Fenced):
        engine.kernel.incidents.pause(Claim(**permit.claim.model_dump()), "too late")


def test_symptom_gone_before_the_repair_closes_without_acting(tmp_path: Path, world: World) -> None:
    incident = fake_engine(tmp_path, world).handle(world.detection("web-0"))
    assert incident.state is State.DISMISSED and world.effects() == []


def test_a_resolved_alert_ends_a_paused_incident(tmp_path: Path, world: World) -> None:
    engine = fake_engine(tmp_path, world)
    flip(engine).outcome = Verdict.INCONCLUSIVE
    failing(world)
    paused = engine.handle(world.detection("web-0"))
    ended = engine.handle(world.detection("web-0", status=Status.RESOLVED))
    assert ended.id == paused.id and ended.state is State.RESOLVED and ended.closed_at is not None


def test_a_held_incident_does_not_fill_the_trail(tmp_path: Path, world: World, clock: JumpingClock) -> None:
    engine = fake_engine(tmp_path, world, limits(actions={}))
    failing(world)
    engine.handle(world.detection("web-0"))
    entries = engine.verify_audit().entries
    for _ in range(5):
        clock.advance(2)
        assert engine.handle(world.detection("web-0")).state is State.HELD
    assert engine.verify_audit().entries == entries
