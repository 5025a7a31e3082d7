"""The main job: the whole loop once, on real data, ending with a repaired fault and a summary."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from rich.console import Group
from rich.table import Table

from flows import timeline
from flows.console import out
from infra import stack
from infra.errors import UserError
from infra.settings import ROOT, settings
from remediation.records import Incident, State, Verdict

Tell = Callable[[str, str], None]
FAULT, SERVICE = "killed", "front"
FIRST = ("anomaly_detector", "churn_predictor", "failure_predictor")  # one of each kind; the watcher needs the first
PATIENCE = 60.0  # seconds from the fault to the end of its repair


def main_job(tell: Tell, names: tuple[str, ...] = ()) -> None:
    """Start the stack, then data, features, models, deployment, a fault and its repair; prints the summary.

    `names`: the models to take through the loop; default: `FIRST`. The others are trained in the background.
    """
    begun = time.monotonic()
    from training import catalog

    enabled = catalog.enabled()
    chosen = catalog.enabled(names) if names else tuple(name for name in FIRST if name in enabled)
    stack.up(tell)
    _deployments(tell)
    _follow(tell)
    _loop(list(chosen))
    broken_at, incident = exercise(tell)
    others = _train_later([name for name in enabled if name not in chosen])
    out().print(Group("", _models(), "", _events(broken_at, incident), "", _addresses()))
    out().print(f"\nThe whole loop took {time.monotonic() - begun:.0f} s. The stack stays up; `aiops down` stops it.")
    if others:
        out().print(f"In training meanwhile: {', '.join(others)}; follow the run `train` in Prefect.")


def _loop(chosen: list[str]) -> None:
    """Data, features, training and deployment of the `chosen` models, each a flow."""
    from features import pipeline
    from flows.deploy import deploy
    from flows.ingest import ingest
    from flows.materialize import materialize
    from flows.train import train
    from training import catalog

    ingest(pipeline.sets(catalog.features(tuple(chosen))))
    materialize(chosen)
    train(chosen)
    deploy(chosen)


def _train_later(names: list[str]) -> list[str]:
    """Give those of `names` that are due to the worker; returns them."""
    from prefect.deployments import run_deployment

    from training import trainer

    if due := [name for name in names if trainer.due(name)]:
        run_deployment("train/local", parameters={"models": due}, timeout=0, flow_run_name="train")
    return due


def exercise(tell: Tell) -> tuple[datetime, Incident]:
    """Break the workload for real and wait until the watcher has repaired it; returns when it broke, and the incident.

    Raises UserError when it is not repaired in time.
    """
    from remediation.engine import engine
    from remediation.workload import faults
    from remediation.workload.control import Workload

    instance = faults.inject(Workload(settings()), FAULT, SERVICE).instance
    started = datetime.now(UTC)
    tell("Fault", f"{instance} {FAULT}; waiting for its detection and repair")
    while (datetime.now(UTC) - started).total_seconds() < PATIENCE:
        if incident := next((one for one in engine().history(limit=20) if repaired(one, instance, started)), None):
            return started, incident
        time.sleep(0.2)
    raise UserError(
        f"{instance} was {FAULT} and is not repaired after {PATIENCE:.0f} s; see `aiops remediate` and "
        f"{settings().home / 'logs' / 'watcher.log'}"
    )


def repaired(incident: Incident, instance: str, since: datetime) -> bool:
    """Whether it ended after `since` with a repair of `instance`; it may have been open before, for another symptom."""
    outcome, ended = incident.outcome, incident.closed_at
    if incident.state is not State.RESOLVED or outcome is None or ended is None or ended < since:
        return False
    return (outcome.instance, outcome.verdict) == (instance, Verdict.SUCCEEDED)


def _deployments(tell: Tell) -> None:
    """Register the deployments of prefect.yaml with the Prefect server."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ.copy())
    if done.returncode:
        raise UserError(f"`prefect deploy --all` fails: {(done.stderr or done.stdout).strip()[-500:]}")
    tell("Prefect", "deployments registered from prefect.yaml")


def _follow(tell: Tell) -> None:
    """Show the flows' own lines in the terminal, without what Prefect says about its own work."""
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"  # read when Prefect is imported
    import prefect.main  # noqa: F401  # it replaces the handlers of its loggers, so it comes before ours

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.funcName == "say":
                tell(_subject(record), record.getMessage())

    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addHandler(Lines())


def _subject(record: logging.LogRecord) -> str:
    """The flow that a line belongs to: its task's first word, or its own name."""
    return str(getattr(record, "task_run_name", getattr(record, "flow_run_name", "flow"))).split()[0].capitalize()


def _models() -> Table:
    from serving.client import Client
    from training import registry

    table = Table("Model", "Alias", "Metric", "Value", "Target", "Met", "Strong", "Naive", title="Models")
    with Client() as client:
        for name, status in client.status().models.items():
            if not status.ready:
                continue
            version = registry.current(name, status.alias or "challenger")
            figures = registry.metrics(version) if version else {}
            first = f"{name} v{status.version}", f"{status.alias}{', synthetic' if status.synthetic else ''}"
            for target in status.targets:
                sign = "≥" if target.direction == "at_least" else "≤"
                bound = f"{sign} {target.threshold:g}" + (f" × {target.baseline}" if target.baseline else "")
                met = {True: "yes", False: "no", None: "not measured"}[target.met]
                others = (_figure(figures.get(f"{who}/{target.metric}")) for who in ("strong", "naive"))
                table.add_row(*first, target.metric, _figure(target.value), bound, met, *others)
                first = "", ""
    return table


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _events(broken_at: datetime, incident: Incident) -> Table:
    table = Table("Seconds", "Step", "What", title=f"{incident.id}: {incident.state}")
    unseen = (incident.detection.observed_at - broken_at).total_seconds()
    steps = [(unseen + seconds, step, text) for seconds, step, text in timeline.rows(incident)]
    for seconds, step, text in sorted([(0.0, "fault", f"{SERVICE} {FAULT}"), *steps], key=lambda row: row[0]):
        table.add_row(f"{seconds:.2f}", step, text)
    return table


def _addresses() -> Table:
    config = settings()
    table = Table("Interface", "Address", title="Open")
    table.add_row("Prefect: flows, runs, approvals", config.url("prefect"))
    table.add_row("MLflow: models, metrics, cards", config.url("mlflow"))
    table.add_row("API: documentation", f"{config.url('api')}/api/v3/aiops/docs")
    return table
