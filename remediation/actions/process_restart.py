"""Restart a process of the local workload: stop it gently, then by force, start the next generation, watch it recover.

The new process takes the launch that is desired now (so a restart also takes up a changed configuration); `undo` puts
back the launch that ran before. Backoff between attempts is the engine's: each attempt is an action of its own, with
its own token and intent.
"""

from __future__ import annotations

import time
from typing import Annotated

from pydantic import Field

from infra.errors import UserError
from infra.settings import Settings
from remediation.action import Action, Check, Parameters
from remediation.health import symptom
from remediation.records import Effect, Observation, Plan, Target, Verdict
from remediation.workload.inventory import LocalInventory

PAUSE = 0.1  # seconds between looks while verifying


class RestartParameters(Parameters):
    """`grace`: seconds between SIGTERM and SIGKILL; `launch`: what the next generation runs."""

    grace: Annotated[float, Field(gt=0, le=60)] = 2.0
    launch: tuple[str, ...]


class ProcessRestart(Action[RestartParameters]):
    parameters = RestartParameters
    treats = frozenset({"process_down", "process_hung", "memory_leak", "slow_response"})
    disruption = 2

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.inventory = LocalInventory(settings)
        self.health = settings.remediation.health

    def unsuited(self, target: Target) -> str:
        known = target.instance in self.inventory.workload.instances()
        return "" if known else f"{target.instance} is no process of the local workload"

    def parametrise(self, target: Target) -> RestartParameters:
        return RestartParameters(launch=self.inventory.workload.state(target.instance).desired.arguments)

    def changes(self, target: Target, parameters: RestartParameters) -> tuple[str, ...]:
        state = self.inventory.workload.state(target.instance)
        old = f"{target.instance} generation {target.generation} (pid {state.pid})"
        stop = f"stop {old}: SIGTERM, after {parameters.grace:g} s SIGKILL" if state.alive else f"{old} is already gone"
        changed = " with the changed launch" if state.running and state.running != state.desired else ""
        return stop, f"start generation {target.generation + 1}{changed}: {' '.join(parameters.launch)}"

    def apply(self, plan: Plan, key: str) -> None:
        self.inventory.workload.relaunch(plan.target.instance, plan.target.generation, key, self.typed(plan).grace)

    def verify(self, plan: Plan) -> Check:
        """Several good looks in a row at the new generation; every look is a new request, so it can recover."""
        deadline = time.monotonic() + self.health.verify_timeout.total_seconds()
        good = 0
        while True:
            look = self.inventory.observe_one(plan.target.instance)
            right = look.generation == plan.target.generation + 1
            good = good + 1 if right and look.ready and symptom(look, self.health) is None else 0
            if good == self.health.verify_successes:
                return Check(verdict=Verdict.SUCCEEDED, reason=f"healthy {good} times in a row ({look.latency:.3f} s)")
            if time.monotonic() > deadline:
                return self._late(plan, look)
            time.sleep(PAUSE)

    def probe(self, plan: Plan, key: str) -> Effect:
        return self.inventory.workload.effect(plan.target.instance, key)

    def undo(self, plan: Plan, key: str) -> str:
        workload, instance, back = self.inventory.workload, plan.target.instance, f"{key}/undo"
        state = workload.state(instance)
        if state.key == back:
            return "the launch that ran before was put back"
        if state.key not in (key, "") and state.pending != key:
            raise UserError(f"{instance} was launched by somebody else meanwhile ({state.key})")
        # broken off between stop and start, what ran before is still noted as running
        before = state.previous if state.key == key else state.running
        if state.key == key and before in (None, state.running):
            return "nothing to put back: it ran with the same launch before"
        workload.relaunch(instance, state.generation, back, self.typed(plan).grace, before)
        return "the launch that ran before was put back"

    def _late(self, plan: Plan, look: Observation) -> Check:
        within = f"within {self.health.verify_timeout.total_seconds():g} s"
        if look.blocked_by is not None:
            reason = f"{look.instance} itself runs, but waits for {look.blocked_by}: its repair cannot be judged"
            return Check(verdict=Verdict.INCONCLUSIVE, reason=reason)
        if look.generation not in (None, plan.target.generation + 1):
            reason = f"generation {look.generation} answers, not {plan.target.generation + 1}: somebody else acts"
            return Check(verdict=Verdict.INCONCLUSIVE, reason=reason)
        trouble = symptom(look, self.health)
        return Check(verdict=Verdict.FAILED, reason=f"{trouble.fact if trouble else 'not steadily healthy'} {within}")
