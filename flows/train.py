"""Train the models that are due, register them, and show what was decided about each."""

from __future__ import annotations

from prefect import flow, task

from features import pipeline
from flows.console import steps
from flows.show import model_link, say, table
from infra.errors import UserError
from training import catalog, trainer
from training.trainer import Trained


@flow(flow_run_name="train", description=__doc__)
def train(models: list[str] | None = None, force: bool = False) -> list[str]:
    """Train `models` (all enabled ones when empty) whose retrain_interval has passed, or all of them with `force`.

    Their features are brought up to date first. One that fails does not keep the others from being trained; the run
    then ends as failed and names it. Returns one line per trained model.
    """
    names = catalog.enabled(tuple(models or ()))
    chosen = [name for name in names if force or trainer.due(name)]
    if waiting := sorted(set(names) - set(chosen)):
        say(f"not due yet: {', '.join(waiting)}")
    if chosen:
        prepare(chosen)
    states = {name: train_one(name, return_state=True) for name in chosen}
    trained = [state.result() for state in states.values() if state.is_completed()]
    if trained:
        table("trained-models", [_row(one) for one in trained], "What was trained, and what the gates said")
    if failed := [f"{name}: {state.message}" for name, state in states.items() if not state.is_completed()]:
        raise UserError("; ".join(failed))
    return [str(one) for one in trained]


@task(name="prepare", task_run_name="prepare features", tags=["features"])
def prepare(names: list[str]) -> None:
    wanted = catalog.features(tuple(names))
    pipeline.prepare(wanted, say, registered=catalog.features(catalog.enabled()))


@task(name="train", task_run_name="train {name}", tags=["training"])
def train_one(name: str) -> Trained:
    trained = trainer.train(
        name, progress=steps(lambda share, what: say(f"{what.removeprefix(f'{name}: ')} ({share})"))
    )
    say(str(trained))
    return trained


def _row(trained: Trained) -> dict[str, object]:
    version = trained.version
    return {
        "model": model_link(version.name, version.number),
        "alias": ", ".join(version.aliases),
        "gates": trained.decision.reason,
        "rows": trained.rows,
        "seconds": f"{trained.seconds:.0f}",
        "synthetic": version.tags.get("synthetic"),
    }
