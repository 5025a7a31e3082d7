"""The real process over a real registry (SQLite, no server): start, predict, swap under load, break, kill, stop."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra import plugins
from infra.settings import ROOT, settings
from serving import BASE
from serving.client import BadRequest, Client, Unreachable
from tests.models import tiny
from training import catalog, registry
from training.model import Model

pytestmark = pytest.mark.integration
ROW = {"host": "h1", "time": "2026-01-01T00:00:00Z", "heat": 55.0, "errors": 3, "recent": [54.0, 55.0]}
CODE = "from tests.models import tiny\nfrom serving.__main__ import serve\nwith tiny.plugged_in(): serve()"
PATIENCE = 60.0


@dataclass
class Server:
    """The process on a free port; its log is JSON lines."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        return {**os.environ, "AIOPS__STACK__PORTS__API": str(self.port)}

    def start(self) -> None:
        log = (self.folder / "api.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-c", CODE], cwd=ROOT, env=self.environment(), stdout=log, stderr=log
        )
        log.close()
        wait(lambda: self.get("health") is not None, "the API answers")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(how)
        code = self.process.wait(30)
        self.process = None
        return code

    def get(self, path: str) -> dict[str, Any] | None:
        try:
            return httpx.get(f"{self.url}{BASE}/{path}", trust_env=False).raise_for_status().json()
        except httpx.HTTPError:
            return None

    def model(self) -> dict[str, Any]:
        found = self.get("models/status")
        return found["models"][tiny.NAME] if found else {}

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "api.log").read_text().splitlines()]


def wait(until: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with an empty registry; only the tiny model is plugged in beside the program's own."""
    home = tmp_path_factory.mktemp("home")
    config = home / "aiops.yaml"
    others = dict.fromkeys(plugins.names(catalog.PACKAGE), {"enabled": False})
    config.write_text(json.dumps({"aiops": {"home": str(home), "models": others}}))  # JSON is YAML
    with pytest.MonkeyPatch.context() as patch, tiny.plugged_in():
        patch.setenv("AIOPS_CONFIG", str(config))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        settings.cache_clear()
        registry.current(tiny.NAME)  # makes the tables: two processes must not do it at once
        yield home
    settings.cache_clear()


@pytest.fixture(scope="module")
def server(store: Path) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Server(store, port)
    server.start()
    yield server
    server.stop(signal.SIGKILL)


def train(strength: float, alias: registry.Alias) -> tuple[Model, registry.Version]:
    """A new version that answers unlike the others."""
    frame = tiny.frame()
    model = catalog.load(tiny.NAME)({"strength": strength}).fit(frame)
    version = registry.log(model, frame.head(2), registry.Record(metrics={"roc_auc": 0.9, "naive/roc_auc": 0.7}))
    return model, registry.promote(version, alias, {"gate_reason": "every gate holds", "synthetic": "yes"})


def probability(model: Model) -> float:
    (answer,) = model.predict([ROW])
    return float(answer.model_dump()["probability"])


def test_before_the_first_version_it_lives_and_says_what_to_do(server: Server) -> None:
    wait(lambda: "aiops train" in (server.model().get("problem") or ""), "the registry was asked")
    health = server.get("health")
    assert health is not None
    assert (health["live"], health["ready"]) == (True, False)
    assert httpx.get(f"{server.url}/readyz", trust_env=False).status_code == 503
    with Client(server.url, patience=0) as client, pytest.raises(Unreachable, match=f"aiops train {tiny.NAME}"):
        client.predict(tiny.NAME, [ROW])


def test_a_challenger_is_served_and_named_until_there_is_a_champion(server: Server) -> None:
    model, version = train(1.0, "challenger")
    wait(lambda: server.model().get("ready", False), "the first version is served")
    with Client(server.url) as client:
        found = client.predict(tiny.NAME, [ROW, {**ROW, "heat": 120.0}], explain=True)
        assert (found.version, found.alias, found.synthetic) == (version.number, "challenger", True)
        assert found.answers[0].probability == pytest.approx(probability(model))
        assert found.answers[0].explanation[0].input in {"heat", "errors"}
        assert found.answers[1].abstained == "hotter than any host seen"
        status = client.status().models[tiny.NAME]
    assert [(t.metric, t.value, t.met) for t in status.targets] == [("roc_auc", 0.9, True), ("roc_auc", 0.9, True)]
    assert status.gate_reason == "every gate holds"
    assert status.next_retrain is not None
    assert httpx.get(f"{server.url}/readyz", trust_env=False).status_code == 200
    registry.promote(version, "champion", {})
    wait(lambda: server.model()["alias"] == "champion", "the alias follows without a load")
    assert server.model()["swaps"] == 1


def test_a_new_champion_is_swapped_in_under_load_without_a_failed_request(server: Server) -> None:
    before, _ = registry.load(tiny.NAME)
    stop = threading.Event()
    seen: list[list[tuple[int, int, float]]] = [[] for _ in range(6)]

    def ask(into: list[tuple[int, int, float]]) -> None:
        with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as http:
            while not stop.is_set():
                reply = http.post(f"{BASE}/predict/tiny", json={"rows": [ROW]})
                body = reply.json()
                into.append((reply.status_code, body.get("version"), body.get("answers", [{}])[0].get("probability")))

    threads = [threading.Thread(target=ask, args=(into,)) for into in seen]
    for thread in threads:
        thread.start()
    after, version = train(0.001, "champion")
    wait(lambda: all(into and into[-1][1] == version.number for into in seen), "every caller sees the new version")
    stop.set()
    for thread in threads:
        thread.join()
    answers = [item for into in seen for item in into]
    assert {status for status, _, _ in answers} == {200}
    expected = {version.number - 1: probability(before), version.number: probability(after)}
    assert set(expected) == {number for _, number, _ in answers}
    assert all(value == pytest.approx(expected[number]) for _, number, value in answers), "an answer of mixed versions"
    for into in seen:
        numbers = [number for _, number, _ in into]
        assert numbers == sorted(numbers), "the old version came back"


def test_a_broken_version_is_refused_and_the_old_one_keeps_serving(server: Server, store: Path) -> None:
    good = server.model()["version"]
    folders = set(store.rglob("logit.json"))
    _, version = train(2.0, "challenger")
    (made,) = set(store.rglob("logit.json")) - folders
    made.write_text("{ not json")
    registry.promote(version, "champion", {})
    wait(lambda: server.model()["problem"] is not None, "the broken version is refused")
    status = server.model()
    assert f"version {version.number}" in status["problem"]
    assert "JSONDecodeError" in status["problem"]
    assert (status["version"], status["ready"]) == (good, True)
    with Client(server.url) as client:
        assert client.predict(tiny.NAME, [ROW]).version == good
    _, mended = train(3.0, "champion")
    wait(lambda: server.model()["version"] == mended.number, "a good version replaces it")
    assert server.model()["problem"] is None


def test_bad_input_is_named_over_the_wire(server: Server) -> None:
    with Client(server.url) as client, pytest.raises(BadRequest, match="row 1, heat: .*finite number"):
        client.predict(tiny.NAME, [ROW, {**ROW, "heat": float("nan")}])
    big = httpx.post(
        f"{server.url}{BASE}/predict/tiny",
        content=b" " * (9 * 2**20),
        trust_env=False,
        headers={"content-type": "application/json"},
    )
    assert big.status_code == 413
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    reply = httpx.get(f"{server.url}{BASE}/nowhere?key=secret", trust_env=False, headers=headers)
    assert (reply.status_code, reply.headers["x-request-id"]) == (404, trace)
    wait(lambda: any(line.get("trace_id") == trace for line in server.log()), "the request is in the log")
    (line,) = [line for line in server.log() if line.get("trace_id") == trace]
    assert (line["event"], line["path"], line["status"]) == ("request", f"{BASE}/nowhere", 404)
    assert "secret" not in json.dumps(line)


def test_killed_and_started_again_it_serves_the_same_version(server: Server) -> None:
    number = server.model()["version"]
    assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    with Client(server.url, patience=0) as client, pytest.raises(Unreachable, match="aiops up"):
        client.predict(tiny.NAME, [ROW])
    server.start()
    with Client(server.url, patience=PATIENCE) as client:  # waits for the model, as the remediation does
        assert client.predict(tiny.NAME, [ROW]).version == number


def test_a_taken_port_is_one_sentence(server: Server) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "serving"],
        cwd=ROOT,
        env=server.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode == 2
    assert second.stderr.startswith("error: cannot listen: aiops.stack.ports.api")
    assert len(second.stderr.splitlines()) == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_finishes_what_runs(server: Server, how: signal.Signals) -> None:
    if server.process is None:
        server.start()
    ready = server.model()["ready"]
    started = len(server.log())
    body = json.dumps({"rows": [ROW]}).encode()
    head = f"POST {BASE}/predict/tiny HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as caller:
        caller.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body[:10])
        server.get("health")  # sent later, answered: the server has read the head
        assert server.process is not None
        server.process.send_signal(how)
        wait(lambda: server.get("health") is None, "nobody else is let in")
        caller.sendall(body[10:])
        reply = caller.makefile("rb").readline()
    assert reply.split()[1] == (b"200" if ready else b"503")
    assert server.stop(how) == (-how if how == signal.SIGTERM else 0)
    assert not [line for line in server.log()[started:] if "exception" in line]
