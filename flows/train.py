"""Train the models that are due, register them, and show what was decided about each."""

from __future__ import annotations

from prefect import flow, task

from flows.show import model_link, say, steps, table
from training import catalog, trainer
from training.trainer import Trained


@flow(flow_run_name="train", description=__doc__)
def train(models: list[str] | None = None, force: bool = False) -> list[str]:
    """Train `models` (all enabled ones when empty) whose retrain_interval has passed, or all of them with `force`.

    Returns one line per trained model.
    """
    names = catalog.enabled(tuple(models or ()))
    chosen = [name for name in names if force or trainer.due(name)]
    if waiting := sorted(set(names) - set(chosen)):
        say(f"not due yet: {', '.join(waiting)}")
    trained = [train_one(name) for name in chosen]
    if trained:
        table("trained-models", [_row(one) for one in trained], "What was trained, and what the gates said")
    return [str(one) for one in trained]


@task(name="train", task_run_name="train {name}", tags=["training"])
def train_one(name: str) -> Trained:
    trained = trainer.train(name, progress=steps(name))
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
