"""Settings: `infra/aiops.yaml` read once, typed, with durations (`30s`, `7d`) and `${VAR}` understood.

Order of precedence: environment (`AIOPS__REMEDIATION__ENABLED=false`), the file named by `AIOPS_CONFIG`
(default: `infra/aiops.yaml` of the checkout), the defaults below. An unknown key, in the file or in the environment,
is an error that names the nearest one.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import pydantic_settings
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from infra.errors import SettingsError, nearest

ROOT = Path(__file__).resolve().parents[1]
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_duration(value: Any) -> Any:
    """Turn `30s`, `1.5h`, `7d` (units ms s m h d w) into a timedelta; all else passes through to pydantic.

    So does ISO 8601 (`P2D`): that is how pydantic writes a duration, and what was written must be readable.
    """
    if not isinstance(value, str) or value.startswith("P"):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*", value)
    if not match:
        raise ValueError(f"{value!r} is not a duration; write a number and a unit, for example 30s, 15m, 48h or 7d")
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def _absolute(path: Path) -> Path:
    """A relative path counts from the checkout, so that every process means the same folder."""
    return (ROOT / path.expanduser()).resolve()


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Port = Annotated[int, Field(ge=1, le=65535)]
Share = Annotated[float, Field(gt=0, le=1)]


class Section(BaseModel):
    """A part of the settings: read-only, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Ingestion(Section):
    metrics_interval: Duration = timedelta(seconds=30)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    trace_sampling: Annotated[float, Field(ge=0, le=1)] = 0.1


class ModelSettings(BaseModel):
    """One model's entry; keys beyond these are that model's own options, checked by `training.catalog`."""

    model_config = ConfigDict(extra="allow", frozen=True)
    enabled: bool = True
    retrain_interval: Duration = timedelta(days=7)


class Rule(Section):
    """If a diagnosis names `cause` with at least `confidence`, take the first action of `actions` that is allowed."""

    cause: str
    confidence: Share = 0.5
    actions: tuple[str, ...]


class BlastRadius(Section):
    """One cluster and namespace, and at most this share of a service's replicas at once."""

    cluster: str = "local"
    namespace: str = "workload"
    max_share: Share = 0.5


class Health(Section):
    """What a healthy instance of the workload looks like, and how often a bad look must repeat to be believed."""

    interval: Duration = timedelta(seconds=1)
    timeout: Duration = timedelta(seconds=1.5)
    failures: Annotated[int, Field(ge=1)] = 2
    of: Annotated[int, Field(ge=1)] = 3
    max_latency: Duration = timedelta(milliseconds=300)
    max_memory_mib: Annotated[float, Field(gt=0)] = 128
    verify_successes: Annotated[int, Field(ge=1)] = 3
    verify_timeout: Duration = timedelta(seconds=10)


class Service(Section):
    """A service that is not the stack's own; which keys its instances have is said by `remediation/systems/<kind>.py`.

    What is written here is all that an action on it may use: addresses, bounds, commands.
    """

    kind: str
    cluster: str = "local"
    namespace: str = "workload"
    # names of services, of this list or of the workload, that it calls
    depends_on: tuple[str, ...] = ()
    # by instance name; not shown with the settings, because secrets are among the values
    instances: Annotated[dict[str, dict[str, Any]], Field(min_length=1, repr=False)]


class Remediation(Section):
    enabled: bool = True
    approval_required: bool = False
    approval_timeout: Duration = timedelta(minutes=30)
    rollback_enabled: bool = True
    max_actions_per_minute: Annotated[int, Field(ge=1)] = 10
    circuit_breaker_threshold: Share = 0.8
    max_actions_per_incident: Annotated[int, Field(ge=1)] = 5
    feature_max_age: Duration = timedelta(seconds=60)
    # the breaker counts this many newest outcomes, at least so many; open, it lets one probe through after a while
    circuit_breaker_window: Annotated[int, Field(ge=1)] = 20
    circuit_breaker_min_outcomes: Annotated[int, Field(ge=1)] = 5
    circuit_breaker_cooldown: Duration = timedelta(minutes=5)
    # the wait before the second attempt of an incident; doubles with each further one
    retry_backoff: Duration = timedelta(milliseconds=500)
    # how long a claim outlives a silent owner on another host (a dead process on this host loses it at once)
    lease: Duration = timedelta(minutes=2)
    # the kernel's store; empty: kernel.db below `home`
    database_url: SecretStr | None = None
    health: Health = Health()
    blast_radius: BlastRadius = BlastRadius()
    # what else there is to repair, by name
    services: dict[str, Service] = {}
    # true: allowed; false: only with approval; absent: refused
    actions: dict[str, bool] = {}
    rules: tuple[Rule, ...] = ()


class Notifications(Section):
    """Where people are told what happens; a channel without its key is off. The log is always one."""

    slack_webhook: SecretStr | None = None
    pagerduty_key: SecretStr | None = None
    # Europe: https://events.eu.pagerduty.com
    pagerduty_url: str = "https://events.pagerduty.com"
    # with commas between them
    email_recipients: str | None = None
    email_sender: str = "aiops@localhost"
    # smtp, smtp+starttls or smtps://user:password@host:port
    smtp_url: SecretStr = SecretStr("smtp://127.0.0.1:25")


class Ports(Section):
    prefect: Port = 4200
    worker: Port = 4201
    mlflow: Port = 5000
    api: Port = 8100
    watcher: Port = 8101
    workload: Port = 8200

    @model_validator(mode="after")
    def _differ(self) -> Self:
        ports = list(self.model_dump().values())
        if twice := sorted({port for port in ports if ports.count(port) > 1}):
            raise ValueError(f"port {twice[0]} is given to more than one part; each needs a port of its own")
        return self


def _loopback(host: str) -> str:
    """Nothing here asks for credentials, and Prefect runs what it is told: no part may be open to other machines."""
    with suppress(ValueError):
        if IPv4Address(host).is_loopback:
            return host
    raise ValueError(
        f"{host!r} is not a loopback address (127.0.0.0/8): no part asks who calls, so none is open to other machines; "
        "put a proxy that does in front of what they need"
    )


class Stack(Section):
    """Where the parts listen; stacks with other ports, or other loopback addresses, run side by side."""

    host: Annotated[str, AfterValidator(_loopback)] = "127.0.0.1"
    ports: Ports = Ports()


class Settings(BaseSettings):
    """The whole of `aiops.yaml`; see SPEC section 5 for the meaning of each key."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix="AIOPS__",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )
    enabled: bool = True
    home: Annotated[Path, AfterValidator(_absolute)] = ROOT / ".aiops"
    ingestion: Ingestion = Ingestion()
    models: dict[str, ModelSettings] = {}
    remediation: Remediation = Remediation()
    notifications: Notifications = Notifications()
    stack: Stack = Stack()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, InitSettingsSource(settings_cls, _read(config_file()))

    def url(self, part: Literal["prefect", "worker", "mlflow", "api", "workload"]) -> str:
        """Base address of one part of the stack, without a trailing slash."""
        return f"http://{self.stack.host}:{getattr(self.stack.ports, part)}"


def config_file() -> Path:
    """The settings file in force."""
    return Path(os.environ.get("AIOPS_CONFIG", ROOT / "infra" / "aiops.yaml"))


@lru_cache
def settings() -> Settings:
    """The settings of this process, read once. Raises SettingsError: the key, its place, the nearest right one."""
    _check_environment()
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("; ".join(_problem(dict(e)) for e in error.errors())) from None
    except pydantic_settings.SettingsError as error:  # a whole section in one variable, and not JSON
        raise SettingsError(f"{error}; name one key, such as AIOPS__STACK__HOST, or give a section as JSON") from None


def _check_environment() -> None:
    """Refuse `AIOPS__REMEDIATON__...`: pydantic-settings ignores variables that match no section."""
    prefix, known = Settings.model_config.get("env_prefix", ""), Settings.model_fields
    for variable in os.environ:
        section = variable.upper().removeprefix(prefix).split("__")[0].lower()
        if variable.upper().startswith(prefix) and section not in known:
            raise SettingsError(
                f"{variable} in the environment: no section {section!r}{nearest(section, known)}; "
                f"known: {', '.join(sorted(known))}"
            )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise SettingsError(f"no settings file at {path}; set AIOPS_CONFIG to an existing file") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict) or set(content) != {"aiops"} or not isinstance(content["aiops"], dict):
        raise SettingsError(f"{path} must have exactly one root key, `aiops:`, holding a mapping")
    return {key: _expand(value) for key, value in content["aiops"].items()}


def _expand(value: Any) -> Any:
    """Replace `${VAR}` and `${VAR:-default}` by the environment; a text that is only an unset `${VAR}` is null.

    Raises SettingsError for an unset variable amid other text: half an address is worse than none.
    """
    if isinstance(value, dict):
        return {key: _expand(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item) for item in value]
    if not isinstance(value, str):
        return value
    if not (unset := [m[1] for m in _VARIABLE.finditer(value) if m[2] is None and not os.environ.get(m[1])]):
        return _VARIABLE.sub(lambda m: os.environ.get(m[1]) or m[2], value) or (None if value else value)
    if not _VARIABLE.fullmatch(value):
        raise SettingsError(f"{config_file()}: {value!r} needs the environment variable {unset[0]}, which is not set")
    return None


def _problem(error: dict[str, Any]) -> str:
    keys = [str(part) for part in error["loc"]]
    where = f"{'.'.join(['aiops', *keys])} in {_origin(keys)}"
    if error["type"] != "extra_forbidden":
        return f"{where}: {error['msg'].removeprefix('Value error, ')}"
    choices = _known_keys(error["loc"][:-1])
    return f"{where}: unknown key{nearest(keys[-1], choices)}; known here: {', '.join(sorted(choices))}"


def _origin(keys: list[str]) -> str:
    """The environment variable that gives this key, or the settings file."""
    full = "__".join(["AIOPS", *keys]).upper() + "__"
    given = (name for name in os.environ if name.upper().startswith("AIOPS__"))
    return next((name for name in given if _nested(full, f"{name.upper()}__")), str(config_file()))


def _nested(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _known_keys(loc: tuple[str | int, ...]) -> list[str]:
    known: type[BaseModel] | None = Settings
    for part in loc:
        # the n-th of a list or the key of a mapping: its section was found with the name of the whole
        if isinstance(part, int) or known is None or part not in known.model_fields:
            continue
        annotation = known.model_fields[part].annotation
        known = next((t for t in (annotation, *get_args(annotation)) if _is_section(t)), None)
    return list(known.model_fields) if known else []


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
