"""Build the feature tables with Spark, pass them through the data gates, and put the newest rows online."""

from __future__ import annotations

from prefect import flow, task

from features import expectations, jobs, lake, store
from features.view import View
from flows.show import say, table
from training import catalog


@flow(flow_run_name="materialize {models}", description=__doc__)
def materialize(models: list[str] | None = None) -> dict[str, int]:
    """Bring the features of `models` (all enabled ones when empty) up to date; returns rows written online by view.

    A failed expectation stops the flow: the batch is quarantined, the feature table stays as it was.
    """
    names = catalog.enabled(tuple(models or ()))
    wanted: dict[str, tuple[View, list[str]]] = {}
    for name in names:
        spec = catalog.load(name).spec
        sets = [*spec.datasets, lake.LIVE] if spec.live else list(spec.datasets)
        wanted |= {view.name: (view, sets) for view in (*spec.views, spec.labels)}
    built = {name: build(view, sets) for name, (view, sets) in wanted.items()}
    register()
    online = publish([view for view, _ in wanted.values() if view.online])
    rows = [{"view": name, "rows built": count, "rows online": online.get(name)} for name, count in built.items()]
    table("features", rows, "Feature tables made, and rows put online")
    return online


@task(name="build", task_run_name="build {view.name}", tags=["features"])
def build(view: View, datasets: list[str]) -> int:
    """Spark job, gate, publication; returns the number of rows made."""
    waiting = jobs.run(view, datasets)
    if not waiting:
        say(f"{view.name}: nothing changed")
        return 0
    rows = jobs.read(view, jobs.candidate(view), waiting)
    say(f"{view.name}: {len(rows):,} rows of {', '.join(waiting)} built; checking them")
    expectations.check(view, rows)
    jobs.publish(view, waiting)
    return len(rows)


@task(name="register features", tags=["features"])
def register() -> None:
    """Tell Feast every model's feature service; a service is what one model reads."""
    store.apply({name: catalog.load(name).spec.views for name in catalog.enabled()})


@task(name="publish", tags=["features"])
def publish(views: list[View]) -> dict[str, int]:
    written = store.materialize(views)
    say(", ".join(f"{name}: {count} rows online" for name, count in written.items()))
    return written
