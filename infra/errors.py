"""The exception tree.

AiopsError
├── UserError            the user can mend it; the text says what is wrong, where, and what would be right
│   ├── SettingsError    a key or value of aiops.yaml
│   ├── DataError        a file, a checksum, a column, a row
│   └── NotFound         a name that is not there; the text lists the choices
├── StaleFeature         a feature is older than its time to live and is refused, not served
└── PluginError          a plugin file does not import or does not hold what its folder asks for
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AiopsError(Exception):
    """Root of every error this program raises on purpose."""


class UserError(AiopsError):
    """Something the user can mend; command line: exit code 2, API: 4xx."""


class SettingsError(UserError):
    """A wrong key or value in the settings file or the environment."""


class DataError(UserError):
    """A wrong file, checksum, column or row; names which one."""


class NotFound(UserError):
    """A name that does not exist; says which names do."""

    def __init__(self, kind: str, name: str, choices: Iterable[str]) -> None:
        names = sorted(choices)
        super().__init__(f"no {kind} named {name!r}{nearest(name, names)}; choose from: {', '.join(names) or '(none)'}")


class StaleFeature(AiopsError):
    """A feature row is older than its view's time to live (Feast does not enforce it online)."""


class PluginError(AiopsError):
    """A plugin file is broken; the process must not go on without it."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the closest of `choices`, or an empty string."""
    close = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
