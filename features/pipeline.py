"""From public data to features ready for training and serving, one plain function a step; flows run each as a task.

fetch → load (pull, lake) → transform (Spark) → gate (expectations, publish) → register (Feast) → materialize
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from features import datasets, expectations, jobs, lake, store
from features.datasets import Progress
from features.view import View
from infra.errors import DataError

Wanted = Mapping[str, tuple[tuple[View, ...], View, tuple[str, ...]]]  # model → its views, its labels, its data sets


@dataclass(frozen=True)
class Prepared:
    """What is ready: rows in the lake by set, rows newly made by view, rows put online by view, and the stand-ins."""

    lake: dict[str, int]
    made: dict[str, int]
    online: dict[str, int]
    synthetic: tuple[str, ...]


def prepare(
    models: Wanted, progress: Progress | None = None, materialize: bool = True, registered: Wanted | None = None
) -> Prepared:
    """Bring the features of `models` up to date; what did not change is skipped.

    `registered`: all models whose feature services shall exist; default: `models`. Raises DataError when a file, a
    source's rows or a feature table is not as it must be; what was there before stays.
    """
    tell = progress or (lambda _: None)
    wanted = views(models)
    names = sets(models)
    loaded = {name: load(name, tell) for name in names}
    made = {view.name: gate(view, transform(view, of), tell) for view, of in wanted.values()}
    register(registered or models)
    served = [view for view, _ in wanted.values() if view.online] if materialize else []
    online = store.materialize(served)
    return Prepared(loaded, made, online, tuple(name for name in names if lake.synthetic(name)))


def views(models: Wanted) -> dict[str, tuple[View, tuple[str, ...]]]:
    """View name → the view and the data sets it is wanted for, over all models."""
    found: dict[str, tuple[View, tuple[str, ...]]] = {}
    for group, labels, sets in models.values():
        for view in (*group, labels):
            known = found.get(view.name, (view, ()))[1]
            found[view.name] = (view, tuple(sorted({*known, *sets})))
    return found


def sets(models: Wanted) -> list[str]:
    """The public data sets that `models` are made from."""
    return sorted({name for _, _, names in models.values() for name in names if name != lake.LIVE})


def register(models: Wanted) -> None:
    """Give Feast the views and one feature service a model; those of other models are dropped."""
    store.apply({model: group for model, (group, _, _) in models.items()})


def load(name: str, tell: Progress) -> int:
    """Fetch set `name` and load it into the lake; returns its rows there."""
    changed = lake.load(name, datasets.fetch(name, tell))
    count = sum(lake.rows(name).values())
    tell(f"{name}: {count:,} rows {'loaded into' if changed else 'unchanged in'} the lake")
    return count


def transform(view: View, sets: Sequence[str] | None = None) -> list[str]:
    """Run the Spark job of `view`; returns the data sets that wait for the gate."""
    return jobs.run(view, sets)


def gate(view: View, waiting: Sequence[str], tell: Progress, now: datetime | None = None) -> int:
    """Judge the candidate of `view` and publish it; returns its rows. Raises DataError, and then publishes nothing."""
    if not waiting:
        tell(f"{view.name}: unchanged")
        return 0
    rows = jobs.read(view, jobs.candidate(view), waiting)
    if empty := set(waiting) - set(rows["dataset"].unique().to_pylist()) - {lake.LIVE}:
        raise DataError(f"view {view.name} made no row of data set {', '.join(sorted(empty))}; does it read its table?")
    expectations.check(view, rows, now)
    jobs.publish(view, waiting)
    tell(f"{view.name}: {len(rows):,} rows of {', '.join(waiting)} passed the gate")
    return len(rows)
