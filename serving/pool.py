"""Predictions run in a few threads, so that health, metrics and the other routes answer while one computes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Busy(Exception):
    """Every thread computes and the queue is full."""


class Pool:
    """`threads` calls run at once, `queue` more wait; one beyond that is refused at once instead of waiting unseen."""

    def __init__(self, threads: int, queue: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self._places = threading.BoundedSemaphore(threads + queue)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `call`, made in a thread. Raises Busy without waiting when there is no place."""
        if not self._places.acquire(blocking=False):
            raise Busy
        try:
            future = self._threads.submit(copy_context().run, lambda: call(*args, **kwargs))
        except RuntimeError:  # closed: the process is stopping
            self._places.release()
            raise Busy from None
        # Freed when the thread is done, not when the caller is gone: an abandoned call still computes.
        future.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Take no more calls and drop those that wait."""
        self._threads.shutdown(wait=False, cancel_futures=True)
