"""Customers of a subscription service: one snapshot per customer, and whether the customer left afterwards.

Snapshots arrive as CloudEvents of type `SNAPSHOT` whose `data` holds any of the measured columns of `Customer`;
outcomes as type `OUTCOME` whose `data` holds `Outcome`. Operators measure different things: what an operator does not
measure is null. The ratios are computed here and nowhere else, for the lake, the stream and the request alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pandas as pd
from pydantic import ConfigDict, model_validator
from pydantic.config import JsonDict

from features.transforms import _events
from features.view import Columns, Frames, View, column
from infra.errors import DataError

SNAPSHOT = "io.iacdharma.customer.snapshot"
OUTCOME = "io.iacdharma.customer.outcome"
_WINDOW = "in the operator's observation window"
_NEEDED = ["snapshot_time", "churned"]
_EXAMPLE: JsonDict = {
    "time": "2000-01-01T00:00:00Z",
    "customer_id": "42",
    "operator": "mlc_churn",
    "tenure_days": 120,
    "international_plan": True,
    "voicemail_plan": False,
    "voice_seconds": 40380,
    "voice_calls": 316,
    "day_seconds": 16080,
    "day_calls": 104,
    "evening_seconds": 12300,
    "evening_calls": 98,
    "night_seconds": 11160,
    "night_calls": 112,
    "international_seconds": 840,
    "international_calls": 2,
    "voicemail_messages": 0,
    "support_calls": 4,
    "charge_usd": 75.15,
}

# ratio → (numerator, denominator); null where either is null or the denominator is zero
RATIOS: dict[str, tuple[str, str]] = {
    "seconds_per_call": ("voice_seconds", "voice_calls"),
    "calls_per_contact": ("voice_calls", "distinct_contacts"),
    "seconds_per_contact": ("voice_seconds", "distinct_contacts"),
    "sms_per_contact": ("sms_messages", "distinct_contacts"),
    "sms_per_call": ("sms_messages", "voice_calls"),
    "failures_per_call": ("failed_calls", "voice_calls"),
    "calls_per_tenure_day": ("voice_calls", "tenure_days"),
    "charge_per_call": ("charge_usd", "voice_calls"),
    "international_seconds_per_call": ("international_seconds", "international_calls"),
}


class Customer(Columns):
    """What is known of one customer when the snapshot is taken; null: this operator does not measure it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})
    customer_id: str = column("the customer", min_length=1)
    operator: str = column("the operator; names the population that the customer belongs to", min_length=1)
    tenure_days: float | None = column("age of the subscription", "d", ge=0, default=None)
    age_years: float | None = column("age of the customer", "a", ge=0, le=120, default=None)
    account_active: bool | None = column("whether the account is in active use", default=None)
    contract: bool | None = column("billed by contract rather than pay-as-you-go", default=None)
    international_plan: bool | None = column("subscribed to an international plan", default=None)
    voicemail_plan: bool | None = column("subscribed to voicemail", default=None)
    voice_seconds: float | None = column(f"call time, all calls, {_WINDOW}", "s", ge=0, default=None)
    voice_calls: float | None = column(f"calls, all, {_WINDOW}", "{call}", ge=0, default=None)
    day_seconds: float | None = column(f"daytime call time {_WINDOW}", "s", ge=0, default=None)
    day_calls: float | None = column(f"daytime calls {_WINDOW}", "{call}", ge=0, default=None)
    evening_seconds: float | None = column(f"evening call time {_WINDOW}", "s", ge=0, default=None)
    evening_calls: float | None = column(f"evening calls {_WINDOW}", "{call}", ge=0, default=None)
    night_seconds: float | None = column(f"night call time {_WINDOW}", "s", ge=0, default=None)
    night_calls: float | None = column(f"night calls {_WINDOW}", "{call}", ge=0, default=None)
    international_seconds: float | None = column(f"international call time {_WINDOW}", "s", ge=0, default=None)
    international_calls: float | None = column(f"international calls {_WINDOW}", "{call}", ge=0, default=None)
    sms_messages: float | None = column(f"text messages sent {_WINDOW}", "{message}", ge=0, default=None)
    voicemail_messages: float | None = column(f"voicemail messages {_WINDOW}", "{message}", ge=0, default=None)
    distinct_contacts: float | None = column(f"different numbers called {_WINDOW}", "{contact}", ge=0, default=None)
    failed_calls: float | None = column(f"calls that failed {_WINDOW}", "{call}", ge=0, default=None)
    support_calls: float | None = column(f"calls to customer service {_WINDOW}", "{call}", ge=0, default=None)
    complaints: float | None = column(f"complaints, or 1 for any, {_WINDOW}", "{complaint}", ge=0, default=None)
    charge_usd: float | None = column(f"amount charged {_WINDOW}", "[USD]", ge=0, default=None)
    charge_level: float | None = column("charge as the operator's grade, 0 lowest", ge=0, default=None)
    seconds_per_call: float | None = column("mean length of a call", "s/{call}", ge=0, default=None)
    calls_per_contact: float | None = column("calls per number called", "{call}/{contact}", ge=0, default=None)
    seconds_per_contact: float | None = column("call time per number called", "s/{contact}", ge=0, default=None)
    sms_per_contact: float | None = column("text messages per number called", "{message}/{contact}", ge=0, default=None)
    sms_per_call: float | None = column("text messages per call", "{message}/{call}", ge=0, default=None)
    failures_per_call: float | None = column("failed calls per call", "1", ge=0, default=None)
    calls_per_tenure_day: float | None = column("calls per day of subscription", "{call}/d", ge=0, default=None)
    charge_per_call: float | None = column("charge per call", "[USD]/{call}", ge=0, default=None)
    international_seconds_per_call: float | None = column(
        "mean length of an international call", "s/{call}", ge=0, default=None
    )

    @model_validator(mode="before")
    @classmethod
    def _ratios(cls, values: Any) -> Any:
        """Fill in the ratios that are left out, so that a request needs only what was measured."""
        if not isinstance(values, Mapping):
            return values
        computed = {name: _ratio(values.get(top), values.get(bottom)) for name, (top, bottom) in RATIOS.items()}
        return {**values, **{name: value for name, value in computed.items() if values.get(name) is None}}


class Outcome(Columns):
    """Whether the customer left after the snapshot taken at `time`."""

    customer_id: str = column("the customer", min_length=1)
    churned: bool = column("left between this snapshot and the operator's later check")
    lineage: str | None = column(
        "records known to be variants of one original carry one name: kept together in splits, never an input",
        default=None,
    )


MEASURED = tuple(name for name in Customer.kinds() if name not in {"customer_id", "operator", *RATIOS})


def snapshots(frames: Frames) -> pd.DataFrame:
    """Snapshot events → one row per (customer, time) with the columns of `Customer` and `dataset`.

    Of several snapshots of one customer at one time the last by event id counts. Fields of the event that `Customer`
    does not know are ignored. Raises DataError naming the event whose data is no JSON object.
    """
    events = _newest(frames["events"])
    data = pd.DataFrame([_events.content(event) for event in events.itertuples()], index=events.index)
    rows = pd.DataFrame({"dataset": events["dataset"], "time": events["time"], "customer_id": events["subject"]})
    rows["operator"] = data.get("operator")
    for name in MEASURED:
        rows[name] = _typed(data, name)
    for name, (top, bottom) in RATIOS.items():
        rows[name] = rows[top] / rows[bottom].where(rows[bottom] > 0)
    return rows.reset_index(drop=True)


def outcomes(frames: Frames) -> pd.DataFrame:
    """Outcome events → one row per (customer, snapshot time): `time` is when the question was asked, not answered."""
    events = _newest(frames["events"])
    data = pd.DataFrame([_events.content(event) for event in events.itertuples()], events.index, [*_NEEDED, "lineage"])
    if len(bad := events["id"][data[_NEEDED].isna().any(axis=1)]):
        raise DataError(f"event {bad.iloc[0]!r}: data must hold {' and '.join(_NEEDED)}")
    rows = pd.DataFrame({"dataset": events["dataset"], "customer_id": events["subject"]})
    rows["time"] = pd.to_datetime(data["snapshot_time"], utc=True).astype(events["time"].dtype)
    rows["churned"] = data["churned"].astype(bool)
    rows["lineage"] = data["lineage"].astype(object).where(data["lineage"].notna(), None)
    return rows.reset_index(drop=True)


def _newest(events: pd.DataFrame) -> pd.DataFrame:
    return events.sort_values(["subject", "time", "id"]).drop_duplicates(["subject", "time"], keep="last")


def _typed(data: pd.DataFrame, name: str) -> pd.Series:
    kind, _ = Customer.kinds()[name]
    values = data[name] if name in data else pd.Series(None, index=data.index, dtype=object)
    if kind is float:
        return pd.to_numeric(values).astype("float64")
    return values.astype(object).where(values.notna(), None)


def _ratio(top: Any, bottom: Any) -> float | None:
    """None also for values that are no numbers: their own fields report them."""
    numbers = all(isinstance(value, (int, float)) for value in (top, bottom))
    return top / bottom if numbers and bottom > 0 else None


CUSTOMERS = View(
    name="customers",
    entity="customer_id",
    columns=Customer,
    reads={"events": {"type": (SNAPSHOT,)}},
    keys={"events": "subject"},
    transform=snapshots,
    ttl=timedelta(days=35),  # a monthly snapshot, and some days of grace
    description="What an operator knows of a customer, with ratios.",
)

OUTCOMES = View(
    name="customer_outcomes",
    entity="customer_id",
    columns=Outcome,
    reads={"events": {"type": (OUTCOME,)}},
    keys={"events": "subject"},
    transform=outcomes,
    ttl=timedelta(days=35),
    online=False,
    description="Labels: which customers left.",
)
