"""A unified diff, a folder or a file → changed files with their whole content before and after."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from features.iac import FileChange
from infra.errors import DataError

SUFFIXES = (".diff", ".patch")
SOURCES = (".tf", ".yaml", ".yml", ".template")  # a lone .json file is taken for rows
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_LARGEST = 200_000  # bytes of a file, as in the learnt history


@dataclass
class _Patch:
    old: str
    new: str
    hunks: list[tuple[int, int, list[str]]] = field(default_factory=list)  # first line before, after; lines


def readable(place: Path) -> bool:
    """Whether `read` takes `place`: a diff, a folder, or a file of infrastructure code."""
    return place.is_dir() or place.suffix in (*SUFFIXES, *SOURCES)


def read(place: Path, root: Path) -> list[FileChange]:
    """The changes of a diff over the files below `root` (with or without the diff applied), or a folder or file as new.

    Deleted files are left out. Raises DataError naming the files that do not fit or are larger than what was learnt
    from: a file that nobody judges must not pass for one without findings.
    """
    try:
        if place.suffix in SUFFIXES:
            return list(_changed(_patches(place.read_text()), root, place))
        files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
        files = [path for path in files if path.suffix in (*SOURCES, ".json")]
        if large := [str(path) for path in files if path.suffix in SOURCES and path.stat().st_size > _LARGEST]:
            raise DataError(
                f"larger than {_LARGEST} bytes, so nobody judges them: {', '.join(large)}; give a diff, or the others"
            )
        base = place if place.is_dir() else place.parent
        return [
            FileChange(path.relative_to(base).as_posix(), None, path.read_text())
            for path in files
            if path.stat().st_size <= _LARGEST
        ]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{place} cannot be read: {error}") from None


def _patches(text: str) -> list[_Patch]:
    found: list[_Patch] = []
    lines = iter(text.splitlines())
    old = ""
    for line in lines:
        if line.startswith("--- "):
            old = _name(line)
        elif line.startswith("+++ "):
            found.append(_Patch(old, _name(line)))
        elif (head := _HUNK.match(line)) and found:
            body = _body(lines, int(head[2] or 1), int(head[4] or 1))
            found[-1].hunks.append((int(head[1]), int(head[3]), body))
    return found


def _name(line: str) -> str:
    name = line[4:].split("\t")[0].strip()
    return name if name == "/dev/null" else re.sub(r"^[abciow]/", "", name)


def _body(lines: Iterator[str], old: int, new: int) -> list[str]:
    body = []
    while old > 0 or new > 0:
        line = next(lines, None)
        if line is None:
            raise DataError("the diff ends within a hunk; give it whole")
        if not line.startswith("\\"):
            old -= line[:1] != "+"
            new -= line[:1] != "-"
            body.append(line or " ")
    return body


def _changed(patches: list[_Patch], root: Path, place: Path) -> Iterator[FileChange]:
    if not patches:
        raise DataError(f"{place} holds no unified diff; make one with `git diff`")
    for patch in patches:
        if patch.new == "/dev/null":
            continue
        if patch.old == "/dev/null":
            yield FileChange(patch.new, None, "".join(f"{line[1:]}\n" for *_, body in patch.hunks for line in body))
            continue
        yield FileChange(patch.new, *_sides(patch, root, place))


def _sides(patch: _Patch, root: Path, place: Path) -> tuple[str, str]:
    """The file before and after: the one that lies below `root`, and the other made from it."""
    inside = (root / name for name in (patch.new, patch.old) if (root / name).resolve().is_relative_to(root.resolve()))
    file = next((file for file in inside if file.is_file()), None)
    if file is None:  # a diff is written by others: it names no file beside the repository
        raise DataError(f"{place} changes {patch.old}, which is not below {root}; run it in the repository's folder")
    text = file.read_text()
    if (after := _applied(text, patch, "+")) is not None:
        return text, after
    if (before := _applied(text, patch, "-")) is not None:
        return before, text
    raise DataError(f"{place} does not fit {file}: it is neither the old nor the new content")


def _applied(text: str, patch: _Patch, gives: str) -> str | None:
    """`text` with the lines marked `gives` put in and those with the other mark taken out; None if it does not fit."""
    lines, made, at = text.splitlines(), [], 0
    for first_old, first_new, body in patch.hunks:
        takes = [line[1:] for line in body if line[0] != gives]
        first = first_old if gives == "+" else first_new
        start = first - 1 if takes else first  # an empty side is named by the line before it
        if lines[start : start + len(takes)] != takes:
            return None
        made += lines[at:start] + [line[1:] for line in body if line[0] in (" ", gives)]
        at = start + len(takes)
    return "".join(f"{line}\n" for line in made + lines[at:])
