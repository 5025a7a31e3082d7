"""One tuning run: ask for a configuration, measure it against the present one in turns, keep it only when it is faster.

Runs alternate (present, new, present, new ...), so that a machine that slows down slows both; the gain is the median of
the pairs' log ratios with a bootstrap interval. What is found best by the trials is measured once more with fresh
runs: only that decides, because the best of several noisy trials looks better than it is. Whatever happens, an
exception included, what was set before is set again, exactly, and only knobs that a passed configuration changes are
set beyond it. Where settings outlive this process, a journal holds the way back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from features.transforms.configurations import FROZEN
from infra.errors import DataError
from remediation.tuning.journal import Journal, State

Values = dict[str, float]
PAIRS, CONFIRMING_PAIRS = 4, 12
DRAWS = 2000
Progress = Callable[[str], None]
Suggest = Callable[[Mapping[str, Any]], Any]  # a row of PerformanceOptimizer → its answer


class System(ABC):
    """A system under tuning: knobs with the levels that may be set, and a workload."""

    name: ClassVar[str]
    levels: ClassVar[dict[str, tuple[float, ...]]]  # the first is the vendor's default

    @abstractmethod
    def apply(self, values: Values) -> None:
        """Set every knob. Raises when one is not taken."""

    @abstractmethod
    def run(self) -> float:
        """Seconds of one run of the workload."""

    def present(self) -> Values:
        """What is in force; here the vendor's default."""
        return {knob: levels[0] for knob, levels in self.levels.items()}

    def state(self) -> State:
        """What `restore` needs to bring everything back, as JSON can hold it."""
        return self.present()

    def restore(self, state: State) -> None:
        """Everything as it was when `state` was asked for. Raises when it is not."""
        self.apply(dict(state))


@dataclass(frozen=True)
class Comparison:
    """How much faster the new configuration is (0.1: 10 %), with a 95 % interval; `noise` of one run."""

    gain: float
    low: float
    high: float
    noise: float


@dataclass(frozen=True)
class Tuned:
    """What a tuning run found; `values` are in force now."""

    kept: bool
    values: Values
    gain: Comparison | None
    trials: int
    reason: str


def tune(
    system: System,
    suggest: Suggest,
    trials: int,
    tell: Progress = lambda _: None,
    seed: int = 0,
    journal: Journal | None = None,
) -> Tuned:
    """Measure up to `trials` configurations of `system`; leaves the better one in force. Raises DataError.

    `journal`: where settings outlive this process; what an earlier run left there is restored first.
    """
    if frozen := sorted(FROZEN & set(system.levels)):
        raise DataError(f"{system.name}: {frozen[0]} trades durability or security and is never tuned")
    with journal.held() if journal else nullcontext():
        if journal and _recovered(system, journal):
            tell("an earlier run was cut off; what was set before it is restored")
        present, state = system.present(), system.state()
        if journal:
            journal.write(state)
        passed: Values = {}
        try:
            tuned = _search(system, suggest, trials, present, tell, seed)
            passed = {knob: value for knob, value in tuned.values.items() if value != present[knob]}
            return tuned
        finally:
            system.restore(state)
            if passed:
                system.apply(passed)
            if journal:
                journal.remove()


def recover(system: System, journal: Journal) -> bool:
    """Restore what was set before a run that was cut off; False: there was none. Raises DataError while one runs."""
    with journal.held():
        return _recovered(system, journal)


def _recovered(system: System, journal: Journal) -> bool:
    state = journal.read()
    if state is None:
        return False
    system.restore(state)
    journal.remove()
    return True


def compare(system: System, present: Values, new: Values, pairs: int, seed: int = 0) -> Comparison:
    """`pairs` runs of either configuration, in turns, which of the two first changing; a run each to warm up."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for number in range(pairs + 1):
        for is_new in (False, True) if number % 2 else (True, False):
            system.apply(new if is_new else present)
            took = system.run()
            if number:
                seconds[is_new].append(took)
    old = np.log(seconds[False])
    ratio = old - np.log(seconds[True])
    drawn = np.random.default_rng(seed).choice(ratio, (DRAWS, pairs))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    gain, low, high = (float(np.expm1(value)) for value in (np.median(ratio), low, high))
    return Comparison(gain, low, high, float(old.std()))


def _search(system: System, suggest: Suggest, trials: int, present: Values, tell: Progress, seed: int) -> Tuned:
    row = _row(system, present, trials)
    best: tuple[float, Values] | None = None
    measured = 0
    while measured < trials:
        answer = suggest(row)
        if answer.abstained or answer.decision != "try":
            break
        found = compare(system, present, answer.next, PAIRS, seed + measured)
        measured += 1
        interval = f"{found.gain:+.1%} ({found.low:+.1%} to {found.high:+.1%})"
        tell(f"trial {measured}: {_told(answer.next, present)}: {interval}")
        row = _after(row, answer.next, found, trials - measured)
        if best is None or found.gain > best[0]:
            best = found.gain, dict(answer.next)
    if best is None or best[0] <= 0:
        return Tuned(False, present, None, measured, "no trial was faster; the present configuration stays")
    gain = compare(system, present, best[1], CONFIRMING_PAIRS, seed + trials)
    if gain.low <= 0:
        return Tuned(False, present, gain, measured, "the best trial is not faster beyond the noise; rolled back")
    return Tuned(True, best[1], gain, measured, f"kept: {_told(best[1], present)}")


def _row(system: System, present: Values, trials: int) -> dict[str, Any]:
    """What PerformanceOptimizer is asked; the baseline is 1, so outcomes are relative run times."""
    grid: npt.NDArray[np.float64] = np.array(list(product(*system.levels.values())), dtype=float)
    return {
        "time": datetime.now(UTC),
        "task": f"{system.name} live",
        "system": system.name,
        "knobs": list(present),
        "values": list(present.values()),
        "baseline": 1.0,
        "higher_is_better": False,
        "noise": 0.03,
        "trials_left": trials,
        "tried": [],
        "outcomes": [],
        "candidates": grid.ravel().tolist(),
    }


def _after(row: dict[str, Any], values: Values, found: Comparison, left: int) -> dict[str, Any]:
    return {
        **row,
        "tried": [*row["tried"], *(values[knob] for knob in row["knobs"])],
        "outcomes": [*row["outcomes"], 1 / (1 + found.gain)],
        "noise": float(np.clip(found.noise / np.sqrt(PAIRS), 0.005, 0.5)),
        "trials_left": left,
    }


def _told(values: Values, present: Values) -> str:
    changed = [f"{knob}={value:g}" for knob, value in values.items() if value != present[knob]]
    return ", ".join(changed) or "as it is"
