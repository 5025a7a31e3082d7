"""Detection: looks at health, and answers of the AnomalyDetector, become Detections once they repeat."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import AwareDatetime, ConfigDict

from infra.errors import UserError
from infra.settings import Health
from remediation.health import sick, symptom
from remediation.inventory import Inventory
from remediation.records import Blame, Detection, Name, Observation, Probability, Record, Status


def looks(look: Callable[[], list[Detection]], limits: Health) -> Iterator[list[Detection]]:
    """As many looks as debouncing may need, an interval apart."""
    for number in range(limits.of):
        time.sleep(limits.interval.total_seconds() if number else 0)
        yield look()


class Debounce:
    """Fires when `failures` of the last `of` looks at a key were bad; one bad look is noise."""

    def __init__(self, failures: int, of: int) -> None:
        if not 1 <= failures <= of:
            raise UserError(f"remediation.health: failures ({failures}) must be between 1 and of ({of})")
        self.failures = failures
        self._seen: defaultdict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=of))

    def update(self, key: str, bad: bool) -> bool:
        """Add a look; returns whether the key fires now."""
        self._seen[key].append(bad)
        return bad and sum(self._seen[key]) >= self.failures

    def forget(self, key: str) -> None:
        """Drop what was seen of a key, because it is not the same thing any more."""
        self._seen.pop(key, None)


class Watcher:
    """Plain health checks. Call `poll` every `remediation.health.interval`; it keeps what debouncing needs.

    `firing`: instances that an earlier watcher saw fall sick; their recovery is told as well.
    """

    def __init__(self, inventory: Inventory, limits: Health, firing: Iterable[str] = ()) -> None:
        self.inventory = inventory
        self.limits = limits
        self._debounce = Debounce(limits.failures, limits.of)
        self._firing = set(firing)
        self._generations: dict[str, int] = {}

    def poll(self) -> list[Detection]:
        """One look at everything: a firing detection for what is sick, one RESOLVED for what no longer is."""
        found = []
        for name, look in self.inventory.observe().items():
            bad = sick(look, self.limits)
            if look.generation is not None and look.generation != self._generations.setdefault(name, look.generation):
                self._generations[name] = look.generation
                self._debounce.forget(name)  # a new process does not answer for the old one's looks
            if self._debounce.update(name, bad):
                self._firing.add(name)
                found.append(from_observation(look, self.limits))
            elif not bad and name in self._firing:
                self._firing.discard(name)
                found.append(from_observation(look, self.limits, Status.RESOLVED))
        return found


def from_observation(look: Observation, limits: Health, status: Status = Status.FIRING) -> Detection:
    """The detection that one look amounts to."""
    own = symptom(look, limits)
    return Detection(
        source="/aiops/health",
        service=look.service,
        instance=look.instance,
        score=own.confidence if own else 0.5 if status is Status.FIRING else 0.0,
        blamed=(Blame(metric=own.cause),) if own else (),
        observed_at=look.observed_at,
        evidence_at=look.observed_at,
        status=status,
    )


class AnomalyAnswer(Record):
    """What is read of one answer of `POST /api/v3/aiops/analyze/anomaly`; other fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    service: Name
    instance: Name
    anomalous: bool
    score: Probability
    blamed: tuple[Blame, ...] = ()
    evidence_at: AwareDatetime


def from_anomalies(answers: Iterable[Mapping[str, Any]], debounce: Debounce) -> list[Detection]:
    """Detections from the AnomalyDetector's answers. Raises pydantic.ValidationError naming a wrong field."""
    found = []
    for raw in answers:
        answer = AnomalyAnswer.model_validate(raw)
        if debounce.update(answer.instance, answer.anomalous):
            found.append(
                Detection(
                    source="/aiops/analyze/anomaly",
                    model="anomaly_detector",
                    observed_at=datetime.now(UTC),
                    **answer.model_dump(exclude={"anomalous"}),
                )
            )
    return found
