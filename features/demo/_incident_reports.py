"""First messages that name a product, made up; the product is the cause of the category."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

_BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
_WHAT = ("elevated error rates", "increased latency", "failed requests", "delayed operations", "an outage", "timeouts")
_WHERE = ("europe-west1", "us-east1", "us-central1", "asia-east2", "one zone", "several regions")
_WHO = ("some customers", "a subset of users", "most users", "customers who create resources", "new sessions")
_SAYING = (
    "We are investigating {what} with {product} in {where}, seen by {who}.",
    "We've received a report of an issue with {product}: {what} for {who} in {where}.",
    "{product} is experiencing {what} in {where}; {who} may be affected.",
)


def opened(random: np.random.Generator, count: int) -> list[datetime]:
    """Times of `count` incidents, in order."""
    return [_BEGIN + timedelta(hours=float(hour)) for hour in np.cumsum(random.exponential(20, count))]


def message(random: np.random.Generator, product: str) -> str:
    """A first message about `product`."""
    parts = {name: random.choice(words) for name, words in (("what", _WHAT), ("where", _WHERE), ("who", _WHO))}
    return str(random.choice(_SAYING)).format(product=product, **parts)
