"""What a machine must have before any work starts: `python3.11 -I infra/preflight.py`. Standard library only.

Prints one sentence for each thing that is missing, with its mend, and ends with 1; prints nothing when all is there.
It runs before the environment exists, so it imports nothing of this project. Once the packages are in (`--installed`)
little disk is needed, and `aiops up` looks at the ports itself, knowing its own processes from others.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GIB = 2**30
JAVA = 17  # what Spark 4 needs at least


def problems(installed: bool, run: bool) -> Iterator[str]:
    """One sentence for each missing thing. `installed`: the packages are in; `run`: the stack is to be started."""
    checks = [_machine(), _python(), _java(os.environ), _disk(1 if installed else 8)]
    if run and not installed:
        yaml = (ROOT / "infra" / "aiops.yaml").read_text()
        checks.append(_taken(ports(os.environ, yaml), host(os.environ, yaml)))
    return (sentence for sentence in checks if sentence)


def _machine() -> str | None:
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        return None
    return (
        f"This is {platform.system()} on {platform.machine()}, and the packages are locked for Linux on x86_64; "
        "use such a machine, or a container or virtual machine of that kind."
    )


def _python() -> str | None:
    if sys.version_info[:2] != (3, 11):
        return (
            f"This is Python {platform.python_version()}, and Python 3.11 is needed; "
            "install it and run `make PYTHON=/path/to/python3.11 ...`."
        )
    if importlib.util.find_spec("ensurepip") is None:
        return "Python 3.11 has no `venv` here; install it (Debian and Ubuntu: apt-get install python3.11-venv)."
    return None


def _java(environ: Mapping[str, str]) -> str | None:
    home = environ.get("JAVA_HOME")
    program = str(Path(home) / "bin" / "java") if home else "java"
    mend = f"install Java {JAVA} or newer (Debian and Ubuntu: apt-get install openjdk-17-jre-headless)"
    try:
        said = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        where = f"at JAVA_HOME ({home})" if home else "on the PATH"
        return f"There is no working Java {where}, which Spark needs; {mend}{', or correct JAVA_HOME' if home else ''}."
    found = re.search(r'version "(?:1\.)?(\d+)', said.stderr + said.stdout)
    if found and int(found[1]) >= JAVA:
        return None
    version = f"Java {found[1]}" if found else "no Java that tells its version"
    return f"`{program}` is {version}, and Spark needs {JAVA}; {mend}, or point JAVA_HOME at it."


def _disk(gibibytes: int) -> str | None:
    free = shutil.disk_usage(ROOT).free / GIB
    if free >= gibibytes:
        return None
    return f"{free:.1f} GiB are free below {ROOT}, and {gibibytes} GiB are needed; make room there, or clone elsewhere."


def ports(environ: Mapping[str, str], yaml: str) -> dict[str, int]:
    """The ports of the settings by part; the file is searched, not parsed, for want of a YAML reader."""
    line = re.search(r"ports:\s*\{([^}]*)\}", yaml)
    found = re.findall(r"(\w+):\s*(\d+)", line[1] if line else "")
    return {part: int(environ.get(_variable(part), default)) for part, default in found}


def host(environ: Mapping[str, str], yaml: str) -> str:
    """The address on which the parts listen."""
    found = re.search(r"host:\s*([\d.]+)", yaml)
    return environ.get("AIOPS__STACK__HOST") or (found[1] if found else "127.0.0.1")


def _variable(part: str) -> str:
    return f"AIOPS__STACK__PORTS__{part.upper()}"


def _taken(ports: Mapping[str, int], host: str) -> str | None:
    for part, port in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return (
                    f"Port {port} (for {part}) is in use by another program (`ss -ltnp` names it); "
                    f"stop that, or set {_variable(part)} to a free port."
                )
    return None


def main() -> int:
    """Print the problems to stderr; 1 when there are any."""
    found = list(problems(installed="--installed" in sys.argv, run="run" in sys.argv))
    for sentence in found:
        print(sentence, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
