"""What to do about a capacity: a rule over a forecast's upper bound and a limit, nothing learnt."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

POLICY = (
    "policy: a limit counts as reached on the first day whose upper bound reaches it; scale up now if that day is "
    "within `lead_time`, else plan to do so `lead_time` before it; scale down if the capacity that is needed stays "
    "below `scale_down_below` of the limit; needed is the highest upper bound and `headroom` on top"
)
DAY = timedelta(days=1)


class ScalingAction(BaseModel):
    """What the policy says to do."""

    model_config = ConfigDict(frozen=True)
    action: Literal["scale_up_now", "plan_scale_up", "keep", "scale_down", "set_limit"]
    by: date | None = Field(description="when it must be done, where it must")
    capacity: float = Field(description="capacity that is needed for the days ahead, in the unit of the series")
    because: str


def action(
    needed: float, limit: float | None, reached: int | None, today: date, lead_time: timedelta, scale_down_below: float
) -> ScalingAction:
    """See `POLICY`. `needed`: capacity, with headroom; `reached`: days until the upper bound is at `limit`, or None."""
    if limit is None:
        because = "no limit is known; this much is needed"
        return ScalingAction(action="set_limit", by=None, capacity=needed, because=because)
    if reached is not None:
        because, lead = f"the limit of {limit:g} may be reached in {reached} days", lead_time // DAY
        if reached <= lead:
            return ScalingAction(action="scale_up_now", by=today, capacity=needed, because=because)
        by = today + (reached - lead) * DAY
        return ScalingAction(action="plan_scale_up", by=by, capacity=needed, because=because)
    share = needed / limit
    because = f"with headroom, {share:.0%} of the limit is needed at most"
    low = share < scale_down_below
    return ScalingAction(action="scale_down" if low else "keep", by=None, capacity=needed, because=because)
