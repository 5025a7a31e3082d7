"""A sample of the crash suite: `python -m tests.performance.crash_suite` plays the 10,000 histories."""

from __future__ import annotations

from pathlib import Path

import pytest

from remediation.kernel import breaker, limits
from tests.crash_lab import History

SAMPLE = 30


def problems(folder: Path, seeds: range) -> list[str]:
    return [f"seed {seed}: {one}" for seed in seeds for one in History(folder / str(seed), seed).run()]


@pytest.mark.parametrize("first", range(0, SAMPLE, 10))
def test_no_history_breaks_a_limit(tmp_path: Path, first: int) -> None:
    assert problems(tmp_path, range(first, first + 10)) == []


@pytest.mark.parametrize(
    ("module", "limit", "found"),
    [
        (limits, "rate", "actions begun"),
        (breaker, "check", "was admitted although"),
        (limits, "blast_radius", "outside"),
    ],
)
def test_the_oracle_sees_a_limit_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: object, limit: str, found: str
) -> None:
    monkeypatch.setattr(module, limit, lambda *args, **kwargs: None)
    seed, seen = 0, ""
    while found not in seen and seed < 10:
        seen = " ".join(problems(tmp_path, range(seed, seed + 1)))
        seed += 1
    assert found in seen
