"""The tuned server: what is told of its address."""

from __future__ import annotations

import pytest

from infra.errors import DataError
from remediation.tuning import postgresql


@pytest.mark.parametrize(
    "dsn", ["host=127.0.0.1 port=1 password=hush", "postgresq:/x:hush", "postgresql://u:hush@[/db"]
)
def test_a_password_is_never_told(dsn: str) -> None:
    with pytest.raises(DataError) as told:
        postgresql.Postgresql(dsn)
    assert "hush" not in str(told.value)
    assert "hush" not in postgresql._masked("bad hush", "host=a password=hush")
