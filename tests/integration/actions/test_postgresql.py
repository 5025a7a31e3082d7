"""What a look at a real PostgreSQL finds, and that it ends when the trouble does."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest

from remediation.services import ServiceInventory

from .conftest import Describe

pytestmark = pytest.mark.integration


def test_a_slow_statement_is_found_and_forgotten_when_its_calls_are_old(
    database: psycopg.Connection[Any], settings: Describe
) -> None:
    inventory = ServiceInventory(settings(slow_statement="50ms", window="2s"))
    assert inventory.observe()["orders-0"].finding is None
    database.execute("SELECT pg_sleep(0.1)")
    look = inventory.observe()["orders-0"]
    assert look.finding is not None and look.finding.cause == "slow_query"
    assert "took 0.1" in look.finding.fact
    deadline = time.monotonic() + 10
    while look.finding is not None and time.monotonic() < deadline:
        time.sleep(0.25)
        look = inventory.observe()["orders-0"]
    assert look.finding is None and look.ready


def test_a_wrong_password_is_neither_down_nor_hung(dsn: str, settings: Describe) -> None:
    look = ServiceInventory(settings(dsn=dsn.replace("user=aiops", "user=nobody_here"))).observe()["orders-0"]
    assert look.alive and look.responding and not look.ready
