"""What is served and how good it is, as messages; pure functions of the slots and the settings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from infra.settings import ModelSettings
from serving import BASE
from serving.loader import Slot
from serving.messages import Health, ModelHealth, ModelStatus, TargetStatus
from training.model import Spec, Target


def health(slots: Mapping[str, Slot]) -> Health:
    """Whether each model can answer."""
    models = {
        name: ModelHealth(
            ready=slot.served is not None,
            version=slot.served.version.number if slot.served else None,
            reason=slot.problem,
        )
        for name, slot in slots.items()
    }
    return Health(ready=all(model.ready for model in models.values()), models=models)


def model(spec: Spec, entry: ModelSettings, slot: Slot) -> ModelStatus:
    """What is served for one model."""
    served = slot.served
    return ModelStatus(
        route=f"{BASE}/{spec.route}",
        purpose=spec.purpose,
        algorithm=spec.algorithm,
        limits=spec.limits,
        ready=served is not None,
        problem=slot.problem,
        version=served and served.version.number,
        alias=served and served.alias,
        trained_at=served and served.version.created,
        synthetic=served and served.synthetic,
        headline=spec.headline,
        targets=[held(target, served.figures if served else {}) for target in spec.targets],
        gate_reason=served and served.version.tags.get("gate_reason"),
        next_retrain=next_retrain(slot.trained_at, entry),
        loaded_at=served and served.loaded_at,
        load_seconds=served and served.load_seconds,
        swaps=slot.swaps,
    )


def next_retrain(trained_at: datetime | None, entry: ModelSettings) -> datetime | None:
    """When the next training is due, or None before the first."""
    return None if trained_at is None else trained_at + entry.retrain_interval


def held(target: Target, figures: Mapping[str, float]) -> TargetStatus:
    """One target held against the figures logged with a version."""
    value = figures.get(target.metric)
    against = 1.0 if target.baseline is None else figures.get(f"{target.baseline}/{target.metric}")
    met = None
    if value is not None and against is not None:
        bound = target.threshold * against
        met = value >= bound if target.direction == "at_least" else value <= bound
    return TargetStatus(
        metric=target.metric,
        value=value,
        direction=target.direction,
        threshold=target.threshold,
        baseline=target.baseline,
        met=met,
        source=target.source,
    )
