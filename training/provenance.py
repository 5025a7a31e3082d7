"""Where a model came from: the commit, the data's digest, and what must be installed to run it."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from infra.settings import ROOT
from training import checks

PACKAGES = ("infra", "features", "training")


def git_sha() -> str:
    """The commit of the code, `-dirty` appended when tracked files differ from it; `unknown` outside a checkout."""
    try:
        sha = _git("rev-parse", "HEAD")
        return f"{sha}-dirty" if _git("status", "--porcelain", "--untracked-files=no") else sha
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def digest(frame: pd.DataFrame) -> str:
    """Sixteen hex digits that change with any value of `frame`, not with its row order."""
    hashed = hashlib.sha256("\n".join(map(str, sorted(frame.columns))).encode())
    content = checks.content(frame[sorted(frame.columns)])
    content.sort()
    hashed.update(content.tobytes())
    return hashed.hexdigest()[:16]


def requirements(modules: Iterable[str]) -> list[str]:
    """`name==version` of every distribution that `modules`, or modules of ours that they import, import anywhere.

    Imports inside functions count: that is where learners import their frameworks.
    """
    waiting, seen, foreign = list(modules), set[str](), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or not (file := _source(name)):
            continue
        seen.add(name)
        for imported in _imports(ast.parse(file.read_text()), name):
            top = imported.partition(".")[0]
            if top in PACKAGES:
                waiting += [imported, imported.rpartition(".")[0]]
            elif top not in sys.stdlib_module_names:
                foreign.add(top)
    known = importlib.metadata.packages_distributions()
    names = {distribution for top in foreign for distribution in known.get(top, ())}
    return sorted(f"{name}=={importlib.metadata.version(name)}" for name in names)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


def _source(module: str) -> Path | None:
    try:
        found = importlib.util.find_spec(module) if module else None
    except ModuleNotFoundError:  # `from package.module import name`: the name was taken for a module
        return None
    return Path(found.origin) if found and found.origin and found.origin.endswith(".py") else None


def _imports(tree: ast.AST, module: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = module.rsplit(".", node.level)[0]
                base = f"{parent}.{base}".rstrip(".")
            yield from (f"{base}.{alias.name}" for alias in node.names)
            yield base
