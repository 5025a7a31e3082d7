"""The models that exist, joined with their entries in `aiops.yaml`."""

from __future__ import annotations

from features import lake
from features.pipeline import Wanted
from infra import plugins
from infra.errors import NotFound
from infra.settings import ModelSettings, settings
from training.model import Model

PACKAGE = "training.models"


def load(name: str) -> type[Model]:
    """The class of model `name`. Raises NotFound with the choices."""
    return plugins.load(PACKAGE, name, Model)  # type: ignore[type-abstract]


def entry(name: str) -> ModelSettings:
    """The settings of model `name`; a model without an entry has the defaults."""
    return settings().models.get(name, ModelSettings())


def make(name: str, profile: str = "default") -> Model:
    """An unfitted model with its options of `aiops.yaml`. Raises SettingsError for an unknown option.

    The profile `full` sets the options that the model's spec calls `thorough`, where `aiops.yaml` says nothing of them.
    """
    kind = load(name)
    return kind({**(kind.spec.thorough if profile == "full" else {}), **(entry(name).model_extra or {})})


def enabled(names: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The asked or all names, less those switched off; checks every entry of the settings against the files.

    Raises NotFound for a name without a file and SettingsError for an option a model does not know.
    """
    known = plugins.names(PACKAGE)
    for name in (*settings().models, *names):
        if name not in known:
            raise NotFound("model", name, known)
    chosen = [name for name in (names or known) if entry(name).enabled]
    for name in chosen:
        make(name)
    return tuple(chosen)


def features(names: tuple[str, ...]) -> Wanted:
    """What `features.pipeline` must bring up to date for the models `names`."""
    specs = {name: load(name).spec for name in names}
    return {
        name: (spec.views, spec.labels, (*spec.datasets, lake.LIVE) if spec.live else spec.datasets)
        for name, spec in specs.items()
    }
