"""Time as the kernel sees it: the wall clock for people, the boot clock for limits that a set clock must not loosen."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol


class Instant(NamedTuple):
    """One moment: `wall` Unix seconds, and `mono` seconds since the boot named `boot` (empty: not comparable)."""

    wall: float
    boot: str
    mono: float

    @property
    def utc(self) -> datetime:
        """The wall clock as an aware datetime."""
        return datetime.fromtimestamp(self.wall, UTC)


class Clock(Protocol):
    """Where the kernel takes its time from; tests give one that jumps."""

    def now(self) -> Instant: ...


class SystemClock:
    """This machine's clocks; CLOCK_BOOTTIME is common to all its processes and never set back."""

    def now(self) -> Instant:
        return Instant(time.time(), boot_id(), time.clock_gettime(time.CLOCK_BOOTTIME))


@lru_cache
def boot_id() -> str:
    """The id of this boot of the machine, or an empty text where the system has none."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""
