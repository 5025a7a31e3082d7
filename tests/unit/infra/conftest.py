"""A small stack of real processes under a real supervisor, on free ports."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra import processes
from infra.parts import Part
from infra.stack import LocalStack

# Serves from a child process, as servers with workers do; ends at once when a file `broken` lies beside it.
SERVER = """
import http.server, multiprocessing, pathlib, sys
if pathlib.Path(__file__).with_name("broken").exists():
    sys.exit("this part is broken")
def serve(port):
    http.server.ThreadingHTTPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler).serve_forever()
if __name__ == "__main__":
    child = multiprocessing.get_context("fork").Process(target=serve, args=(int(sys.argv[1]),))
    child.start()
    child.join()
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Small:
    """A stack of parts named `one`, `two`, ... and what was told while it worked."""

    def __init__(self, home: Path, code: Path, names: tuple[str, ...] = ("one",), start_timeout: float = 20) -> None:
        self.home, self.code = home, code
        self.ports = {name: free_port() for name in names}
        self.environment = {"AIOPS__STACK__HOST": "127.0.0.1", "PYTHONPATH": str(code)}
        self.start_timeout = start_timeout
        self.told: list[str] = []

    def stack(self, fingerprint: str = "", path: str = "", probe: bool = True) -> LocalStack:
        parts = [self._part(name, path) for name in self.ports]
        parts = parts if probe else [replace(part, probe="") for part in parts]
        return LocalStack(self.home, parts, self.environment, fingerprint)

    def _part(self, name: str, path: str) -> Part:
        address = f"http://127.0.0.1:{self.ports[name]}"
        return Part(
            name,
            f"Part {name}",
            ("small_server", str(self.ports[name])),
            probe=f"{address}/{path}",
            port=self.ports[name],
            address=address,
            start_timeout=self.start_timeout,
            sweep=True,
        )

    def tell(self, subject: str, text: str) -> None:
        self.told.append(f"{subject}: {text}")

    def up(self, **options: Any) -> None:
        self.stack(**options).up(self.tell)

    def pids(self) -> set[int]:
        return {process.pid for _, process in processes.marked(self.home)}

    def supervisor(self) -> psutil.Process:
        return psutil.Process(int((self.home / "run" / "supervisord.pid").read_text()))


@pytest.fixture
def small(tmp_path):
    """Make small stacks; all are ended after the test, whatever it did."""
    (tmp_path / "small_server.py").write_text(SERVER)
    made = []

    def make(*names: str, home: str = "home", **options: float) -> Small:
        made.append(Small(tmp_path / home, tmp_path, names or ("one",), **options))
        return made[-1]

    yield make
    for one in made:
        found = sorted(processes.marked(one.home), key=lambda pair: pair[0] != "")
        processes.end([process for _, process in found], grace=0)
