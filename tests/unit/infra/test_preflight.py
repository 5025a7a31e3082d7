"""The preflight: each missing thing is one sentence with its mend, found by a bare interpreter."""

import os
import socket
import subprocess
import sys

import pytest
import yaml

from infra import preflight
from infra.settings import ROOT, Ports


def java(folder, text):
    """A program that answers `-version` with `text`, as the `bin/java` of a JAVA_HOME."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{text}' >&2\n")
    program.chmod(0o755)
    return {"JAVA_HOME": str(folder)}


@pytest.mark.parametrize(
    "text", ['openjdk version "17.0.15" 2025-04-15', 'java version "21"', 'openjdk version "25.0.1"']
)
def test_java_that_is_new_enough(tmp_path, text):
    assert preflight._java(java(tmp_path, text)) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('java version "1.8.0_392"', "is Java 8, and Spark needs 17"),
        ('openjdk version "11.0.2"', "is Java 11"),
        ("hm", "no Java"),
    ],
)
def test_java_that_is_too_old_or_none(tmp_path, text, told):
    sentence = preflight._java(java(tmp_path, text))
    assert told in sentence and "install Java 17" in sentence


def test_missing_java_names_the_package():
    assert "apt-get install openjdk-17-jre-headless" in preflight._java({"JAVA_HOME": "/nowhere"})


def test_a_full_disk_names_the_amounts():
    assert preflight._disk(0) is None
    assert "1000000 GiB are needed" in preflight._disk(1_000_000)


def test_a_port_in_use_names_port_part_and_variable():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        sentence = preflight._taken({"prefect": port}, "127.0.0.1")
        assert f"Port {port} (for prefect)" in sentence and "AIOPS__STACK__PORTS__PREFECT" in sentence
        assert preflight._taken({"prefect": port}, "127.0.0.2") is None  # another address has ports of its own
    assert preflight._taken({"prefect": port}, "127.0.0.1") is None


def test_the_ports_it_looks_at_are_those_of_the_settings():
    text = (ROOT / "infra" / "aiops.yaml").read_text()
    written = yaml.safe_load(text)["aiops"]["stack"]["ports"]
    assert preflight.ports({}, text) == written and set(written) == set(Ports.model_fields)
    assert preflight.ports({"AIOPS__STACK__PORTS__API": "9"}, text) == {**written, "api": 9}
    assert preflight.host({}, text) == "127.0.0.1"
    assert preflight.host({"AIOPS__STACK__HOST": "127.0.0.9"}, text) == "127.0.0.9"


def test_it_runs_without_any_package():
    command = [sys.executable, "-I", "-S", str(ROOT / "infra" / "preflight.py"), "--installed"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "JAVA_HOME": "/nowhere"})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "There is no working Java" in done.stderr
