"""Severity is read from words, by the first rule that fits."""

import pytest

from training.severity import POLICY, SeverityRule, graded


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (("Complete OUTAGE of the database", "latency"), ("critical", "Complete OUTAGE")),
        (("slow", "an outage"), ("high", "outage")),  # the graver rule, whichever text holds it
        ((None, "error rates of 3 %"), ("medium", "error rates")),  # the longer phrase is named
        (("slowly", float("nan")), (None, None)),  # whole words only; null says nothing
        ((), (None, None)),
    ],
)
def test_the_gravest_word_counts(texts: tuple[str | None, ...], told: tuple[str | None, str | None]) -> None:
    assert graded(POLICY, *texts) == told


def test_the_order_is_the_operators() -> None:
    first = SeverityRule(severity="low", phrases=("outage (planned)",))
    assert graded((first, *POLICY), "an outage")[0] == "high"
    assert graded((SeverityRule(severity="low", phrases=("outage",)), *POLICY), "an outage")[0] == "low"
