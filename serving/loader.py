"""Follows the registry: loads a new version beside the old one, warms it up, swaps it in; a broken one is never served.

One thread writes, requests only read; a slot is replaced whole, so a request sees the old version or the new one.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, final

from pydantic import TypeAdapter

from infra.errors import DataError
from serving.examples import example
from serving.messages import Alias
from training.model import Model

if TYPE_CHECKING:
    from training.registry import Version

ALIASES: tuple[Alias, ...] = ("champion", "challenger")  # in order of preference
INTERVAL = 3.0  # seconds between two looks at the registry
LONGEST_WAIT = 300.0  # seconds between two attempts at the same broken version
Kinds = Mapping[str, type[Model]]
_log = logging.getLogger(__name__)


class Registry(Protocol):
    """What is needed of `training.registry`."""

    def current(self, name: str, alias: Alias = ...) -> Version | None: ...

    def load(self, name: str, alias: Alias = ...) -> tuple[Model, Version]: ...

    def metrics(self, version: Version) -> dict[str, float]: ...


@final
@dataclass(frozen=True)
class Served:
    """One loaded version; `figures`: what was measured when it was trained."""

    model: Model
    version: Version
    alias: Alias
    figures: Mapping[str, float]
    loaded_at: datetime
    load_seconds: float

    @property
    def synthetic(self) -> bool:
        """Trained on generated data."""
        return self.version.tags.get("synthetic") == "yes"


@dataclass(frozen=True)
class Slot:
    """What is served for one model; `problem` says why nothing, or not the newest version, is."""

    served: Served | None = None
    problem: str | None = "the registry has not been asked yet"
    trained_at: datetime | None = None  # the newest version with an alias, served or not
    swaps: int = 0
    refusals: int = 0


@dataclass(frozen=True)
class _Attempt:
    """The last failed attempt: which version, how long to leave it alone (doubled each time), until when."""

    number: int
    wait: float
    until: float  # monotonic clock

    @classmethod
    def after(cls, last: _Attempt | None, number: int, interval: float) -> _Attempt:
        """The attempt that failed just now; `last` is the one before it."""
        wait = min(2 * last.wait, LONGEST_WAIT) if last and last.number == number else interval
        return cls(number, wait, time.monotonic() + wait)


class Loader:
    """Keeps one slot per model of `kinds`. `connect` gives the registry; the thread calls it, for it imports MLflow."""

    def __init__(self, kinds: Kinds, connect: Callable[[], Registry], interval: float = INTERVAL) -> None:
        self._kinds = kinds
        self._slots = {name: Slot() for name in kinds}
        self._failed: dict[str, _Attempt] = {}
        self._connect, self._interval = connect, interval
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="loader", daemon=True)

    def slots(self) -> Mapping[str, Slot]:
        """Every model's slot, as of now."""
        return MappingProxyType(self._slots)

    @property
    def ready(self) -> bool:
        """Every model has a version loaded."""
        return all(slot.served for slot in self._slots.values())

    def start(self) -> None:
        """Follow the registry from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following; a load that is under way is left behind."""
        self._stopping.set()

    def refresh(self) -> None:
        """Look once at every model."""
        for name in self._slots:
            try:
                self._look(name, self._connect())
            except Exception as error:  # whatever a registry or a version does, the others must be looked at
                self._blame(name, f"the registry cannot be read: {_text(error)}", error)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            before = {name: slot.swaps for name, slot in self._slots.items()}
            self.refresh()
            if before != {name: slot.swaps for name, slot in self._slots.items()}:
                _settle()
            self._stopping.wait(self._interval)

    def _look(self, name: str, registry: Registry) -> None:
        found = {alias: version for alias in ALIASES if (version := registry.current(name, alias))}
        if not found:
            self._blame(name, f"no version of {name} has an alias; train it with `aiops train {name}`")
            return
        alias, version = next(iter(found.items()))
        slot = replace(self._slots[name], trained_at=max(v.created for v in found.values()))
        if slot.served and slot.served.version.number == version.number:
            self._slots[name] = replace(slot, served=replace(slot.served, version=version, alias=alias), problem=None)
        elif self._due(name, version.number):
            self._slots[name] = slot
            self._try(name, alias, version.number, registry)

    def _due(self, name: str, number: int) -> bool:
        last = self._failed.get(name)
        return last is None or last.number != number or time.monotonic() >= last.until

    def _try(self, name: str, alias: Alias, number: int, registry: Registry) -> None:
        slot = self._slots[name]
        try:
            served = _load(self._kinds[name], name, alias, registry)
        except Exception as error:  # a version may be broken in any way; the old one keeps serving
            self._failed[name] = _Attempt.after(self._failed.get(name), number, self._interval)
            self._slots[name] = replace(slot, refusals=slot.refusals + 1)
            self._blame(name, f"version {number} ({alias}) is refused: {_text(error)}", error)
            return
        self._slots[name] = replace(slot, served=served, problem=None, swaps=slot.swaps + 1)
        self._failed.pop(name, None)
        fields = {"model": name, "version": served.version.number, "alias": alias, "seconds": served.load_seconds}
        _log.info("loaded", extra={"fields": fields})

    def _blame(self, name: str, problem: str, error: Exception | None = None) -> None:
        """Keep what is served and say why it is not more; the log says it once."""
        slot = self._slots[name]
        if slot.problem != problem:
            _log.warning(f"{name}: {problem}", exc_info=error)
        self._slots[name] = replace(slot, problem=problem)


def _load(kind: type[Model], name: str, alias: Alias, registry: Registry) -> Served:
    start = time.perf_counter()
    model, version = registry.load(name, alias)
    if not isinstance(model, kind):
        raise DataError(f"it holds a {type(model).__name__}, not a {kind.__name__}")
    _warm_up(model)
    seconds = round(time.perf_counter() - start, 3)
    return Served(model, version, alias, registry.metrics(version), datetime.now(UTC), seconds)


def _warm_up(model: Model) -> None:
    """Answer an example as a request would, explanations included. Raises what a request would."""
    row = example(model.spec.row)
    if row is None:
        _log.warning(f"{model.name()}: swapped in untried; {model.spec.row.__name__} gives no example")
        return
    answers = model.predict([row])
    with suppress(NotImplementedError):  # the contract allows learners without explanations
        answers = model.predict([row], explain=True)
    if len(answers) != 1:
        raise DataError(f"it gives {len(answers)} answers for one row")
    TypeAdapter(model.spec.answer).validate_python(answers[0].model_dump())


def _settle() -> None:
    """Take what is loaded out of the collector's rounds: a full round over all models takes 300 ms and more."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
