"""Build the feature tables with Spark, pass them through the data gates, and put the newest rows online."""

from __future__ import annotations

from prefect import flow, task

from features import pipeline, store
from features.view import View
from flows.show import say, table
from training import catalog


@flow(flow_run_name="materialize", description=__doc__)
def materialize(models: list[str] | None = None) -> dict[str, int]:
    """Bring the features of `models` (all enabled ones when empty) up to date; returns rows written online by view.

    A failed expectation stops the flow: the batch is quarantined, the feature table stays as it was.
    """
    wanted = pipeline.views(catalog.features(catalog.enabled(tuple(models or ()))))
    made = {name: build(view, sets) for name, (view, sets) in wanted.items()}
    register()
    online = publish([view for view, _ in wanted.values() if view.online])
    rows = [{"view": name, "rows built": count, "rows online": online.get(name)} for name, count in made.items()]
    table("features", rows, "Feature tables made, and rows put online")
    return online


@task(name="build", task_run_name="build {view.name}", tags=["features"])
def build(view: View, datasets: tuple[str, ...]) -> int:
    return pipeline.gate(view, pipeline.transform(view, datasets), say)


@task(name="register", task_run_name="register features", tags=["features"])
def register() -> None:
    pipeline.register(catalog.features(catalog.enabled()))


@task(name="publish", task_run_name="publish features", tags=["features"])
def publish(views: list[View]) -> dict[str, int]:
    written = store.materialize(views)
    say(", ".join(f"{name}: {count} rows online" for name, count in written.items()))
    return written
