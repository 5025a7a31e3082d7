"""Train a model: frame → checks → evaluation against its baselines → fit on everything → registry → gates → alias."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import pandas as pd

from features import datasets
from features.rates import LIVE
from training import card, catalog, checks, gates, plots, provenance, registry
from training.evaluate import MEAN, MODEL, Evaluation, Progress, evaluate, inputs
from training.model import Fold, Model
from training.registry import Record, Version

SEEDS = {"default": 1, "full": 5}  # how many seeds are evaluated, by profile
DRAWS = {"default": 40, "full": 200}  # of the bootstrap
LEARNT = 500_000  # training rows of all folds; beyond, the default profile judges on the newest fold of each set only
EXAMPLES = 5


@dataclass(frozen=True)
class Trained:
    """One finished training."""

    version: Version
    decision: gates.Decision
    evaluation: Evaluation
    rows: int
    seconds: float
    peak_memory: int  # bytes, of the whole process so far

    def __str__(self) -> str:
        return (
            f"{self.version}: {self.decision.reason}; {self.rows} rows, {self.seconds:.0f} s, "
            f"{self.peak_memory / 2**20:.0f} MiB"
        )


def train(
    name: str,
    seed: int = 0,
    profile: str = "default",
    progress: Progress | None = None,
    frame: pd.DataFrame | None = None,
) -> Trained:
    """Train, evaluate and register model `name`; moves `@champion` or `@challenger`.

    `frame`: a labelled frame; default: the point-in-time join of the feature store. Raises DataError for a leak or an
    impossible value, NotFound for a name.
    """
    start, tell = time.monotonic(), progress or (lambda what, share: None)
    model = catalog.make(name, profile)
    tell(f"{name}: reading features", 0.0)
    data = _stored(model) if frame is None else frame
    tell(f"{name}: checking {len(data)} rows", 0.05)
    checks.frame(model.spec, data)
    seeds = range(seed, seed + SEEDS[profile])
    folds = partial(_folds, model, data, whole=profile != "default")
    found = evaluate(
        model, folds, seeds, lambda what, share: tell(f"{name}: {what}", 0.1 + 0.6 * share), DRAWS[profile]
    )
    tell(f"{name}: fitting on all {len(data)} rows", 0.7)
    model.fit(inputs(model.spec, data, label=True), seed)
    tell(f"{name}: registering", 0.9)
    version, decision = _register(model, data, found, seed, profile, time.monotonic() - start)
    seconds, memory = time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    tell(f"{version}", 1.0)
    return Trained(version, decision, found, len(data), seconds, memory)


def due(name: str, now: datetime | None = None) -> bool:
    """Whether model `name` was never trained, or longer ago than its `retrain_interval`."""
    last = registry.last_trained(name)
    return last is None or (now or datetime.now(UTC)) - last >= catalog.entry(name).retrain_interval


def _folds(model: Model, data: pd.DataFrame, seed: int, whole: bool) -> list[Fold]:
    """The folds of the protocol; where they are long to learn and `whole` is false, the last one of each data set."""
    folds = list(model.folds(data, seed))
    if whole or sum(len(fold.train) for fold in folds) <= LEARNT:
        return folds
    return list({fold.dataset: fold for fold in folds}.values())


def _stored(model: Model) -> pd.DataFrame:
    from features import store

    names = (*model.spec.datasets, LIVE) if model.spec.live else model.spec.datasets
    return store.training_frame(model.name(), model.spec.labels, names)


def _register(
    model: Model, data: pd.DataFrame, found: Evaluation, seed: int, profile: str, seconds: float
) -> tuple[Version, gates.Decision]:
    facts = {
        **_facts(model, data, seed),
        "evaluation": f"profile {profile}: {len(found.scored)} folds × {found.seeds} seeds",
    }
    champion = registry.current(model.name(), "champion")
    decision = gates.decide(model.spec, found, facts["data"], champion.tags if champion else None)
    record = Record(
        params=_params(model, found, len(data), seed, profile),
        metrics={**_metrics(found), "train_seconds": seconds, "rows": len(data)},
        tags={**facts, **decision.tags},
        figures=plots.figures(model.spec, found),
        texts={"evaluation/runs.csv": found.runs.to_csv(index=False), "evaluation/summary.csv": found.summary.to_csv()},
        card=card.card(model, found, gates.outcomes(model.spec, found), {**facts, "gates": decision.reason}),
    )
    version = registry.log(model, data[data[model.spec.label].notna()].head(EXAMPLES), record)
    return registry.promote(version, decision.alias, decision.tags), decision


def _facts(model: Model, data: pd.DataFrame, seed: int) -> dict[str, str]:
    """Where the version came from, as tags."""
    names = sorted(data["dataset"].astype(str).unique())
    known = datasets.catalogue()
    return {
        "trained": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "git_sha": provenance.git_sha(),
        "data": provenance.digest(data[data["dataset"] != LIVE]),
        "datasets": ", ".join(names),
        "synthetic": "yes" if any(name in known and known[name].synthetic for name in names) else "no",
        "feature_service": model.name(),
        "label": f"{model.spec.labels.name}.{model.spec.label}",
        "seed": str(seed),
    }


def _params(model: Model, found: Evaluation, rows: int, seed: int, profile: str) -> dict[str, object]:
    """The options of the model, the arguments of its learner, and how it was evaluated."""
    learner = vars(model.learner) if model.learner else {}
    plain = {key: value for key, value in learner.items() if isinstance(value, (str, int, float, bool))}
    return {
        "algorithm": model.spec.algorithm,
        "profile": profile,
        "seed": seed,
        "seeds": found.seeds,
        "folds": int(found.runs.groupby("dataset")["fold"].nunique().sum()),
        "rows": rows,
        **{f"option.{key}": value for key, value in model.options.model_dump(mode="json").items()},
        **{f"learner.{key}": value for key, value in plain.items()},
    }


def _metrics(found: Evaluation) -> dict[str, float]:
    """`<dataset>/<metric>` and its bounds for the model, `<contender>/<dataset>/<metric>` for the others."""
    figures: dict[str, float] = {}
    for dataset, contender, metric, mean, low, high, *_ in found.summary.to_numpy():
        name = "/".join(part for part in (contender, dataset, metric) if part not in (MODEL, MEAN))
        figures |= {name: mean, f"{name}_ci_low": low, f"{name}_ci_high": high}
    return figures
