"""The six steps in one place: detect → analyse → decide → act → verify → learn. What every front door calls.

`handle` works one detection to a state where nothing more can be done now: resolved, or waiting (held for a limit,
paused for a human, awaiting an approval). It never blocks on a human. `recover` goes on with whatever a dead process
left. Both may run in any number of processes at once; the kernel decides who does what.
"""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from infra.settings import Settings, settings
from remediation import guard, learn, notify
from remediation.action import Action, catalogue, check_settings
from remediation.decide import decide
from remediation.detect import Watcher
from remediation.diagnose import Analyzer, diagnose
from remediation.execute import Executor
from remediation.inventory import Inventory, Joined
from remediation.kernel import Kernel, audit, open_kernel, rows
from remediation.kernel.audit import Verification
from remediation.kernel.leases import Fenced
from remediation.records import Claim, Detection, Diagnosis, Incident, Permit, Refusal, State, Verdict
from remediation.services import ServiceInventory
from remediation.workload.inventory import LocalInventory

logger = logging.getLogger("aiops.remediation")
MAX_BACKOFF = 30.0  # seconds


class Engine:
    """The steps over a kernel, an inventory and a catalogue of actions.

    `tell` is called when there may be notifications to send; it must not block.
    """

    def __init__(
        self,
        kernel: Kernel,
        inventory: Inventory,
        actions: Mapping[str, Action],
        tell: Callable[[], object],
        analyzer: Analyzer | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.kernel = kernel
        self.inventory = inventory
        self.actions = actions
        self.tell = tell
        self.analyzer = analyzer
        self.sleep = sleep
        self.executor = Executor(kernel, actions)
        self.limits = kernel.core.limits

    def handle(self, detection: Detection) -> Incident:
        """Work on a detection; a duplicate, a refused one and one that waits return at once."""
        incident, claim = self.kernel.incidents.observe(detection, self.inventory.targets())
        if claim is None:
            if incident.closed_at:  # it ended with this detection
                self.tell()
            return incident
        self._work(claim)
        return self.get(incident.id)

    def resume(self, incident: str) -> Incident:
        """Go on with an incident that waited, for example after its approval."""
        claim = self.kernel.incidents.claim(incident)
        if claim is not None:
            self._work(claim)
        return self.get(incident)

    def recover(self) -> list[Incident]:
        """Resolve what dead processes left, and go on with what waited; call at start and now and then."""
        self.kernel.expire_approvals()
        waiting = [one for one in rows.live(self.kernel.core.store) if one.state not in (State.PAUSED, State.MERGED)]
        done = [incident for one in waiting if (incident := self._resumed(one.id))]
        self.tell()
        return done

    def _resumed(self, incident: str) -> Incident | None:
        try:
            return self.resume(incident)
        except Exception:  # one incident that cannot go on must not keep the others, and the next start, from it
            logger.exception("%s cannot go on", incident)
            return None

    def approve(self, plan_id: str, by: str) -> Incident:
        """Agree to a pending plan, and run it if it is still exactly that plan."""
        return self.resume(self.kernel.decide(plan_id, approve=True, by=by).incident)

    def deny(self, plan_id: str, by: str) -> Incident:
        """Say no to a pending plan; the incident is then a human's."""
        incident = self.kernel.decide(plan_id, approve=False, by=by).incident
        self.tell()
        return self.get(incident)

    def is_live(self, fingerprint: str) -> bool:
        """Whether an incident of this fingerprint is not closed."""
        with self.kernel.core.store.read() as conn:
            return rows.live_row(conn, fingerprint) is not None

    def get(self, incident: str) -> Incident:
        """One incident with its timeline. Raises NotFound."""
        return rows.get(self.kernel.core.store, incident)

    def history(
        self, service: str | None = None, state: State | None = None, limit: int = 50, before: datetime | None = None
    ) -> list[Incident]:
        """Incidents, newest first; for the next page pass the last one's `opened_at` as `before`."""
        return rows.history(self.kernel.core.store, service, state, limit, before)

    def watcher(self) -> Watcher:
        """Health checks over the same inventory; its `poll` gives detections for `handle`."""
        live = {one.detection.instance for one in rows.live(self.kernel.core.store)}
        return Watcher(self.inventory, self.limits.health, live)

    def success_rates(self) -> list[learn.SuccessRate]:
        return learn.success_rates(rows.all_outcomes(self.kernel.core.store))

    def export_outcomes(self, path: Path) -> Path:
        """All outcomes as Parquet, for training."""
        return learn.export(rows.all_outcomes(self.kernel.core.store), path)

    def verify_audit(self) -> Verification:
        return self.kernel.verify_audit()

    def export_audit(self, path: Path) -> Path:
        """The trail as a file that `audit.verify_file` checks offline."""
        return audit.export(self.kernel.core.store, self.kernel.core.trail, path)

    def _work(self, claim: Claim) -> None:
        try:
            going = self.executor.recover(claim)
            while going:
                going = self._round(claim)
        except Fenced as lost:
            logger.warning("%s: %s", claim.incident, lost)
        finally:
            self.kernel.incidents.let_go(claim)
            self.tell()

    def _round(self, claim: Claim) -> bool:
        """One attempt: diagnose, decide, guard, execute. Whether another one should follow."""
        incident = self.get(claim.incident)
        if not _workable(incident):
            return False
        diagnosis = self._diagnose(claim, incident)
        if diagnosis is None:
            return False
        failed = self.kernel.incidents.failures(claim.incident)
        target = self.inventory.targets()[diagnosis.instance]
        decision = decide(diagnosis, target, self.actions, self.limits, failed)
        self.kernel.incidents.decided(claim, decision)
        if decision.plan is None:
            undecided = Refusal(name="undecided", reason=decision.reason, transient=True)
            self.kernel.incidents.hold(claim, undecided, tell=True)
            return False
        answer = guard.review(self.kernel, self.inventory, claim, decision.plan, diagnosis)
        return self._act(claim, answer) if isinstance(answer, Permit) else False

    def _diagnose(self, claim: Claim, incident: Incident) -> Diagnosis | None:
        looks, graph = self.inventory.observe(), self.inventory.dependencies()
        diagnosis = diagnose(incident.detection, looks, graph, self.limits.health, self.analyzer)
        if diagnosis is None:
            state = State.RESOLVED if incident.actions else State.DISMISSED
            reason = "healthy again" if incident.actions else "a fresh look finds nothing wrong"
            self.kernel.incidents.close(claim, state, reason)
            return None
        target = self.inventory.targets()[diagnosis.instance]
        merged = self.kernel.incidents.diagnosed(claim, diagnosis, target) is State.MERGED
        return None if merged else diagnosis

    def _act(self, claim: Claim, permit: Permit) -> bool:
        outcome = self.executor.run(permit)
        if isinstance(outcome, Refusal):
            self.kernel.incidents.hold(claim, outcome)
            return False
        if outcome.verdict is not Verdict.FAILED:
            return False
        backoff = self.limits.retry_backoff.total_seconds() * 2 ** (outcome.attempt - 1)
        self.sleep(min(backoff, MAX_BACKOFF))
        return True


def _workable(incident: Incident) -> bool:
    answered = incident.approval is not None and incident.approval.state == "approved"
    return incident.state in (State.OPEN, State.HELD) or (incident.state is State.AWAITING_APPROVAL and answered)


def build(configuration: Settings, boundary: Callable[[str], None] | None = None) -> Engine:
    """The engine of these settings, for the local workload and the services that they list.

    Raises SettingsError for a rule without its action, and for a service that is described wrongly.
    """
    actions = catalogue()
    check_settings(configuration.remediation, actions)
    ways = notify.channels(configuration)
    kernel = open_kernel(configuration, boundary=boundary, channels=[way.name for way in ways])
    made = {name: action(configuration) for name, action in actions.items()}
    courier = notify.Courier(kernel, ways)
    atexit.register(courier.close)
    inventory = Joined(LocalInventory(configuration), ServiceInventory(configuration))
    return Engine(kernel, inventory, made, courier.wake)


@lru_cache
def engine() -> Engine:
    """This process's engine, made on first use from `settings()`."""
    return build(settings())
