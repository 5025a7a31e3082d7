"""Execution: announce, apply, verify, else undo, and record how it ended. After a crash: probe, never retry blindly."""

from __future__ import annotations

from collections.abc import Mapping

from infra.errors import UserError
from remediation.action import Action
from remediation.kernel import Kernel
from remediation.records import Claim, Effect, Outcome, Permit, Refusal, Verdict


class Executor:
    """Runs permits with the actions of the catalogue."""

    def __init__(self, kernel: Kernel, actions: Mapping[str, Action]) -> None:
        self.kernel = kernel
        self.actions = actions

    def run(self, permit: Permit) -> Outcome | Refusal:
        """Run an admitted plan to its outcome; a Refusal when the kernel withdrew the permit before it began."""
        refusal = self.kernel.admission.begin(permit)
        return refusal if refusal is not None else self._apply(permit)

    def recover(self, claim: Claim) -> bool:
        """Resolve every intent that a dead executor left; False when one still waits: held, or for a limit."""
        for intent, state in self.kernel.admission.unfinished(claim.incident):
            permit = self.kernel.admission.take_over(claim, intent)
            if permit is None or self._resume(permit, state) is not None:
                return False
        return True

    def _resume(self, permit: Permit, state: str) -> Refusal | None:
        admission = self.kernel.admission
        if state == "started":
            return self._complete(permit)
        if state == "admitted":
            admission.cancel(permit, "its executor died before it began")
        elif state == "undoing":
            self._undo(permit, "its executor died while undoing")
        else:
            self._judge(permit)
        return None

    def _complete(self, permit: Permit) -> Refusal | None:
        admission, effect = self.kernel.admission, self._probe(permit)
        if effect is Effect.NONE:
            admission.cancel(permit, "its executor died before it did anything")
        elif effect is Effect.UNKNOWN:
            admission.finish(permit, Verdict.INCONCLUSIVE, "its executor died and the probe cannot tell what was done")
        elif (refusal := admission.again(permit)) is not None:
            return refusal  # the next recovery tries again
        else:  # with the same key, apply completes what was begun and repeats nothing
            self._apply(permit)
        return None

    def _apply(self, permit: Permit) -> Outcome:
        try:
            self._action(permit).apply(permit.plan, permit.key)
        except Exception as error:  # whatever a plugin raises, the question is what it did
            return self._broken(permit, f"{type(error).__name__}: {error}")
        self.kernel.admission.applied(permit)
        return self._judge(permit)

    def _broken(self, permit: Permit, error: str) -> Outcome:
        effect = self._probe(permit)
        if effect is Effect.NONE:
            return self.kernel.admission.finish(permit, Verdict.FAILED, f"it did nothing: {error}")
        if effect is Effect.UNKNOWN:
            return self.kernel.admission.finish(permit, Verdict.INCONCLUSIVE, f"it broke off: {error}")
        return self._undo(permit, f"it broke off: {error}")

    def _judge(self, permit: Permit) -> Outcome:
        try:
            check = self._action(permit).verify(permit.plan)
        except Exception as error:
            reason = f"verification broke off: {type(error).__name__}: {error}"
            return self.kernel.admission.finish(permit, Verdict.INCONCLUSIVE, reason)
        if check.verdict is Verdict.FAILED:
            return self._undo(permit, check.reason)
        return self.kernel.admission.finish(permit, check.verdict, check.reason)

    def _undo(self, permit: Permit, why: str) -> Outcome:
        finish = self.kernel.admission.finish
        if permit.plan.irreversible or not self.kernel.core.limits.rollback_enabled:
            return finish(permit, Verdict.FAILED, f"{why}; not undone")
        refusal = self.kernel.admission.undoing(permit)
        if refusal is not None:
            return finish(permit, Verdict.INCONCLUSIVE, f"{why}; not undone: {refusal.reason}")
        try:
            what = self._action(permit).undo(permit.plan, permit.key)
        except Exception as error:
            return finish(permit, Verdict.INCONCLUSIVE, f"{why}; undo broke off: {type(error).__name__}: {error}")
        return finish(permit, Verdict.FAILED, f"{why}; {what}", undone=True)

    def _probe(self, permit: Permit) -> Effect:
        try:
            return self._action(permit).probe(permit.plan, permit.key)
        except Exception:  # a probe that fails tells nothing, and that is its answer
            return Effect.UNKNOWN

    def _action(self, permit: Permit) -> Action:
        try:
            return self.actions[permit.plan.action]
        except KeyError:
            raise UserError(f"{permit.intent} needs {permit.plan.action}, which is not an action any more") from None
