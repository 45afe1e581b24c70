"""What is counted in these tests, and what Prometheus reads of it."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar, cast

from prometheus_client.parser import text_string_to_metric_families

from authproxy.telemetry.exposition import exposition
from authproxy.telemetry.metrics import Pages

T = TypeVar("T")
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass
class Route:
    """A route, as far as it is counted."""

    name: str
    upstream: str = "app"


@dataclass
class Ended:
    """A request that has ended."""

    status: int = 200
    code: str = ""
    shadow: str = ""
    upstream_seconds: float = 0.0
    route: Route | None = None


def outcome(work: Generator[None, None, T]) -> T:
    """What work with pauses comes to, at once."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            return cast("T", done.value)


def scraped(pages: Pages) -> Samples:
    """What Prometheus makes of it."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(outcome(exposition(pages)))
        for sample in family.samples
    }
