"""Decision: the gentlest allowed action, with the reasons against the others; settings are checked at the start."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from infra.errors import PluginError, SettingsError, UserError
from infra.settings import Rule
from remediation import action as contract
from remediation.action import Action, catalogue, check_settings
from remediation.decide import decide
from remediation.records import Decision, Diagnosis, Plan, Target
from remediation.testing import Flip, World, limits
from remediation.vocabulary import SPECIFIED


class Gentle(Flip):
    disruption = 0
    name = "gentle"  # type: ignore[assignment]


class Rough(Flip):
    disruption = 3
    name = "rough"  # type: ignore[assignment]


class Final(Flip):
    disruption = 2
    irreversible = True
    name = "final"  # type: ignore[assignment]


TARGET = Target(cluster="local", namespace="workload", service="web", instance="web-0", generation=1)


def choose(
    tmp_path: Path, actions: dict[str, bool], confidence: float = 0.9, failed: dict[str, int] | None = None, **more: Any
) -> Decision:
    world = World(tmp_path, {"web": 1})
    rules = more.pop("rules", (Rule(cause="process_down", confidence=0.5, actions=("rough", "final", "gentle")),))
    at = datetime.now(UTC)
    diagnosis = Diagnosis(
        cause=more.pop("cause", "process_down"),
        confidence=confidence,
        service="web",
        instance="web-0",
        evidence=(),
        evidence_at=at,
    )
    known: dict[str, Action] = {"gentle": Gentle(world), "rough": Rough(world), "final": Final(world)}
    return decide(diagnosis, TARGET, known, limits(actions=actions, rules=rules, **more), failed or {})


ALL = {"gentle": True, "rough": True, "final": True}


def test_the_gentlest_comes_first_and_the_others_are_explained(tmp_path: Path) -> None:
    decision = choose(tmp_path, ALL)
    assert decision.plan is not None and decision.plan.action == "gentle" and not decision.needs_approval
    assert {one.action: one.why for one in decision.rejected} == {
        "final": "more disruptive than gentle",
        "rough": "more disruptive than gentle",
    }


def test_after_two_failures_the_next_one_is_tried(tmp_path: Path) -> None:
    assert choose(tmp_path, ALL, failed={"gentle": 1}).plan.action == "gentle"  # type: ignore[union-attr]
    decision = choose(tmp_path, ALL, failed={"gentle": 2})
    assert decision.plan is not None and decision.plan.action == "final"
    assert "failed 2 times" in {one.action: one.why for one in decision.rejected}["gentle"]


def test_what_is_not_named_is_rejected(tmp_path: Path) -> None:
    decision = choose(tmp_path, {"rough": True})
    assert decision.plan is not None and decision.plan.action == "rough"
    assert {one.action for one in decision.rejected} == {"gentle", "final"}


def test_an_action_without_a_file_is_known_and_never_chosen(tmp_path: Path) -> None:
    rules = (Rule(cause="process_down", actions=("pod_restart", "gentle")),)
    settings = limits(actions={"pod_restart": True, "gentle": True}, rules=rules)
    check_settings(settings, {"gentle": Gentle})
    decision = choose(tmp_path, settings.actions, rules=rules)
    assert decision.plan is not None and decision.plan.action == "gentle"
    assert {one.action: one.why for one in decision.rejected} == {"pod_restart": "it is not installed"}
    assert choose(tmp_path, {"pod_restart": True}, rules=rules).plan is None


@pytest.mark.parametrize(
    ("actions", "more"),
    [({"gentle": False}, {}), ({"final": True}, {}), ({"gentle": True}, {"approval_required": True})],
)
def test_what_needs_approval(tmp_path: Path, actions: dict[str, bool], more: dict[str, Any]) -> None:
    assert choose(tmp_path, actions, **more).needs_approval


@pytest.mark.parametrize(("confidence", "cause"), [(0.49, "process_down"), (0.9, "solar_flare")])
def test_no_rule_or_too_little_confidence_is_no_action(tmp_path: Path, confidence: float, cause: str) -> None:
    decision = choose(tmp_path, ALL, confidence=confidence, cause=cause)
    assert decision.plan is None and cause in decision.reason


def test_a_plan_is_bound_to_its_target(tmp_path: Path) -> None:
    flip = Flip(World(tmp_path, {"web": 1}))
    plan = flip.plan(TARGET)
    assert plan.hash == flip.plan(TARGET).hash
    assert plan.hash != flip.plan(TARGET.model_copy(update={"generation": 2})).hash
    assert plan.hash != plan.model_copy(update={"parameters": {"grace": 1}}).hash


def test_the_catalogue_holds_its_contract() -> None:
    assert "process_restart" in catalogue()


def test_settings_that_name_a_missing_action_are_refused() -> None:
    with pytest.raises(SettingsError, match="did you mean 'process_restart'"):
        check_settings(limits(actions={"process_restat": True}, rules=()), catalogue())


def test_a_rule_that_names_no_action_at_all_is_refused() -> None:
    rules = (Rule(cause="process_down", actions=("certificate_renewl",)),)
    with pytest.raises(SettingsError, match="the rule for process_down: .*did you mean 'certificate_renewal'"):
        check_settings(limits(actions={}, rules=rules), catalogue())


def test_the_vocabulary_has_the_specified_actions() -> None:
    assert len(SPECIFIED - {"config_update"}) == 22


def test_a_rule_for_a_cause_that_its_action_does_not_treat_is_refused() -> None:
    rules = (Rule(cause="disk_full", actions=("process_restart",)),)
    with pytest.raises(SettingsError, match="does not treat it; it treats memory_leak"):
        check_settings(limits(actions={"process_restart": True}, rules=rules), catalogue())


class NoUndo(Flip):
    undo = Action.undo


class Mute(Flip):
    treats = frozenset()


@pytest.mark.parametrize(("broken", "why"), [(NoUndo, "irreversible"), (Final, "irreversible"), (Mute, "empty")])
def test_an_action_that_breaks_the_contract_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, broken: type[Action], why: str
) -> None:
    monkeypatch.setattr(contract.plugins, "load_all", lambda *_: {"broken": broken})
    with pytest.raises(PluginError, match=why):
        catalogue()


class Futile(Flip):
    disruption = 0
    name = "futile"  # type: ignore[assignment]

    def plan(self, target: Target) -> Plan:
        raise UserError("nothing to do here")


def test_an_action_that_finds_nothing_to_do_makes_way_for_the_next(tmp_path: Path) -> None:
    world, at = World(tmp_path, {"web": 1}), datetime.now(UTC)
    diagnosis = Diagnosis(
        cause="process_down", confidence=0.9, service="web", instance="web-0", evidence=(), evidence_at=at
    )
    known: dict[str, Action] = {"futile": Futile(world), "gentle": Gentle(world)}
    rules = (Rule(cause="process_down", actions=("futile", "gentle")),)
    decision = decide(diagnosis, TARGET, known, limits(actions={"futile": True, "gentle": True}, rules=rules), {})
    assert decision.plan is not None and decision.plan.action == "gentle"
    assert {one.action: one.why for one in decision.rejected} == {"futile": "nothing to do here"}
    alone = decide(diagnosis, TARGET, known, limits(actions={"futile": True}, rules=rules), {})
    assert alone.plan is None and {one.action for one in alone.rejected} == {"futile", "gentle"}
