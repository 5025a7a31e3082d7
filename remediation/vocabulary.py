"""The names that `remediation.actions` and the rules may use: the specified actions, and whatever has a file.

A name that is known and has no file yet can be written into the settings; it is reported, and never chosen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from infra.errors import SettingsError, nearest
from infra.settings import Remediation

SPECIFIED = frozenset(
    {
        # pod and container: restart with backoff, drain and reschedule, limits
        *("pod_restart", "pod_drain", "resource_limit_adjustment"),
        # performance: horizontal and vertical autoscaling, caches, queries
        *("pod_scale", "pod_resize", "cache_warming", "query_optimisation"),
        # security
        *("pod_isolation", "credential_rotation", "security_patch", "ip_block"),
        # network
        *("route_failover", "dns_cache_flush", "connection_pool_reset", "circuit_breaker_activation"),
        # database
        *("index_creation", "query_kill", "connection_pool_resize", "backup_promotion"),
        # certificates: renewal 30 days before the end, emergency issuance, validation
        *("certificate_renewal", "certificate_issuance", "certificate_validation"),
        "config_update",
    }
)


def missing(settings: Remediation, installed: Collection[str]) -> tuple[str, ...]:
    """The actions that the settings name and that are not installed, sorted.

    Raises SettingsError for a name that is no action at all.
    """
    known = SPECIFIED | set(installed)
    for name, where in _named(settings):
        if name not in known:
            choices = ", ".join(sorted(known))
            raise SettingsError(f"{where}: no action named {name!r}{nearest(name, known)}; choose from: {choices}")
    return tuple(sorted({name for name, _ in _named(settings)} - set(installed)))


def _named(settings: Remediation) -> Iterable[tuple[str, str]]:
    yield from ((name, "remediation.actions") for name in settings.actions)
    yield from ((name, f"the rule for {rule.cause}") for rule in settings.rules for name in rule.actions)
