"""A region of EC2, the same for all tests that ask for one: each has machines of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyinfra_cli  # noqa: F401 - its gevent wants to come before all that opens connections
import pytest
import requests

ROOT = Path(__file__).resolve().parents[2]
KEYS = {"aws_access_key_id": "AKIDTEST", "aws_secret_access_key": "not-a-secret"}


@dataclass
class Aws:
    """The server, as a test sees it."""

    url: str
    client: Any

    def tell(self, **what: Any) -> dict[str, Any]:
        return requests.post(f"{self.url}/_lab", json=what, timeout=30).json()

    def calls(self) -> dict[str, int]:
        return self.tell()["calls"]

    def machines(self) -> list[dict[str, Any]]:
        """Those that are not gone."""
        found = [each for group in self.client.describe_instances()["Reservations"] for each in group["Instances"]]
        return [each for each in found if each["State"]["Name"] not in {"terminated", "shutting-down"}]

    def image(self) -> str:
        return self.client.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.clouds.aws"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        url = f"http://127.0.0.1:{json.loads(server.stdout.readline())['port']}"
        import boto3  # noqa: PLC0415 - see the first import

        yield Aws(url, boto3.client("ec2", region_name="eu-central-1", endpoint_url=url, **KEYS))
        server.stdin.close()
