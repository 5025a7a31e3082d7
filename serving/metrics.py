"""The figures of the service in Prometheus' format; names and units follow its conventions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from serving.loader import Slot

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
Slots = Callable[[], Mapping[str, Slot]]


class Metrics:
    """Counts what happens; what is loaded is read from `slots` when asked, so it cannot go stale."""

    def __init__(self, slots: Slots) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "aiops_http_requests", "Requests answered.", ("route", "method", "status"), registry=registry
        )
        self._latency = Histogram(
            "aiops_http_request_duration_seconds",
            "From head to last byte.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._answers = Counter("aiops_predictions", "Answers given.", ("model", "version"), registry=registry)
        self._abstained = Counter(
            "aiops_abstentions", "Answers in which the model abstained.", ("model", "version"), registry=registry
        )
        self._refused = Counter("aiops_overloads", "Requests refused with 429.", ("model",), registry=registry)
        registry.register(_Served(slots))
        ProcessCollector(registry=registry)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        self._requests.labels(route, method if method in _METHODS else "other", str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def predicted(self, model: str, version: int, answers: int, abstained: int) -> None:
        self._answers.labels(model, str(version)).inc(answers)
        self._abstained.labels(model, str(version)).inc(abstained)

    def overloaded(self, model: str) -> None:
        self._refused.labels(model).inc()

    def text(self) -> bytes:
        """The exposition, version 0.0.4."""
        return generate_latest(self._registry)


class _Served:
    """Collector over the slots."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots

    def collect(self) -> Iterable[Metric]:
        info = GaugeMetricFamily(
            "aiops_model_info", "The served version; always 1.", labels=("model", "version", "alias", "synthetic")
        )
        ready = GaugeMetricFamily("aiops_model_ready", "1 when a version is loaded.", labels=("model",))
        loading = GaugeMetricFamily("aiops_model_load_seconds", "Load and warm-up of the version.", labels=("model",))
        swaps = CounterMetricFamily("aiops_model_swaps", "Versions loaded.", labels=("model",))
        refusals = CounterMetricFamily("aiops_model_refusals", "Attempts to load that failed.", labels=("model",))
        for name, slot in self._slots().items():
            ready.add_metric((name,), slot.served is not None)
            swaps.add_metric((name,), slot.swaps)
            refusals.add_metric((name,), slot.refusals)
            if served := slot.served:
                info.add_metric((name, str(served.version.number), served.alias, str(served.synthetic).lower()), 1)
                loading.add_metric((name,), served.load_seconds)
        return info, ready, loading, swaps, refusals
