"""A Terraform project against a local AWS API (moto); what is put into it, and changed, is in `tests.drift_cases`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.drift_cases import Case

PLUGINS = Path(os.environ.get("AIOPS_TERRAFORM_PLUGINS", "/opt/tf-plugins"))
SERVICES = (
    "s3",
    "sqs",
    "sns",
    "dynamodb",
    "iam",
    "sts",
    "logs",
    "ec2",
    "ssm",
    "kms",
    "ecr",
    "secretsmanager",
    "events",
    "cloudwatch",
)
PROVIDER = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "local"
  secret_key                  = "local"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  skip_requesting_account_id  = true
  s3_use_path_style           = true
  endpoints {
%s
  }
}
"""


def missing() -> str | None:
    """Why the lab cannot run here, or None."""
    if shutil.which("terraform") is None:
        return "terraform is not on this machine"
    if not any(PLUGINS.rglob("terraform-provider-aws*")):
        return f"no AWS provider below {PLUGINS}; AIOPS_TERRAFORM_PLUGINS names a filesystem mirror that holds it"
    return None


class Lab:
    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address = folder, address

    def write(self, cases: list[Case]) -> None:
        """The project with the resources of `cases`, applied."""
        endpoints = "\n".join(f'    {name} = "{self.address}"' for name in SERVICES)
        (self.folder / "main.tf").write_text(PROVIDER % endpoints + "\n".join(case.block for case in cases))
        for command in (("init",), ("apply", "-auto-approve")):
            self.terraform(*command)

    def terraform(self, *command: str) -> None:
        done = subprocess.run(
            ["terraform", *command, "-input=false", "-no-color"], cwd=self.folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]

    def client(self, service: str) -> Any:
        import boto3

        keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
        return boto3.client(service, endpoint_url=self.address, region_name="eu-west-1", **keys)


@contextmanager
def lab(folder: Path) -> Iterator[Lab]:
    """A moto server on a free port and an empty project; the server ends with it."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rc = folder / "terraform.rc"
    rc.write_text(
        f'disable_checkpoint = true\nprovider_installation {{\n  filesystem_mirror {{ path = "{PLUGINS}" }}\n}}\n'
    )
    before = os.environ.get("TF_CLI_CONFIG_FILE")
    os.environ["TF_CLI_CONFIG_FILE"] = str(rc)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(f"http://127.0.0.1:{port}")
        yield Lab(folder, f"http://127.0.0.1:{port}")
    finally:
        server.terminate()
        server.wait(10)
        if before is None:
            del os.environ["TF_CLI_CONFIG_FILE"]
        else:
            os.environ["TF_CLI_CONFIG_FILE"] = before


def _wait(address: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            httpx.get(f"{address}/moto-api/", timeout=2)
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline, "moto did not start"
            time.sleep(0.2)
