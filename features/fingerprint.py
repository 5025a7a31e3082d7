"""What a result depends on, as a digest: the code that makes it and the files it is made from."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any


def digest(*parts: str) -> str:
    """One digest of several texts; their borders count."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part.encode()).digest())
    return total.hexdigest()


def of_code(thing: Any) -> str:
    """Digest of the module that defines `thing` and of all modules of this package that it uses, and they use."""
    home = inspect.getmodule(thing)
    found: dict[str, ModuleType] = {}
    waiting = [home] if home else []
    while waiting:
        module = waiting.pop()
        if module.__name__ not in found:
            found[module.__name__] = module
            waiting += [used for used in map(_module, vars(module).values()) if used and _ours(used)]
    return digest(*(inspect.getsource(found[name]) for name in sorted(found)))


def of_files(folder: Path) -> str:
    """Digest of the names and contents of all files below `folder`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    contents = (hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    return digest(*(f"{file.relative_to(folder)} {content}" for file, content in zip(files, contents, strict=True)))


def of_names(files: Iterable[Path]) -> str:
    """Digest of names and sizes: enough for files that are written once, and named by content or replaced whole."""
    return digest(*(f"{file.parent.name}/{file.name} {file.stat().st_size}" for file in sorted(files)))


def _module(thing: Any) -> ModuleType | None:
    if isinstance(thing, ModuleType):
        return thing
    return sys.modules.get(getattr(thing, "__module__", None) or "")


def _ours(module: ModuleType) -> bool:
    return module.__name__.partition(".")[0] == __name__.partition(".")[0]
