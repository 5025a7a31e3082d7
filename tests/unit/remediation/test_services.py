"""Services of the settings: a wrong description stops the start, what cannot act on a target is not chosen."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from infra.errors import NotFound, SettingsError
from infra.settings import Settings
from remediation.actions.process_restart import ProcessRestart
from remediation.decide import decide
from remediation.health import symptom
from remediation.inventory import Joined
from remediation.records import Diagnosis, Finding, Observation
from remediation.services import ServiceInventory
from remediation.systems.postgresql import Postgresql
from remediation.testing import World, limits

SECRET = "do-not-show"


def described(home: Path, kind: str = "postgresql", **keys: Any) -> Settings:
    service = {"kind": kind, "depends_on": ["web"], "instances": {"orders-0": keys}}
    return Settings(home=home, remediation={"services": {"orders": service}})  # type: ignore[arg-type]


def dsn(port: int) -> str:
    return f"postgresql://aiops:{SECRET}@127.0.0.1:{port}/orders"


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        return int(door.getsockname()[1])


def test_what_is_listed_is_a_target(tmp_path: Path, closed_port: int) -> None:
    inventory = ServiceInventory(described(tmp_path, dsn=dsn(closed_port)))
    target = inventory.targets()["orders-0"]
    assert (target.cluster, target.namespace, target.service) == ("local", "workload", "orders")
    assert inventory.dependencies() == {"orders": ("web",)}
    joined = Joined(World(tmp_path / "world", {"web": 1}), inventory)
    assert set(joined.targets()) == set(joined.observe()) == {"orders-0", "web-0"}


def test_refused_is_down_and_silent_is_hung(tmp_path: Path, closed_port: int) -> None:
    inventory = ServiceInventory(described(tmp_path, dsn=dsn(closed_port)))
    assert not inventory.observe()["orders-0"].alive
    with socket.create_server(("127.0.0.1", closed_port)):  # takes the connection and says nothing
        look = inventory.observe()["orders-0"]
    assert look.alive and not look.responding


@pytest.mark.parametrize(
    ("kind", "keys", "said"),
    [
        ("postgresq", {"dsn": dsn(1)}, "orders.kind: .*did you mean 'postgresql'"),
        (
            "postgresql",
            {"dsn": dsn(1), "long_qurey": "1s"},
            "orders-0: unknown key 'long_qurey' .did you mean 'long_query'",
        ),
        ("postgresql", {"dsn": SECRET}, "orders-0.dsn: is no address"),
        ("postgresql", {}, "orders-0.dsn: Field required"),
    ],
)
def test_a_wrong_description_is_named_without_its_secrets(
    tmp_path: Path, kind: str, keys: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError, match=said) as error:
        ServiceInventory(described(tmp_path, kind, **keys))
    assert SECRET not in str(error.value)


def test_secrets_are_not_shown_with_the_settings(tmp_path: Path) -> None:
    settings = described(tmp_path, dsn=dsn(1))
    assert SECRET not in repr(settings) and SECRET not in str(settings)
    assert SECRET not in repr(ServiceInventory(settings).system("orders-0", Postgresql).told)


def test_a_system_of_another_kind_is_not_found(tmp_path: Path) -> None:
    inventory = ServiceInventory(described(tmp_path, dsn=dsn(1)))
    with pytest.raises(NotFound, match="no Postgresql named 'web-0'.*orders-0"):
        inventory.system("web-0", Postgresql)


def test_what_cannot_act_on_a_target_is_not_chosen(tmp_path: Path) -> None:
    settings = described(tmp_path, dsn=dsn(1))
    target = ServiceInventory(settings).targets()["orders-0"]
    look = ServiceInventory(settings).observe()["orders-0"]
    diagnosis = Diagnosis(
        cause="process_down", confidence=0.9, service="orders", instance="orders-0", evidence=(),
        evidence_at=look.observed_at,
    )  # fmt: skip
    rules = limits().rules[0].model_copy(update={"actions": ("process_restart",)})
    decision = decide(
        diagnosis,
        target,
        {"process_restart": ProcessRestart(settings)},
        limits(actions={"process_restart": True}, rules=(rules,)),
        {},
    )
    assert decision.plan is None
    assert [one.why for one in decision.rejected] == ["orders-0 is no process of the local workload"]


def test_what_a_system_finds_is_its_symptom(tmp_path: Path) -> None:
    finding = Finding(cause="long_query", confidence=0.9, fact="3 over 60 s")
    at = ServiceInventory(described(tmp_path, dsn=dsn(1))).observe()["orders-0"].observed_at
    look = Observation(
        service="orders", instance="orders-0", observed_at=at, alive=True, responding=True, ready=True, finding=finding
    )
    assert symptom(look, limits().health) == ("long_query", 0.9, "3 over 60 s")
