"""The services that the settings list: an inventory of them, and the base of the actions on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Generic, TypeVar, cast

from pydantic import ValidationError

from infra.errors import NotFound, SettingsError, nearest
from infra.settings import Service, Settings
from remediation.action import Action, P
from remediation.records import Observation, Target
from remediation.system import Options, System, kind

S = TypeVar("S", bound=System[Any])


class ServiceInventory:
    """Implements `remediation.inventory.Inventory` for `remediation.services`.

    Generations are 0: what launched these services is not ours. Actions bind what they found in their parameters
    instead. Raises SettingsError for a wrong kind, a wrong key or a name given twice.
    """

    def __init__(self, settings: Settings) -> None:
        self.services = settings.remediation.services
        self.systems: dict[str, System[Any]] = {}
        for name, service in self.services.items():
            for instance, keys in service.instances.items():
                if instance in self.systems:
                    raise SettingsError(
                        f"remediation.services.{name}: {instance} is an instance of another service too"
                    )
                target = _target(name, service, instance)
                self.systems[instance] = _system(target, service.kind, keys, settings)

    def targets(self) -> Mapping[str, Target]:
        return {name: system.target for name, system in self.systems.items()}

    def dependencies(self) -> Mapping[str, tuple[str, ...]]:
        return {name: service.depends_on for name, service in self.services.items()}

    def observe(self) -> Mapping[str, Observation]:
        with ThreadPoolExecutor(max_workers=max(1, len(self.systems))) as pool:
            looks = pool.map(lambda system: system.observe(), self.systems.values())
            return dict(zip(self.systems, looks, strict=True))

    def system(self, instance: str, cls: type[S]) -> S:
        """The client of one instance. Raises NotFound when there is none of that kind."""
        found = self.systems.get(instance)
        if isinstance(found, cls):
            return found
        choices = [name for name, system in self.systems.items() if isinstance(system, cls)]
        raise NotFound(cls.__name__, instance, choices)


class ServiceAction(Action[P], Generic[P, S]):
    """Base of an action on one kind of service."""

    system: ClassVar[type[System[Any]]]

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.services = ServiceInventory(settings)
        self.health = settings.remediation.health

    def unsuited(self, target: Target) -> str:
        found = self.services.systems.get(target.instance)
        return "" if isinstance(found, self.system) else f"{target.instance} is no {self.system.__name__}"

    def at(self, target: Target) -> S:
        """The client of the target."""
        return cast(S, self.services.system(target.instance, self.system))


def _target(name: str, service: Service, instance: str) -> Target:
    try:
        return Target(
            cluster=service.cluster, namespace=service.namespace, service=name, instance=instance, generation=0
        )
    except ValidationError as error:
        raise SettingsError("; ".join(_problems(f"remediation.services.{name}", error, Target))) from None


def _system(target: Target, name: str, keys: dict[str, Any], settings: Settings) -> System[Any]:
    where = f"remediation.services.{target.service}"
    try:
        cls = kind(name)
    except NotFound as error:
        raise SettingsError(f"{where}.kind: {error}") from None
    try:
        return cls(target, cls.options.model_validate(keys), settings.remediation.health)
    except ValidationError as error:
        problems = _problems(f"{where}.instances.{target.instance}", error, cls.options)
        raise SettingsError("; ".join(problems)) from None


def _problems(where: str, error: ValidationError, model: type[Options] | type[Target]) -> Iterator[str]:
    """Never the value: it may be a secret."""
    known = model.model_fields
    for one in error.errors(include_input=False, include_url=False):
        key = ".".join(str(part) for part in one["loc"])
        if one["type"] == "extra_forbidden":
            yield f"{where}: unknown key {key!r}{nearest(key, known)}; known here: {', '.join(sorted(known))}"
        else:
            yield f"{where}.{key}: {one['msg'].removeprefix('Value error, ')}"
