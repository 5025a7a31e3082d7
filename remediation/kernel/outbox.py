"""The outbox: messages queued in the transaction of the change that they tell of, one for each channel.

Every function runs inside the caller's transaction. A message is tried until it is sent or a day old, at least once;
those about one incident leave a channel in the order of what happened. A process with fewer channels than the watcher
(a shell without the secrets, say) queues for the watcher's.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, Select, delete, exists, or_, select, update

from remediation.clock import Instant
from remediation.kernel.store import outbox, subscriptions
from remediation.notice import Notice

CLAIM = 60.0  # seconds that a sender has before another may try
LONGEST_WAIT = 300.0  # seconds between two attempts, which double from two seconds on
GIVE_UP = 86_400.0  # seconds after which a message is no news


def subscribe(conn: Connection, channels: Collection[str]) -> None:
    """From now on every process queues for these channels, whatever its own settings say."""
    conn.execute(delete(subscriptions))
    for channel in channels:
        conn.execute(subscriptions.insert().values(channel=channel))


def queue(conn: Connection, notice: Notice, channels: Collection[str], now: Instant) -> None:
    """Queue for each of `channels` and of the subscribed ones that was not told of this event of this incident yet."""
    same = (outbox.c.incident == notice.incident) & (outbox.c.event == notice.event)
    done = set(conn.execute(select(outbox.c.channel).where(same)).scalars())
    values = {"notice": notice.id, "incident": notice.incident, "event": notice.event, "body": notice.model_dump_json()}
    for channel in sorted({*channels, *conn.execute(select(subscriptions.c.channel)).scalars()} - done):
        conn.execute(outbox.insert().values(**values, channel=channel, created_at=now.wall, due_at=now.wall))


def told(conn: Connection, incident: str) -> bool:
    """Whether people have heard of this incident."""
    return conn.execute(select(outbox.c.seq).where(outbox.c.incident == incident).limit(1)).first() is not None


def due(channel: str, now: Instant) -> Select:
    """The next message for a channel. One due too far ahead was put off before the clock was set back."""
    earlier = outbox.alias()
    same = (earlier.c.incident == outbox.c.incident) & (earlier.c.channel == outbox.c.channel)
    blocked = exists().where(same, earlier.c.seq < outbox.c.seq, earlier.c.due_at.is_not(None))
    time = or_(outbox.c.due_at <= now.wall, outbox.c.due_at > now.wall + LONGEST_WAIT)
    return select(outbox).where(outbox.c.channel == channel, time, ~blocked).order_by(outbox.c.seq).limit(1)


def claim(conn: Connection, channel: str, now: Instant) -> Notice | None:
    """Take the next message for a channel; nobody else gets it until the claim ends."""
    row = conn.execute(due(channel, now)).first()
    if row is None:
        return None
    conn.execute(
        update(outbox).where(outbox.c.seq == row.seq).values(due_at=now.wall + CLAIM, attempts=row.attempts + 1)
    )
    return Notice.model_validate_json(row.body)


def sent(conn: Connection, channel: str, notice: Notice, now: Instant) -> None:
    """The channel has it."""
    conn.execute(update(outbox).where(_one(channel, notice)).values(due_at=None, sent_at=now.wall, error=None))


def failed(conn: Connection, channel: str, notice: Notice, error: str, now: Instant) -> bool:
    """Put it off; returns whether it is given up instead."""
    row = conn.execute(select(outbox).where(_one(channel, notice))).one()
    late = now.wall - row.created_at > GIVE_UP
    wait = min(2.0**row.attempts, LONGEST_WAIT)
    values = {"due_at": None if late else now.wall + wait, "error": error}
    conn.execute(update(outbox).where(_one(channel, notice)).values(**values))
    return late


def _one(channel: str, notice: Notice) -> ColumnElement[bool]:
    return (outbox.c.notice == notice.id) & (outbox.c.channel == channel)
