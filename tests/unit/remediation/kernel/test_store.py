"""The store's schema: made once, brought up to date, refused when it is of another program."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select, text

from infra.errors import UserError
from remediation.kernel.store import SCHEMA, Store, outbox, schema_version, switches


def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'kernel.db'}"


def test_an_older_store_keeps_its_state_and_gets_the_new_outbox(tmp_path: Path) -> None:
    store = Store(url(tmp_path))
    with store.transaction("age") as conn:
        conn.execute(switches.insert().values(name="remediation", enabled=False, by="alice", at=1.0))
        conn.execute(text("DROP TABLE outbox"))
        conn.execute(text("CREATE TABLE outbox (id TEXT PRIMARY KEY, dedup TEXT, body TEXT)"))
        conn.execute(schema_version.update().values(version=1))
    store.close()
    for _ in range(2):
        store = Store(url(tmp_path))
        with store.read() as conn:
            assert conn.execute(select(switches.c.by)).scalar() == "alice"
            assert conn.execute(select(outbox)).all() == []
            assert conn.execute(select(schema_version.c.version)).scalars().all() == [SCHEMA]
        store.close()


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    store = Store(url(tmp_path))
    with store.transaction("age") as conn:
        conn.execute(schema_version.update().values(version=SCHEMA + 1))
    store.close()
    with pytest.raises(UserError, match=f"has kernel schema {SCHEMA + 1}, this program needs {SCHEMA}"):
        Store(url(tmp_path))
