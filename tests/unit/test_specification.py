"""The specification's example of `aiops.yaml` loads as written, and every key of it has an effect that can be seen."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from features import sampling
from infra import plugins
from infra.errors import SettingsError
from infra.settings import Rule, Settings, settings
from remediation import notify
from remediation.action import catalogue, check_settings
from remediation.kernel import limits, open_kernel
from remediation.records import Plan, Target, Verdict
from remediation.remarks import remarks
from remediation.testing import Flip, World, fake_engine
from training import catalog

EXAMPLE = """
aiops:
  enabled: true
  ingestion:      { metrics_interval: 30s, log_level: info, trace_sampling: 0.1 }
  models:
    failure_predictor:   { enabled: true, prediction_window: 48h, retrain_interval: 7d }
    threat_detector:     { enabled: true, sensitivity: high, false_positive_threshold: 0.05 }
    capacity_forecaster: { enabled: true, forecast_periods: [30d, 60d, 90d], confidence_level: 0.95 }
  remediation:
    enabled: true
    approval_required: false
    rollback_enabled: true
    max_actions_per_minute: 10
    circuit_breaker_threshold: 0.8
    actions:                      # true: allowed · false: only with approval · absent: refused
      pod_restart: true
      pod_scale: true
      config_update: false
      certificate_renewal: true
      index_creation: true
      security_patch: false
  notifications:
    slack_webhook: ${SLACK_WEBHOOK_URL}
    pagerduty_key: ${PAGERDUTY_KEY}
    email_recipients: ops@company.com
"""
SECRETS = {
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/cccccccccccc",
    "PAGERDUTY_KEY": "0123456789abcdef0123456789abcdef",
}
Read = Callable[..., Settings]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Read]:
    """Read the example, with one key changed or (None) left out."""
    for name, value in {"AIOPS__HOME": str(tmp_path / "home"), "AIOPS_CONFIG": str(tmp_path / "it.yaml")}.items():
        monkeypatch.setenv(name, value)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)

    def load(path: tuple[str, ...] = (), value: Any = None) -> Settings:
        content = copy.deepcopy(yaml.safe_load(EXAMPLE))
        inner = content["aiops"]
        for key in path[:-1]:
            inner = inner[key]
        if path and value is None:
            del inner[path[-1]]
        elif path:
            inner[path[-1]] = value
        (tmp_path / "it.yaml").write_text(yaml.safe_dump(content))
        settings.cache_clear()
        return settings()

    yield load
    settings.cache_clear()


class Scene:
    """Where the effects show: fresh for each look."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.patch, self.count = home, monkeypatch, 0

    def enabled(self, config: Settings) -> bool:
        return open_kernel(config.model_copy(update={"home": self._fresh()})).enabled()

    def watched(self, config: Settings) -> tuple[Any, int]:
        """The interval and the level of the log of a watcher that is started with these settings."""
        from flows import watch

        seen: list[Any] = []
        nothing = lambda *_, **__: None  # noqa: E731
        for name in ("start_http_server", "Stream", "Sweep", "Dispatcher", "Watcher", "targets"):
            self.patch.setattr(watch, name, lambda *_, **__: Idle())
        self.patch.setattr(watch, "engine", lambda: fake_engine(self._fresh(), World(self._fresh(), {})))
        self.patch.setattr(watch.signal, "signal", nothing)
        self.patch.setattr(watch.pipeline, "register", nothing)
        self.patch.setattr(watch.catalog, "enabled", lambda: ())
        self.patch.setattr(watch.stream, "watch", lambda targets, interval, *_: seen.append(interval))
        self.patch.setattr(logging.root, "handlers", [logging.NullHandler()])  # as Prefect leaves one
        self.patch.setattr(logging.root, "level", logging.WARNING)
        watch.main()
        return seen[0], logging.root.level

    def sampled(self, config: Settings) -> int:
        ids = pa.table({"trace_id": [f"{number * 2**48:032x}" for number in range(256)], "status_code": ["OK"] * 256})
        return len(sampling.admitted("spans", ids))

    def repaired(self, config: Settings, verdict: Verdict = Verdict.SUCCEEDED, services: int = 1) -> Any:
        """An engine that met `services` faults, its world and its action."""
        home = self._fresh()
        world = World(home / "world", {f"web{number}": 1 for number in range(services)})
        rule = Rule(cause="process_down", actions=("flip",))
        changed = {"actions": {"flip": True}, "rules": (rule,)}
        engine = fake_engine(home, world, config.remediation.model_copy(update=changed))
        flip = engine.actions["flip"]
        assert isinstance(flip, Flip)
        flip.outcome = verdict
        for name in world.targets():
            world.write(name, healthy=False)
            engine.handle(world.detection(name))
        return engine, world, flip

    def asked(self, config: Settings) -> int:
        return len(self.repaired(config)[1].effects())

    def undone(self, config: Settings) -> int:
        return len(self.repaired(config, Verdict.FAILED)[2].undone)

    def rate(self, config: Settings) -> int:
        return len(self.repaired(config, services=12)[1].effects())

    def breaker(self, config: Settings) -> str:
        """After nine successes and one that is not: 90 %."""
        engine, world, flip = self.repaired(config, services=9)
        flip.outcome = Verdict.INCONCLUSIVE
        world.write("web0-0", healthy=False)
        engine.handle(world.detection("web0-0"))
        return str(engine.kernel.breaker_state()["state"])

    def channels(self, config: Settings) -> list[str]:
        return [way.name for way in notify.channels(config)]

    def allowed(self, config: Settings) -> list[tuple[str, bool, bool]]:
        """For each known action whether it is admitted, and whether a human must agree."""
        target = Target(cluster="local", namespace="workload", service="web", instance="web-0", generation=1)
        names = yaml.safe_load(EXAMPLE)["aiops"]["remediation"]["actions"]
        form = {"target": target, "parameters": {}, "changes": (), "destructive": False, "irreversible": False}
        plans = [Plan(action=name, **form) for name in names]
        lim = config.remediation
        return [(one.action, limits.allowed(one, lim) is None, limits.needs_approval(one, lim)) for one in plans]

    def models(self, config: Settings) -> dict[str, Any]:
        """Of each model that has a file: whether and when it learns, and its options or their refusal."""
        known = [name for name in config.models if name in plugins.names(catalog.PACKAGE)]
        return {name: (catalog.entry(name).enabled, catalog.entry(name).retrain_interval, made(name)) for name in known}

    def _fresh(self) -> Path:
        self.count += 1
        return self.home / str(self.count)


def made(model: str) -> Any:
    try:
        return catalog.make(model).options
    except SettingsError as error:  # an option that is heard and cannot be had
        return str(error)


class Idle:
    """Stands for what a watcher starts."""

    def beat(self) -> None: ...

    def close(self) -> None: ...

    def flush(self) -> None: ...

    def seed(self) -> None: ...


# key: (where its effect shows, another value; None: left out)
EFFECTS: dict[tuple[str, ...], tuple[str, Any]] = {
    ("enabled",): ("enabled", False),
    ("ingestion", "metrics_interval"): ("watched", "7s"),
    ("ingestion", "log_level"): ("watched", "error"),
    ("ingestion", "trace_sampling"): ("sampled", 0.5),
    ("remediation", "enabled"): ("enabled", False),
    ("remediation", "approval_required"): ("asked", True),
    ("remediation", "rollback_enabled"): ("undone", False),
    ("remediation", "max_actions_per_minute"): ("rate", 3),
    ("remediation", "circuit_breaker_threshold"): ("breaker", 0.95),
    **{
        ("remediation", "actions", name): ("allowed", not allowed)
        for name, allowed in yaml.safe_load(EXAMPLE)["aiops"]["remediation"]["actions"].items()
    },
    ("notifications", "slack_webhook"): ("channels", None),
    ("notifications", "pagerduty_key"): ("channels", None),
    ("notifications", "email_recipients"): ("channels", None),
    ("models", "failure_predictor", "enabled"): ("models", False),
    ("models", "failure_predictor", "prediction_window"): ("models", "24h"),
    ("models", "failure_predictor", "retrain_interval"): ("models", "3d"),
    ("models", "threat_detector", "enabled"): ("models", False),
    ("models", "threat_detector", "sensitivity"): ("models", "low"),
    ("models", "threat_detector", "false_positive_threshold"): ("models", 0.01),
    ("models", "capacity_forecaster", "enabled"): ("models", False),
    ("models", "capacity_forecaster", "forecast_periods"): ("models", ["30d", "60d"]),
    ("models", "capacity_forecaster", "confidence_level"): ("models", 0.9),
}


def leaves(content: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in content.items():
        yield from leaves(value, (*path, key)) if isinstance(value, dict) else [(*path, key)]


def test_the_table_has_every_key() -> None:
    assert set(EFFECTS) == set(leaves(yaml.safe_load(EXAMPLE)["aiops"]))


@pytest.mark.parametrize("key", EFFECTS, ids=".".join)
def test_every_key_has_an_effect(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: tuple[str, ...]
) -> None:
    if key[0] == "models" and key[1] not in plugins.names(catalog.PACKAGE):
        pytest.skip(f"{key[1]} has no file yet")
    where, value = EFFECTS[key]
    scene = Scene(tmp_path, monkeypatch)
    before = getattr(scene, where)(read())
    assert getattr(scene, where)(read(key, value)) != before


def test_the_example_loads_and_says_what_is_not_installed(read: Read) -> None:
    config = read()
    check_settings(config.remediation, catalogue())
    named = set(config.remediation.actions) - set(catalogue())
    (said,) = [sentence for sentence in remarks(config) if "not installed" in sentence]
    assert all(name in said for name in named)


def test_what_is_off_is_said_with_its_key(read: Read) -> None:
    said = " ".join(remarks(read(("notifications", "slack_webhook"))))
    assert "slack (slack_webhook)" in said and "pagerduty" not in said


def test_left_out_an_action_is_refused(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = read(("remediation", "actions", "pod_scale"))
    assert ("pod_scale", False, True) in Scene(tmp_path, monkeypatch).allowed(config)


def test_a_name_outside_of_the_vocabulary_names_the_nearest(read: Read) -> None:
    config = read(("remediation", "actions", "pod_restrat"), True)
    for check in (lambda: check_settings(config.remediation, catalogue()), lambda: remarks(config)):
        with pytest.raises(SettingsError, match="no action named 'pod_restrat' .did you mean 'pod_restart'"):
            check()
