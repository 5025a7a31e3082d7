"""How grave a message reads: a rule over words that name a severity, nothing learnt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

BASIS = "policy: words of the first message that name a severity; set by operators, not learned from data"
Severity = Literal["critical", "high", "medium", "low"]


class SeverityRule(BaseModel):
    """The first message has this severity when it holds one of `phrases` (whole words, any case)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    severity: Severity
    phrases: tuple[str, ...]


POLICY = (
    SeverityRule(
        severity="critical",
        phrases=("complete outage", "total outage", "global outage", "data loss", "all regions", "all services"),
    ),
    SeverityRule(
        severity="high",
        phrases=(
            "outage",
            "unavailable",
            "unreachable",
            "degraded availability",
            "unable to access",
            "multiple regions",
        ),
    ),
    SeverityRule(
        severity="medium",
        phrases=("error rate", "error rates", "errors", "failing", "failures", "degraded performance", "timeouts"),
    ),
    SeverityRule(severity="low", phrases=("latency", "latencies", "delayed", "delays", "slow", "intermittent")),
)


def graded(policy: Sequence[SeverityRule], *texts: str | None) -> tuple[Severity | None, str | None]:
    """The severity of the first rule that fits, and the phrase that was found; None: the texts name none."""
    text = "\n".join(part for part in texts if isinstance(part, str))
    for rule in policy:
        words = "|".join(map(re.escape, sorted(rule.phrases, key=len, reverse=True)))
        if found := re.search(rf"\b(?:{words})\b", text, re.IGNORECASE):
            return rule.severity, found[0]
    return None, None
