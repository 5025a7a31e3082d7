"""Notifications: queued in the kernel's outbox with the change they tell of, sent after its commit, at least once.

A channel is one file in `channels/`. Each is served by a thread of its own, so that a slow or dead one keeps neither a
repair nor another channel waiting. What a process leaves unsent, the next one sends.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar
from urllib.parse import urlsplit

from infra import plugins
from infra.errors import AiopsError
from infra.settings import Settings
from remediation.kernel import Kernel, outbox
from remediation.notice import Notice

CHANNELS = "remediation.channels"
logger = logging.getLogger("aiops.remediation")


class Undelivered(AiopsError):
    """A channel did not take a message; says why, without the channel's secret."""


class Channel(ABC):
    """A way to reach people. `key`: the key of `notifications` that switches it on; empty: it is always on."""

    key: ClassVar[str] = ""

    @property
    def name(self) -> str:
        """The file's name."""
        return type(self).__module__.rsplit(".", 1)[-1]

    @classmethod
    @abstractmethod
    def configured(cls, settings: Settings) -> Channel | None:
        """The channel as the settings describe it, or None when they do not. Raises SettingsError for a wrong value."""

    @abstractmethod
    def send(self, notice: Notice) -> None:
        """Deliver within half a minute, or raise; the text of the error names no secret."""


def channels(settings: Settings) -> list[Channel]:
    """Every channel that the settings configure. Raises SettingsError for a wrong value."""
    return [channel for kind in _kinds().values() if (channel := kind.configured(settings)) is not None]


def silent(settings: Settings) -> dict[str, str]:
    """The channels that are off, each with the key that would switch it on."""
    return {name: kind.key for name, kind in _kinds().items() if kind.configured(settings) is None}


def _kinds() -> dict[str, type[Channel]]:
    return plugins.load_all(CHANNELS, Channel)  # type: ignore[type-abstract]


def is_private(url: str) -> bool:
    """Whether what is sent there, a secret included, is encrypted or stays on this machine."""
    address = urlsplit(url)
    return bool(address.hostname) and (address.scheme == "https" or address.hostname in ("127.0.0.1", "localhost"))


def deliver(kernel: Kernel, way: Channel) -> int:
    """Send what waits for one channel; returns how many messages went out. A failure is tried again later."""
    count = 0
    while (notice := _claim(kernel, way.name)) is not None:
        try:
            way.send(notice)
        except Exception as error:  # whatever a channel raises, the next message has its turn
            _fail(kernel, way.name, notice, f"{type(error).__name__}: {error}")
            continue
        with kernel.core.store.transaction("sent_notice") as conn:
            outbox.sent(conn, way.name, notice, kernel.core.clock.now())
        count += 1
    return count


def _claim(kernel: Kernel, channel: str) -> Notice | None:
    now = kernel.core.clock.now()
    with kernel.core.store.read() as conn:
        if conn.execute(outbox.due(channel, now)).first() is None:
            return None  # the usual case, without a write
    with kernel.core.store.transaction("claim_notice") as conn:
        return outbox.claim(conn, channel, now)


def _fail(kernel: Kernel, channel: str, notice: Notice, error: str) -> None:
    with kernel.core.store.transaction("failed_notice") as conn:
        given_up = outbox.failed(conn, channel, notice, error, kernel.core.clock.now())
    what = "is given up after a day" if given_up else "is tried again"
    logger.warning("%s did not take %s, which %s: %s", channel, notice.id, what, error)


class Courier:
    """Sends in the background, one thread a channel, from the first `wake` on."""

    def __init__(self, kernel: Kernel, ways: Sequence[Channel]) -> None:
        self._kernel = kernel
        self._closing = False
        self._lock = threading.Lock()
        self._news = {way.name: threading.Event() for way in ways}
        self._threads = [
            threading.Thread(target=self._serve, args=(way,), name=f"notify {way.name}", daemon=True) for way in ways
        ]

    def wake(self) -> None:
        """Something may be due; returns at once. Call it after changes, and now and then for what was put off."""
        with self._lock:
            for thread in self._threads:
                if thread.ident is None:
                    thread.start()
        for news in self._news.values():
            news.set()

    def close(self, seconds: float = 5.0) -> None:
        """Send what is due, but wait no longer than this for it; the rest is the next process's."""
        self._closing = True
        deadline = time.monotonic() + seconds
        started = [thread for thread in self._threads if thread.ident is not None]
        for news in self._news.values():
            news.set()
        for thread in started:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _serve(self, way: Channel) -> None:
        news, done = self._news[way.name], False
        while not done:
            news.wait()
            news.clear()
            done = self._closing
            self._quietly(lambda: deliver(self._kernel, way))

    def _quietly(self, job: Callable[[], object]) -> None:
        try:
            job()
        except Exception:  # a busy store, say: the next wake tries again
            logger.exception("notifications could not be looked through")
