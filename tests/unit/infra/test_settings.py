"""Settings: what is read from where, and what each mistake is told."""

from datetime import timedelta
from pathlib import Path

import pytest

from infra import settings as module
from infra.errors import SettingsError
from infra.settings import ROOT, Settings, parse_duration, settings


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a settings file (the text below `aiops:`) and read it."""
    for name in list(module.os.environ):
        if name.startswith("AIOPS__"):
            monkeypatch.delenv(name)

    def read(body: str) -> Settings:
        file = tmp_path / "aiops.yaml"
        file.write_text("aiops:\n" + "\n".join(f"  {line}" for line in body.splitlines()))
        monkeypatch.setenv("AIOPS_CONFIG", str(file))
        settings.cache_clear()
        return settings()

    yield read
    settings.cache_clear()


def test_the_shipped_file_is_read_and_holds_every_section(write, monkeypatch):
    monkeypatch.delenv("AIOPS_CONFIG", raising=False)
    settings.cache_clear()
    config = settings()
    assert config.models["failure_predictor"].model_extra == {"prediction_window": "48h"}
    assert config.models["failure_predictor"].retrain_interval == timedelta(days=7)
    assert config.remediation.actions["process_restart"] is True
    assert config.home == ROOT / ".aiops"


def test_the_environment_wins_over_the_file_and_leaves_the_rest(write, monkeypatch):
    monkeypatch.setenv("AIOPS__REMEDIATION__MAX_ACTIONS_PER_MINUTE", "3")
    config = write("remediation: { max_actions_per_minute: 7, approval_timeout: 90m }")
    assert config.remediation.max_actions_per_minute == 3
    assert config.remediation.approval_timeout == timedelta(minutes=90)


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("30s", 30), ("1.5h", 5400), ("7d", 604800), ("2 w", 1209600)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["30", "s", "5 minutes", "-3s", "1h30m"])
def test_a_wrong_duration_is_told_what_is_right(text):
    with pytest.raises(ValueError, match="write a number and a unit, for example 30s"):
        parse_duration(text)


def test_variables_are_expanded_and_an_unset_one_alone_is_null(write, monkeypatch):
    monkeypatch.setenv("MAIL_HOST", "example.org")
    monkeypatch.delenv("NOT_SET", raising=False)
    config = write(
        "notifications:\n"
        "  email_recipients: ops@${MAIL_HOST}\n"
        "  slack_webhook: ${NOT_SET}\n"
        "  pagerduty_key: ${NOT_SET:-fallback}"
    )
    assert config.notifications.email_recipients == "ops@example.org"
    assert config.notifications.slack_webhook is None
    assert config.notifications.pagerduty_key.get_secret_value() == "fallback"


def test_an_unset_variable_amid_other_text_is_an_error(write, monkeypatch):
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(SettingsError, match="needs the environment variable NOT_SET, which is not set"):
        write("notifications: { email_recipients: 'ops@${NOT_SET}' }")


def test_secrets_do_not_show(write):
    config = write("notifications: { slack_webhook: hush }")
    assert "hush" not in repr(config) + config.model_dump_json()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("remediaton: {}", r"aiops.remediaton in .*aiops.yaml: unknown key \(did you mean 'remediation'\?\)"),
        ("remediation: { enabld: true }", r"aiops.remediation.enabld .*did you mean 'enabled'"),
        ("remediation: { blast_radius: { max_shar: 1 } }", r"blast_radius.max_shar .*did you mean 'max_share'"),
        ("remediation: { rules: [{ cause: a, actions: [b], confidenc: 1 }] }", r"rules.0.confidenc .*'confidence'"),
        ("stack: { ports: { api: 0 } }", r"aiops.stack.ports.api .*greater than or equal to 1"),
        ("stack: { ports: { api: 5000 } }", r"port 5000 is given to more than one part"),
        ("remediation: { approval_timeout: soon }", r"aiops.remediation.approval_timeout .*'soon' is not a duration"),
        ("stack: { host: 0.0.0.0 }", r"aiops.stack.host .*'0.0.0.0' is not a loopback address"),
        ("stack: { host: localhost }", r"aiops.stack.host .*'localhost' is not a loopback address"),
        ("models: { churn_predictor: { enabled: perhaps } }", r"aiops.models.churn_predictor.enabled"),
    ],
)
def test_a_wrong_file_names_key_place_and_remedy(write, body, told):
    with pytest.raises(SettingsError, match=told):
        write(body)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("AIOPS__REMEDIATON__ENABLED", "true", r"no section 'remediaton' \(did you mean 'remediation'\?\)"),
        ("AIOPS__STACK__PORT__API", "1", r"aiops.stack.port in AIOPS__STACK__PORT__API: .*did you mean 'ports'"),
        ("AIOPS__STACK__PORTS__API", "70000", r"aiops.stack.ports.api in AIOPS__STACK__PORTS__API"),
        ("AIOPS__STACK", "localhost", "give a section as JSON"),
    ],
)
def test_a_wrong_variable_is_named(write, monkeypatch, variable, value, told):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=told):
        write("enabled: true")


@pytest.mark.parametrize(
    ("content", "told"),
    [("", "exactly one root key"), ("other: {}", "exactly one root key"), ("aiops: [", "not valid YAML")],
)
def test_a_file_of_another_shape(write, tmp_path, monkeypatch, content, told):
    file = tmp_path / "other.yaml"
    file.write_text(content)
    monkeypatch.setenv("AIOPS_CONFIG", str(file))
    settings.cache_clear()
    with pytest.raises(SettingsError, match=told):
        settings()


def test_a_missing_file_is_named(write, monkeypatch):
    monkeypatch.setenv("AIOPS_CONFIG", "/nowhere/aiops.yaml")
    settings.cache_clear()
    with pytest.raises(SettingsError, match="no settings file at /nowhere/aiops.yaml"):
        settings()


def test_a_relative_home_counts_from_the_checkout(write, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert write("home: somewhere/else").home == ROOT / "somewhere" / "else"
    assert write(f"home: {tmp_path}").home == Path(tmp_path)


def test_settings_cannot_be_changed(write):
    with pytest.raises(ValueError, match="frozen"):
        write("enabled: true").enabled = False
