"""The table of parts and the environment they share."""

import pytest

from infra import parts
from infra.settings import Ports, Settings, settings


@pytest.fixture
def configured(monkeypatch, tmp_path):
    monkeypatch.setenv("AIOPS__HOME", str(tmp_path))
    monkeypatch.setenv("AIOPS__STACK__PORTS__API", "18199")
    settings.cache_clear()
    yield settings()
    settings.cache_clear()


def test_every_port_of_the_settings_belongs_to_a_part(configured):
    assert {part.name: part.port for part in parts.parts() if part.port} == configured.stack.ports.model_dump()
    assert set(Ports.model_fields) <= {part.name for part in parts.parts()}


def test_the_environment_carries_the_settings_to_the_parts(configured, monkeypatch):
    for name, value in parts.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == configured


def test_the_environment_names_addresses_and_forbids_telemetry(configured, tmp_path):
    environment = parts.environment()
    assert environment["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert environment["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5000"
    assert environment["PREFECT_HOME"] == str(tmp_path / "prefect")
    assert environment["DO_NOT_TRACK"] == "true"  # MLflow takes only this spelling
    assert all(isinstance(value, str) for value in environment.values())
