"""Public data sets: the manifest `datasets.yaml`, and how a set gets here: mirror, else cache, else download.

    mirror    `AIOPS_DATA` (a folder of folders named as the sets), else `../shared/data` beside the checkout
    cache     `<home>/cache/<set>`
    download  the published files, at a pinned commit, resumed when cut off and checked before they take their name

Whatever the way, every file's sha256 must be the published one: a wrong one is an error, never worked around. A set
that can be had nowhere is replaced by its stand-in of the demo world, and says so: its entry is `synthetic`.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Literal

import httpx
import yaml
from pydantic import BaseModel, ConfigDict

from features import demo, lake
from infra.errors import DataError, NotFound
from infra.settings import ROOT, settings

Progress = Callable[[str], None]
_BLOCK = 1 << 20
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)


class Unreachable(DataError):
    """Neither mirror nor cache holds the set, and its address cannot be reached."""


class Dataset(BaseModel):
    """One entry of the manifest. `files`: path below `base` → sha256 of the published bytes.

    Without `base` the set was derived from public records and is published nowhere: a mirror has it, or the stand-in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    title: str
    base: str = ""
    licence: str
    citation: str
    origin: Literal["observed", "simulated", "generated"]  # generated: this project's demo world
    stored: Literal["plain", "gzip"] = "plain"
    files: dict[str, str]
    renamed: dict[str, str] = {}  # path → where below `base` it is published, when that is another path

    @property
    def synthetic(self) -> bool:
        """True for the demo world: results on it say nothing about the real set."""
        return self.origin == "generated"

    def address(self, path: str) -> str:
        """Where file `path` is published."""
        return self.base + self.renamed.get(path, path)

    def local(self, path: str) -> str:
        """Where the published file `path` lies in the set's folder."""
        return path + ".gz" if self.stored == "gzip" else path


def catalogue() -> dict[str, Dataset]:
    """The manifest, by name; a set whose stand-in is in use, here or in the lake, is marked `generated`."""
    return {name: _as_used(dataset) for name, dataset in _manifest().items()}


@lru_cache
def _manifest() -> dict[str, Dataset]:
    content = yaml.safe_load((Path(__file__).parent / "datasets.yaml").read_text())
    return {name: Dataset(name=name, **entry) for name, entry in content.items()}


def _as_used(dataset: Dataset) -> Dataset:
    name = dataset.name
    nowhere = demo.made(name) and _mirrored(name) is None and not _cached(dataset)
    return dataset.model_copy(update={"origin": "generated"}) if nowhere or lake.synthetic(name) else dataset


def get(name: str) -> Dataset:
    """The entry of set `name`. Raises NotFound with the choices."""
    if name not in _manifest():
        raise NotFound("data set", name, _manifest())
    return _as_used(_manifest()[name])


def fetch(name: str, progress: Progress | None = None) -> Path:
    """The folder of set `name`, complete and verified; of its stand-in when the set can be had nowhere.

    Raises DataError naming the file whose checksum is wrong, or an address that does not answer with the file.
    """
    dataset, tell = get(name), progress or (lambda _: None)
    folder = _mirrored(name)
    if folder is None:
        folder = _cache(name)
        missing = [path for path in dataset.files if not (folder / dataset.local(path)).is_file()]
        try:
            _download(dataset, missing, folder, tell)
        except Unreachable as error:
            tell(f"{error}; going on with SYNTHETIC data")
            return demo.make(name)
    if problems := _problems(dataset, folder):
        raise DataError(f"data set {name} in {folder}: {'; '.join(problems)}; replace or delete what is wrong")
    tell(f"{name}: {len(dataset.files)} files verified in {folder}")
    return folder


def verify(name: str) -> list[str]:
    """What is wrong with the local copy of set `name`, one text a file; empty when all is well."""
    return _problems(get(name), _mirrored(name) or _cache(name))


def available(name: str) -> Literal["mirror", "cache", "network", "none"]:
    """Where `fetch` would take set `name` from; asks the network only when it must."""
    dataset = get(name)
    if _mirrored(name):
        return "mirror"
    if _cached(dataset):
        return "cache"
    if not dataset.base:
        return "none"
    try:
        answer = httpx.head(dataset.address(next(iter(dataset.files))), timeout=_TIMEOUT, follow_redirects=True)
    except httpx.TransportError:
        return "none"
    return "network" if answer.is_success else "none"


def _mirrored(name: str) -> Path | None:
    """The set's folder in the mirror; `AIOPS_DATA=` (empty) means that there is no mirror."""
    named = os.environ.get("AIOPS_DATA")
    if named == "":
        return None
    root = Path(named) if named else ROOT.parent / "shared" / "data"
    if named and not root.is_dir():
        raise DataError(f"AIOPS_DATA names {root}, which is not a folder; unset it to do without a mirror")
    return root / name if (root / name).is_dir() else None


def _cache(name: str) -> Path:
    return settings().home / "cache" / name


def _cached(dataset: Dataset) -> bool:
    return all((_cache(dataset.name) / dataset.local(path)).is_file() for path in dataset.files)


def _problems(dataset: Dataset, folder: Path) -> list[str]:
    problems = []
    for path, expected in dataset.files.items():
        file = folder / dataset.local(path)
        if not file.is_file():
            problems.append(f"{dataset.local(path)} is missing")
            continue
        try:
            actual = _sha256(file, dataset.stored == "gzip")
        except (OSError, EOFError) as error:
            problems.append(f"{dataset.local(path)} cannot be read: {error}")
            continue
        if actual != expected:
            problems.append(f"{dataset.local(path)} has sha256 {actual}, expected {expected}")
    return problems


def _sha256(file: Path, compressed: bool = False) -> str:
    digest = hashlib.sha256()
    with gzip.open(file) if compressed else file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _download(dataset: Dataset, paths: list[str], folder: Path, tell: Progress) -> None:
    if not paths:
        return
    if not dataset.base:
        raise Unreachable(
            f"data set {dataset.name}: no mirror and not in the cache, and it is published nowhere; "
            f"set AIOPS_DATA to a folder that holds {dataset.name}/"
        )
    with httpx.Client(timeout=_TIMEOUT, follow_redirects=True, headers={"Accept-Encoding": "identity"}) as client:
        for number, path in enumerate(paths, 1):
            tell(f"{dataset.name}: downloading {path} ({number} of {len(paths)})")
            target = folder / dataset.local(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(target.name + ".part")
            try:
                _receive(client, dataset.address(path), part)
            except httpx.TransportError as error:
                raise Unreachable(
                    f"data set {dataset.name}: no mirror, not in the cache, and {dataset.address(path)} cannot be "
                    f"reached ({type(error).__name__}: {error}); set AIOPS_DATA to a folder that holds {dataset.name}/"
                ) from None
            if (actual := _sha256(part)) != dataset.files[path]:
                part.unlink()
                raise DataError(
                    f"{dataset.address(path)} has sha256 {actual}, expected {dataset.files[path]}; it was not kept"
                )
            _store(part, target, dataset.stored == "gzip")


def _receive(client: httpx.Client, address: str, part: Path) -> None:
    """Append to `part` what is missing of `address`. Raises DataError for an answer other than the file."""
    have = part.stat().st_size if part.exists() else 0
    with client.stream("GET", address, headers={"Range": f"bytes={have}-"} if have else {}) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is missing; the checksum decides
        if not answer.is_success:
            raise DataError(f"{address} answered {answer.status_code} {answer.reason_phrase}; expected the file")
        resumed = answer.status_code == httpx.codes.PARTIAL_CONTENT
        with part.open("ab" if resumed else "wb") as stream:
            for block in answer.iter_bytes(_BLOCK):
                stream.write(block)


def _store(part: Path, target: Path, compress: bool) -> None:
    """Give the checked file its name in one step, compressed (without a date, so that bytes repeat) where asked."""
    if compress:
        packed = target.with_name(target.name + ".packed")
        with part.open("rb") as raw, packed.open("wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=0) as stream:
            shutil.copyfileobj(raw, stream, _BLOCK)
        packed.replace(target)
        part.unlink()
        return
    part.replace(target)
