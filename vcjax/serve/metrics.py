"""Counts for Prometheus."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vcjax.serve.models import Models

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
_SHORT_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)


class Metrics:
    """The metrics of one server; their registry is its own, as a process may have several."""

    def __init__(self, models: Models) -> None:
        self._registry = registry = CollectorRegistry()
        self.responses = Counter(
            "vcjax_http_requests", "Responses.", ("path", "status"), registry=registry
        )
        self.seconds = Histogram(
            "vcjax_http_seconds",
            "From a request's first byte to its response's last.",
            ("path",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.open = Gauge("vcjax_http_open", "Requests under way.", registry=registry)
        self.disconnects = Counter(
            "vcjax_http_gone", "Clients that disconnected before their answer.", registry=registry
        )
        self._first = Histogram(
            "vcjax_first_token_seconds",
            "From a request's submission to its first token.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.between_tokens = Histogram(
            "vcjax_between_tokens_seconds",
            "From one token of an answer to the next.",
            buckets=_SHORT_SECONDS,
            registry=registry,
        )
        registry.register(_Engines(models))
        ProcessCollector(registry=registry)

    @contextmanager
    def first_token(self) -> Iterator[Callable[[], None]]:
        """Yields a function to call when there are tokens; its first call records the time."""
        start: float | None = time.perf_counter()

        def on_tokens() -> None:
            nonlocal start
            if start is not None:
                self._first.observe(time.perf_counter() - start)
                start = None

        yield on_tokens

    def text(self) -> bytes:
        """The counts in Prometheus' text format."""
        return generate_latest(self._registry)


class _Engines(Collector):
    """Reads the engines' counts whenever Prometheus asks."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        gauges = {
            "slots": "Requests that decode together at most.",
            "decoding": "Requests that decode now.",
            "waiting": "Requests that wait for a slot.",
        }
        counters = {
            "steps": "Steps of decoding.",
            "requests": "Requests begun.",
            "prompt_tokens": "Tokens of their prompts.",
            "pooled_tokens": "Those of them that came from the pool of prefixes.",
            "new_tokens": "Tokens generated.",
        }
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for name, text in gauges.items():
            families[name] = GaugeMetricFamily(f"vcjax_{name}", text, labels=["model"])
        for name, text in counters.items():
            families[name] = CounterMetricFamily(f"vcjax_{name}", text, labels=["model"])
        ready = GaugeMetricFamily("vcjax_ready", "Whether the model is ready.", labels=["model"])
        errors = CounterMetricFamily(
            "vcjax_faults", "Errors that ended requests.", labels=["model"]
        )
        for served in self._models.all:
            ready.add_metric([served.name], served.status == "ready")
            if served.loaded is None:
                continue
            service = served.loaded.service
            stats = service.stats()
            errors.add_metric([served.name], service.errors)
            for name, family in families.items():
                family.add_metric([served.name], getattr(stats, name))
        yield from (ready, errors, *families.values())
