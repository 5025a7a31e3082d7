"""The records that travel through the six steps. All are frozen; ids are unique like a CloudEvents `id`.

Telemetry enters as a Detection and nothing in it is ever used as a parameter of an action: the Target of a Plan comes
from the inventory, the action from the catalogue.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Probability = Annotated[float, Field(ge=0, le=1)]


def new_id(kind: str) -> str:
    """A unique id that says what it names, for example `incident-5f0c…`."""
    return f"{kind}-{uuid.uuid4().hex}"


def canonical(value: Any) -> str:
    """JSON with sorted keys, no spaces and no NaN: equal values have equal text, so a hash of it binds the value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


class Record(BaseModel):
    """Base: immutable, and a field that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Status(StrEnum):
    FIRING = "firing"
    RESOLVED = "resolved"


class Verdict(StrEnum):
    """`inconclusive` is a third answer, never rounded to one of the others: it pauses the incident for a human."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


class Effect(StrEnum):
    """What a probe finds of an action whose executor died."""

    NONE = "none"
    PARTIAL = "partial"
    DONE = "done"
    UNKNOWN = "unknown"


class State(StrEnum):
    """Life of an incident. The first five are live: they keep the fingerprint, so duplicates join them."""

    OPEN = "open"
    HELD = "held"  # refused for now (rate, breaker, busy target); tried again on the next detection
    AWAITING_APPROVAL = "awaiting_approval"
    PAUSED = "paused"  # a human was told; nothing happens until one releases it or the symptom ends
    MERGED = "merged"  # another incident repairs the same target; ends with it
    RESOLVED = "resolved"
    DISMISSED = "dismissed"  # nothing confirmed the symptom
    REFUSED = "refused"


class Target(Record):
    """One instance of a service as the inventory knows it; `generation` counts its launches."""

    cluster: Name
    namespace: Name
    service: Name
    instance: Name
    generation: Annotated[int, Field(ge=0)]

    @property
    def resource(self) -> str:
        """The name under which the kernel leases this target, the same for every generation."""
        return f"target:{self.cluster}/{self.namespace}/{self.service}/{self.instance}"


class Finding(Record):
    """What a system measured to be wrong with itself: a cause in the words of the rules, and the measured fact."""

    cause: Name
    confidence: Probability
    fact: str


class Observation(Record):
    """One look at an instance; `latency` in seconds, `memory` (resident set) in bytes."""

    service: Name
    instance: Name
    observed_at: AwareDatetime
    alive: bool
    responding: bool = False
    ready: bool = False
    blocked_by: Name | None = None  # the dependency that the instance itself names as the reason it is not ready
    latency: float | None = None
    memory: int | None = None
    generation: int | None = None
    finding: Finding | None = None


class Blame(Record):
    """A metric that moved a score, with its share of the blame."""

    metric: Annotated[str, StringConstraints(max_length=200)]
    weight: float = 1.0


class Detection(Record):
    """A detector's claim that something is wrong with one instance, with the age of its evidence.

    `observed_at`: when the detector spoke; `evidence_at`: the newest data it looked at.
    """

    id: str = Field(default_factory=lambda: new_id("detection"))
    source: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    service: Name
    instance: Name
    model: Annotated[str, StringConstraints(max_length=200)] = "health"
    score: Probability = 1.0
    blamed: tuple[Blame, ...] = ()
    observed_at: AwareDatetime
    evidence_at: AwareDatetime
    status: Status = Status.FIRING
    fingerprint: str = ""

    @model_validator(mode="after")
    def _fingerprint(self) -> Self:
        # by what is broken, not by who says so: every detector's claim about one instance is one incident
        expected = digest([self.service, self.instance])[:32]
        if self.fingerprint not in ("", expected):
            raise ValueError(f"fingerprint must be {expected} for {self.service}/{self.instance}, or left out")
        object.__setattr__(self, "fingerprint", expected)
        return self


class Diagnosis(Record):
    """The cause and where it sits, which may be deeper than where it was seen."""

    cause: Name
    confidence: Probability
    service: Name
    instance: Name
    evidence: tuple[str, ...]
    evidence_at: AwareDatetime
    by: str = "rules"


class Plan(Record):
    """What an action would do: the dry run. An approval is bound to `hash`, so any change needs a new approval."""

    action: Name
    target: Target
    parameters: dict[str, Any]
    changes: tuple[str, ...]
    destructive: bool
    irreversible: bool

    @property
    def hash(self) -> str:
        return digest(self.model_dump(mode="json"))


class Rejected(Record):
    """An action that was not taken, and why."""

    action: str
    why: str


class Decision(Record):
    """The chosen plan (or none), why it was chosen and why the others were not."""

    plan: Plan | None
    needs_approval: bool = False
    reason: str
    rejected: tuple[Rejected, ...] = ()


class Refusal(Record):
    """A named no. `transient`: may be tried again later; otherwise a human has to look."""

    name: Name
    reason: str
    transient: bool


class Approval(Record):
    """A question to a human about one exact plan; usable once, denied when it expires."""

    id: str
    incident: str
    plan_hash: str
    state: Literal["pending", "approved", "denied", "expired", "used"]
    requested_at: AwareDatetime
    expires_at: AwareDatetime
    decided_by: str | None = None


class Claim(Record):
    """The right to work on one incident: a lease with a fencing token."""

    incident: str
    holder: str
    fence: int


class Permit(Record):
    """Leave to run one plan once: the write-ahead intent, its idempotency key and the target's fencing token."""

    intent: str
    key: str
    fence: int
    claim: Claim
    plan: Plan


class Outcome(Record):
    """How one action ended; the context is what learning needs."""

    id: str = Field(default_factory=lambda: new_id("outcome"))
    incident: str
    intent: str
    action: Name
    cause: Name
    service: Name
    instance: Name
    verdict: Verdict
    undone: bool = False
    reason: str = ""
    confidence: Probability
    attempt: int
    detected_at: AwareDatetime
    admitted_at: AwareDatetime
    finished_at: AwareDatetime

    @property
    def seconds(self) -> float:
        """From detection to the verdict."""
        return (self.finished_at - self.detected_at).total_seconds()


class Step(Record):
    """One entry of an incident's timeline, a CloudEvents 1.0 envelope over the audit entry."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str = "/aiops/remediation"
    type: str
    subject: str
    time: AwareDatetime
    data: Mapping[str, Any]


class Incident(Record):
    """Everything known about one incident."""

    id: str
    state: State
    reason: str = ""
    detection: Detection
    diagnosis: Diagnosis | None = None
    decision: Decision | None = None
    outcome: Outcome | None = None
    approval: Approval | None = None
    duplicates: int = 0
    actions: int = 0
    opened_at: AwareDatetime
    closed_at: AwareDatetime | None = None
    steps: tuple[Step, ...] = ()
