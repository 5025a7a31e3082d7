"""The scaling policy on figures that can be checked by hand."""

from datetime import date, timedelta

import pytest

from training.scaling import action

TODAY, LEAD = date(2026, 1, 1), timedelta(days=30)


@pytest.mark.parametrize(
    ("limit", "reached", "does", "by"),
    [
        (None, None, "set_limit", None),
        (100.0, 30, "scale_up_now", TODAY),
        (100.0, 31, "plan_scale_up", TODAY + timedelta(days=1)),
        (100.0, None, "keep", None),
        (200.0, None, "keep", None),  # half of it is needed: not below half
        (201.0, None, "scale_down", None),
    ],
)
def test_each_case_of_the_policy(limit: float | None, reached: int | None, does: str, by: date | None) -> None:
    found = action(100.0, limit, reached, TODAY, LEAD, 0.5)
    assert (found.action, found.by, found.capacity) == (does, by, 100.0)
