"""Notifications: queued in the kernel's outbox with the change they tell of, sent after its commit, at least once.

A channel is one file in `channels/`. A sender that dies leaves its messages to the next one.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod

from sqlalchemy import select, update

from infra import plugins
from infra.settings import Settings
from remediation.kernel import Kernel
from remediation.kernel.store import outbox
from remediation.records import Record

CHANNELS = "remediation.channels"
_CLAIM = 60.0  # seconds that a sender has before another may try
_ATTEMPTS = 10


class Notice(Record):
    """One message; `id` lets a receiver drop a repetition."""

    id: str
    incident: str
    text: str


class Channel(ABC):
    """A way to reach people."""

    @classmethod
    @abstractmethod
    def configured(cls, settings: Settings) -> Channel | None:
        """The channel as the settings describe it, or None when they do not."""

    @abstractmethod
    def send(self, notice: Notice) -> None:
        """Deliver, or raise."""


def channels(settings: Settings) -> list[Channel]:
    """Every channel that the settings configure."""
    found = plugins.load_all(CHANNELS, Channel)  # type: ignore[type-abstract]
    return [channel for kind in found.values() if (channel := kind.configured(settings)) is not None]


def deliver(kernel: Kernel, ways: list[Channel]) -> int:
    """Send what waits in the outbox over every channel; returns how many went out. A failure is tried again."""
    sent = 0
    while (notice := _claim(kernel)) is not None:
        errors = []
        for way in ways:
            try:
                way.send(notice)
            except Exception as error:  # a broken channel must not stop the others, nor the repair
                errors.append(f"{type(way).__name__}: {type(error).__name__}: {error}")
        _settle(kernel, notice, "; ".join(errors))
        sent += not errors
    return sent


def _claim(kernel: Kernel) -> Notice | None:
    now = kernel.core.clock.now().wall
    due = outbox.c.sent_at.is_(None) & (outbox.c.claimed_until <= now) & (outbox.c.attempts < _ATTEMPTS)
    query = select(outbox).where(due).order_by(outbox.c.created_at).limit(1)
    with kernel.core.store.read() as conn:
        if conn.execute(query).first() is None:
            return None  # the usual case, without a write
    with kernel.core.store.transaction("claim_notice") as conn:
        row = conn.execute(query).first()
        if row is None:
            return None
        mine = update(outbox).where(outbox.c.id == row.id)
        conn.execute(mine.values(claimed_until=now + _CLAIM, attempts=row.attempts + 1))
        return Notice(id=row.id, **json.loads(row.body))


def _settle(kernel: Kernel, notice: Notice, error: str) -> None:
    values = {"error": error} if error else {"error": None, "sent_at": kernel.core.clock.now().wall}
    with kernel.core.store.transaction("settle_notice") as conn:
        conn.execute(update(outbox).where(outbox.c.id == notice.id).values(**values))
