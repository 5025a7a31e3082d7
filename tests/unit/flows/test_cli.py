"""The program `aiops`: what it prints and how it ends. Each test runs it as a user does, or through typer's runner."""

import json
import os
import subprocess
import sys
import time

import pytest
import typer
from typer.testing import CliRunner

from flows import cli, cli_models, console
from infra import stack
from infra.errors import DataError
from infra.health import PartStatus
from infra.settings import ROOT, settings


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in this process with a home of its own."""
    before = dict(os.environ)
    monkeypatch.setenv("AIOPS__HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield lambda *arguments: CliRunner().invoke(cli.app, arguments)
    os.environ.clear()
    os.environ.update(before)
    settings.cache_clear()


def program(*arguments, **environment):
    """Run the program in a process of its own."""
    command = [sys.executable, "-m", "flows.cli", *arguments]
    settings_of_ours = {key: value for key, value in os.environ.items() if not key.startswith("AIOPS")}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**settings_of_ours, **environment}, timeout=120
    )


COMMANDS = {
    "run": [],
    "up": [],
    "down": [],
    "status": ["--json"],
    "train": ["--profile"],
    "benchmark": ["--train", "--test", "--json", "--all", "--seeds"],
    "predict": ["--explain", "--sarif", "--fail-above"],
    "drift": ["--apply", "--replace", "--rollback"],
    "remediate": [],
    "approve": ["--deny", "--by"],
    "data list": [],
    "data fetch": [],
    "data verify": [],
    "audit verify": ["--key"],
    "audit export": [],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_its_options(run, command):
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert all(option in result.stdout for option in COMMANDS[command])
    assert len(result.stdout.splitlines()) > 3


def test_help_names_every_command_by_group(run):
    text = run("--help").stdout
    for group in ("Start here", "Stack", "Data and models", "Remediation"):
        assert group in text
    assert all(f" {command.split()[0]} " in text for command in COMMANDS)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from flows import cli\n"
        "heavy = {'torch', 'mlflow', 'prefect', 'pandas', 'numpy', 'pydantic', 'feast', 'pyspark', 'httpx'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_users_mistake_is_one_sentence_and_code_2(tmp_path):
    done = program("data", "verify", "iranian_chrun", AIOPS__HOME=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "error: no data set named 'iranian_chrun' (did you mean 'iranian_churn'?)"
    )
    assert "Traceback" not in done.stderr


def test_broken_settings_are_one_sentence_and_code_2(tmp_path):
    done = program("status", AIOPS__HOME=str(tmp_path), AIOPS__STAK__HOST="x")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "did you mean 'stack'?" in done.stderr


def test_training_without_a_registry_stops_before_any_work(tmp_path):
    done = program("train", AIOPS__HOME=str(tmp_path), AIOPS__STACK__PORTS__MLFLOW="9")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "registry at http://127.0.0.1:9 does not answer" in done.stderr and "`aiops up` starts it" in done.stderr
    assert not (tmp_path / "lake").exists()


def test_an_unexpected_error_is_a_sentence_and_a_traceback_in_the_log(run, monkeypatch, capsys, tmp_path):
    def explode():
        raise ZeroDivisionError("by nought")

    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(explode)
    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr(sys, "argv", ["aiops"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    told = capsys.readouterr().err
    log = tmp_path / "home" / "logs" / "aiops.log"
    assert told == f"error: unexpected ZeroDivisionError: by nought; the traceback is in {log}\n"
    assert "in explode" in log.read_text() and time.strftime("%Y-", time.gmtime()) in log.read_text()


def test_status_of_a_stack_that_is_down(run):
    result = run("status")
    assert result.exit_code == 1
    assert result.stdout.count("stopped") == len(json.loads(run("status", "--json").stdout))


def test_status_says_what_is_off_and_what_is_not_installed(run, monkeypatch):
    monkeypatch.setenv("AIOPS__REMEDIATION__ACTIONS", '{"pod_restart": true}')
    for name in ("SLACK_WEBHOOK_URL", "PAGERDUTY_KEY", "AIOPS_EMAIL_RECIPIENTS"):
        monkeypatch.delenv(name, raising=False)
    told = run("status").stdout
    assert "email (email_recipients), pagerduty (pagerduty_key), slack (slack_webhook)" in told
    assert "never taken: pod_restart" in told


def test_status_shows_restarts_and_a_missing_supervisor(run, monkeypatch):
    parts = [
        PartStatus("a", "Part A", "running", "ok", 7, 3700.0, 99.6, 2, time.time(), "http://127.0.0.1:1"),
        PartStatus("b", "Part B", "unsupervised", "ok", 8, 90.0),
    ]
    monkeypatch.setattr(stack, "status", lambda: parts)
    result = run("status")
    assert result.exit_code == 1
    first = next(line for line in result.stdout.splitlines() if line.startswith("Part A"))
    assert first.split()[:8] == ["Part", "A", "running", "ok", "7", "1.0", "h", "100"] and "2, last at" in first
    assert "`aiops up` takes over" in result.stdout
    monkeypatch.setattr(stack, "status", lambda: parts[:1])
    assert run("status").exit_code == 0


def test_each_step_of_training_is_told_once():
    told = []
    step = console.steps(lambda share, what: told.append((share, what)))
    for what, share in [("fit", 0.1), ("fit", 0.2), ("judge", 0.5), ("fit", 0.6)]:
        step(what, share)
    assert told == [("10%", "fit"), ("50%", "judge"), ("60%", "fit")]


def test_a_wrong_notification_setting_stops_the_start_in_one_sentence(tmp_path):
    done = program("up", AIOPS__HOME=str(tmp_path), SLACK_WEBHOOK_URL="https://example.org/hush")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "slack_webhook is not of the form" in done.stderr and "hush" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "name one model, or give --all"),
        (["x", "--all"], "name one model, or give --all"),
        (["--all", "--train", "."], "name one model, or give --all"),
        (["x", "--train", ".", "--test", "/nowhere"], "--test /nowhere is not a folder"),
    ],
)
def test_benchmark_refuses_wrong_combinations(run, arguments, told):
    result = run("benchmark", *arguments)
    assert told in str(result.exception)


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("rows.json", '[{"a": 1}, {"a": null}]', [{"a": 1}, {"a": None}]),
        ("row.json", '{"a": 1}', [{"a": 1}]),
        ("rows.jsonl", '{"a": 1}\n\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        ("rows.csv", "a,b\n1,\n2,x\n", [{"a": "1", "b": None}, {"a": "2", "b": "x"}]),
    ],
)
def test_rows_are_read_from_files(tmp_path, name, text, rows):
    (tmp_path / name).write_text(text)
    assert cli_models.read_rows(tmp_path / name) == rows


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("rows.json", "[{},", "not valid JSON in line 1"),
        ("rows.json", "[]", "there are no rows"),
        ("rows.json", "[{}, 3]", "row 2 is 3"),
        ("rows.csv", "a,b\n", "there are no rows"),
        ("rows.txt", "a", r"read from .json, .jsonl and .csv, not from .txt"),
    ],
)
def test_a_wrong_file_is_told_what_is_wrong(tmp_path, name, text, told):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=told):
        cli_models.read_rows(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="none.json cannot be read: No such file"):
        cli_models.read_rows(tmp_path / "none.json")


@pytest.fixture
def kernel(run):
    """The kernel of the command line's home, with two audited entries."""
    from remediation import engine

    engine.engine.cache_clear()
    found = engine.engine().kernel
    found.switch(False, by="tester")
    found.switch(True, by="tester")
    yield found
    engine.engine.cache_clear()


def test_audit_verify_finds_a_touched_entry(run, kernel):
    assert "holds: 2 entries" in run("audit", "verify").stdout
    with kernel.core.store.transaction("tamper") as conn:
        conn.exec_driver_sql("update audit set actor = 'somebody else' where seq = 1")
    result = run("audit", "verify")
    assert result.exit_code == 1 and "broken at entry 1 of" in result.stdout


def test_an_exported_trail_is_verified_and_a_changed_byte_found(run, kernel, tmp_path):
    file = tmp_path / "trail.jsonl"
    assert run("audit", "export", str(file)).exit_code == 0
    assert "holds: 2 entries" in run("audit", "verify", str(file)).stdout
    file.write_text(file.read_text().replace("tester", "attacker", 1))
    result = run("audit", "verify", str(file))
    assert result.exit_code == 1 and "broken at entry 1 of" in result.stdout


def test_the_kill_switch_and_the_breaker_are_in_the_hands_of_the_operator(run, kernel):
    assert "are stopped" in run("switch", "off").stdout
    assert not kernel.enabled()
    assert "may be taken" in run("switch", "on").stdout
    assert kernel.enabled()
    assert "closed" in run("reset-breaker").stdout
    assert kernel.breaker_state()["state"] == "closed"
    assert "no incident named" in str(run("dismiss", "incident-nope").exception)


def test_approve_lists_and_names_an_unknown_plan(run, kernel):
    assert "No plan waits for approval." in run("approve").stdout
    assert "plan-nope" in str(run("approve", "plan-nope").exception)
