"""Plugins are found by file name: a new model, source, action or channel is one new file.

A file that fails to import stops the process: a missing safety check is worse than no start.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import lru_cache
from typing import TypeVar

from infra.errors import NotFound, PluginError

T = TypeVar("T")


@lru_cache
def names(package: str) -> tuple[str, ...]:
    """File names (without `.py`) of the plugins of `package`, sorted; imports none of them."""
    folder = importlib.import_module(package).__path__
    return tuple(sorted(m.name for m in pkgutil.iter_modules(folder) if not m.name.startswith("_")))


def load(package: str, name: str, base: type[T]) -> type[T]:
    """Return the one concrete subclass of `base` defined in `package`/`name`.py.

    Raises NotFound when no such file exists and PluginError when it does not import or holds none or several.
    """
    if name not in names(package):
        raise NotFound(package.rsplit(".", 1)[-1].removesuffix("s"), name, names(package))
    try:
        module = importlib.import_module(f"{package}.{name}")
    except Exception as error:
        raise PluginError(f"{package}/{name}.py does not import: {type(error).__name__}: {error}") from error
    found = [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, base) and cls.__module__ == module.__name__ and not inspect.isabstract(cls)
    ]
    if len(found) != 1:
        raise PluginError(
            f"{package}/{name}.py must define exactly one {base.__name__}, "
            f"it defines {[cls.__name__ for cls in found] or 'none'}"
        )
    return found[0]


def load_all(package: str, base: type[T]) -> dict[str, type[T]]:
    """Return every plugin of `package` by file name."""
    return {name: load(package, name, base) for name in names(package)}
