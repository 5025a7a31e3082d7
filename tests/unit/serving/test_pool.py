"""A bounded pool: refuses at once what it has no place for."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

import pytest

from serving.pool import Busy, Pool

NAME: ContextVar[str] = ContextVar("name")


def test_results_errors_and_context_pass_through() -> None:
    pool = Pool(1, 1)

    async def ask() -> None:
        NAME.set("here")
        assert await pool.run(NAME.get) == "here"
        assert await pool.run(lambda a, b: a - b, 3, b=1) == 2
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 // 0)

    asyncio.run(ask())


def test_one_beyond_threads_and_queue_is_refused_until_one_is_done() -> None:
    pool, hold = Pool(2, 1), threading.Event()

    async def ask() -> None:
        taken = [asyncio.create_task(pool.run(hold.wait, 20)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await pool.run(int)
        hold.set()
        assert await asyncio.gather(*taken) == [True] * 3
        assert await pool.run(int) == 0

    asyncio.run(ask())


def test_an_abandoned_call_keeps_its_place_while_it_computes_and_gives_it_back_when_it_waits() -> None:
    pool, hold = Pool(1, 1), threading.Event()

    async def ask() -> None:
        running, waiting = (asyncio.create_task(pool.run(hold.wait, 20)) for _ in range(2))
        await asyncio.sleep(0)
        running.cancel()
        waiting.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        taken = asyncio.create_task(pool.run(int))  # the place of the one that waited
        await asyncio.sleep(0)
        with pytest.raises(Busy):  # the other one still computes
            await pool.run(int)
        hold.set()
        assert await taken == 0

    asyncio.run(ask())


def test_a_closed_pool_is_busy() -> None:
    pool = Pool(1, 1)
    pool.close()
    with pytest.raises(Busy):
        asyncio.run(pool.run(int))
