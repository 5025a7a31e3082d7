"""The manifest, and where a set comes from."""

from __future__ import annotations

import gzip
import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from features import datasets, demo
from infra.errors import DataError, NotFound
from infra.settings import ROOT

CONTENT = {"a.csv": b"x,y\n" + b"1,2\n" * 5000, "deep/b.csv": b"hello\n"}
MIRROR = ROOT.parent / "shared" / "data"


class Publisher(ThreadingHTTPServer):
    """Serves CONTENT with ranges; remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.content = dict(CONTENT)
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Publisher

    def do_GET(self) -> None:
        path, wanted = self.path.lstrip("/"), self.headers["Range"]
        self.server.asked.append((path, wanted))
        body = self.server.content.get(path)
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(404 if body is None else 206 if wanted else 200)
        self.send_header("Content-Length", str(len(body or b"") - first))
        self.end_headers()
        self.wfile.write((body or b"")[first:])

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def manifest(home: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> dict[str, datasets.Dataset]:
    """Two sets at a publisher of our own, and no mirror."""
    files = {path: hashlib.sha256(content).hexdigest() for path, content in CONTENT.items()}
    facts = {"title": "t", "licence": "MIT", "citation": "c", "origin": "observed", "files": files}
    base = f"http://127.0.0.1:{publisher.server_port}/"
    entries = {
        "plain": datasets.Dataset(name="plain", base=base, **facts),
        "packed": datasets.Dataset(name="packed", base=base, stored="gzip", **facts),
        "renamed": datasets.Dataset(
            name="renamed",
            base=base,
            **{**facts, "files": {"b.csv": files["deep/b.csv"]}, "renamed": {"b.csv": "deep/b.csv"}},
        ),
        "iranian_churn": datasets.Dataset(name="iranian_churn", base="http://127.0.0.1:1/", **facts),
    }
    monkeypatch.setattr(datasets, "_manifest", lambda: entries)
    monkeypatch.setenv("AIOPS_DATA", "")
    return entries


def test_every_entry_is_pinned_and_has_checksums() -> None:
    assert len(datasets.catalogue()) >= 5
    for entry in datasets.catalogue().values():
        derived = not entry.base and "published nowhere" in entry.title
        addresses = [entry.address(path) for path in entry.files]
        assert derived or all(re.match(r"https://[^ ]+/[0-9a-f]{40}/", each) for each in addresses), entry.name
        assert entry.files and all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in entry.files.values())
        assert entry.licence and entry.citation


@pytest.mark.skipif(not MIRROR.is_dir(), reason="no mirror of the public sets beside the checkout")
def test_the_mirror_holds_what_the_manifest_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOPS_DATA", str(MIRROR))
    assert {name: datasets.verify(name) for name in datasets.catalogue()} == {n: [] for n in datasets.catalogue()}
    assert {datasets.available(name) for name in datasets.catalogue()} == {"mirror"}


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="did you mean 'smd_servers'"):
        datasets.fetch("smd_server")


def test_download_then_cache(manifest: dict[str, datasets.Dataset], publisher: Publisher) -> None:
    del manifest
    folder = datasets.fetch("plain")
    assert {path: (folder / path).read_bytes() for path in CONTENT} == CONTENT
    asked = len(publisher.asked)
    assert datasets.fetch("plain") == folder
    assert len(publisher.asked) == asked == 2
    assert datasets.available("plain") == "cache"


def test_a_file_may_be_published_under_another_path(
    manifest: dict[str, datasets.Dataset], publisher: Publisher
) -> None:
    del manifest
    assert (datasets.fetch("renamed") / "b.csv").read_bytes() == CONTENT["deep/b.csv"]
    assert publisher.asked == [("deep/b.csv", None)]


def test_a_cut_off_download_goes_on_where_it_stopped(
    manifest: dict[str, datasets.Dataset], publisher: Publisher, home: Path
) -> None:
    del manifest
    part = home / "cache" / "plain" / "a.csv.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT["a.csv"][:7000])
    folder = datasets.fetch("plain")
    assert ("a.csv", "bytes=7000-") in publisher.asked
    assert (folder / "a.csv").read_bytes() == CONTENT["a.csv"]
    assert not list(folder.rglob("*.part"))


def test_a_packed_set_is_kept_packed_and_checked_by_content(manifest: dict[str, datasets.Dataset]) -> None:
    del manifest
    folder = datasets.fetch("packed")
    assert gzip.decompress((folder / "a.csv.gz").read_bytes()) == CONTENT["a.csv"]
    assert datasets.verify("packed") == []
    (folder / "a.csv.gz").write_bytes(gzip.compress(b"other"))
    assert "a.csv.gz has sha256" in datasets.verify("packed")[0]
    (folder / "a.csv.gz").write_bytes(b"no gzip")
    assert "a.csv.gz cannot be read" in datasets.verify("packed")[0]


def test_wrong_content_is_refused_and_not_kept(manifest: dict[str, datasets.Dataset], publisher: Publisher) -> None:
    del manifest
    publisher.content["a.csv"] = b"changed by somebody"
    with pytest.raises(DataError, match=r"a\.csv has sha256 .* expected"):
        datasets.fetch("plain")
    publisher.content["a.csv"] = CONTENT["a.csv"]
    assert datasets.verify("plain") == ["a.csv is missing", "deep/b.csv is missing"]
    assert datasets.verify("plain") and datasets.fetch("plain")


def test_a_wrong_file_in_the_mirror_is_an_error_that_names_it(
    manifest: dict[str, datasets.Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del manifest
    for path in CONTENT:
        file = tmp_path / "mirror" / "plain" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"wrong" if path == "a.csv" else CONTENT[path])
    monkeypatch.setenv("AIOPS_DATA", str(tmp_path / "mirror"))
    with pytest.raises(DataError, match=r"a\.csv has sha256"):
        datasets.fetch("plain")


def test_a_missing_address_is_an_error_and_no_reason_for_the_demo_world(
    manifest: dict[str, datasets.Dataset], publisher: Publisher
) -> None:
    del manifest
    del publisher.content["a.csv"]
    with pytest.raises(DataError, match="answered 404"):
        datasets.fetch("plain")


def test_without_mirror_and_network_the_stand_in_says_that_it_is_synthetic(
    manifest: dict[str, datasets.Dataset],
) -> None:
    assert not manifest["iranian_churn"].synthetic
    assert datasets.available("iranian_churn") == "none"
    told: list[str] = []
    folder = datasets.fetch("iranian_churn", told.append)
    assert folder == demo.folder("iranian_churn") and (folder / "Customer_Churn.csv").is_file()
    assert "SYNTHETIC" in told[-1]
    assert datasets.catalogue()["iranian_churn"].synthetic and not datasets.catalogue()["plain"].synthetic
