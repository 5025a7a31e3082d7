"""Load on the running API: `locust -f tests/performance/load_test.py -H http://127.0.0.1:8100 --headless -u 8 -t 30s`.

Every route that the service's own OpenAPI documents with an example is asked with that example, one row at a time and
in batches; anything but 200 counts as a failure.
"""

from __future__ import annotations

from typing import Any

from locust import FastHttpUser, constant, task

from serving import BASE

BATCH = 50  # rows
Request = tuple[str, dict[str, Any]]


def requests_of(document: dict[str, Any]) -> list[Request]:
    """(path, body) of every prediction route in an OpenAPI document that has an example."""
    found = []
    for path, methods in document["paths"].items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        if "example" in content:
            found.append((path, content["example"]))
    return found


class Caller(FastHttpUser):
    """Asks without a pause, mostly single rows without explanations, as the remediation does."""

    wait_time = constant(0)

    def on_start(self) -> None:
        """Learn the routes from the service itself."""
        self.known = requests_of(self.client.get(f"{BASE}/openapi.json", name="openapi").json())
        if not self.known:
            raise RuntimeError(f"{self.host} documents no prediction route with an example")

    @task(8)
    def one_row(self) -> None:
        """One row to each model."""
        for path, body in self.known:
            self.client.post(path, json={**body, "explain": False}, name=f"{path} 1 row")

    @task(1)
    def explained(self) -> None:
        """One row with explanations to each model."""
        for path, body in self.known:
            self.client.post(path, json={**body, "explain": True}, name=f"{path} explained")

    @task(1)
    def batch(self) -> None:
        """Many rows to each model."""
        for path, body in self.known:
            rows = body["rows"] * BATCH
            self.client.post(path, json={"rows": rows, "explain": False}, name=f"{path} {BATCH} rows")

    @task(1)
    def state(self) -> None:
        """What a probe and Prometheus ask."""
        self.client.get(f"{BASE}/health", name="health")
        self.client.get(f"{BASE}/metrics", name="metrics")
