"""How many requests a second, over the last minute: a ring of what the counters said at each second of it.

Only the requests of each route are kept, so a sample costs an addition a series, and the ring is bounded by the pages.
"""

from array import array
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from authproxy.telemetry.metrics import Pages, Slot

STEP = 1.0  # seconds between two samples
STEPS = 60  # intervals that are kept


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests a second: the mean of the time that is kept, and each interval of it, the oldest first."""

    per_second: float = 0.0
    intervals: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Minute:
    """What was sampled in the last minute, as it will stay; rates are worked out when they are asked for."""

    places: Mapping[str, int] = field(default_factory=dict)
    samples: Sequence[tuple[float, Sequence[float]]] = ()

    def route(self, name: str) -> Rate:
        """One route."""
        place = self.places.get(name)
        if place is None:
            return Rate()
        return self._rate([at[place] if place < len(at) else 0.0 for _, at in self.samples])

    def total(self) -> Rate:
        """All routes together."""
        return self._rate([sum(at) for _, at in self.samples])

    def _rate(self, counts: Sequence[float]) -> Rate:
        if len(counts) < 2 or counts[-1] == counts[0]:
            return Rate()
        seconds = self.samples[-1][0] - self.samples[0][0]
        return Rate(round((counts[-1] - counts[0]) / seconds, 3), tuple(self._intervals(counts)))

    def _intervals(self, counts: Sequence[float]) -> Iterator[float]:
        for (begun, _), (ended, _), before, after in zip(
            self.samples, self.samples[1:], counts, counts[1:], strict=False
        ):
            yield round((after - before) / (ended - begun), 3)


@dataclass(slots=True)
class _Source:
    """The cells of one worker's slot that count requests, with the place of their route in a sample."""

    slot: Slot
    cells: list[tuple[int, int]] = field(default_factory=list)
    looked: int = 0


class Rates:
    """The requests of all workers by route (`""`: no route), as seen by the one who calls `sample`."""

    def __init__(self, pages: Pages) -> None:
        self._sources = [_Source(slot) for slot in pages.each]
        self._places: dict[str, int] = {}
        self._samples: deque[tuple[float, array[float]]] = deque(maxlen=STEPS + 1)
        self._due = 0.0

    def sample(self, now: float) -> None:
        """Note what has been counted until `now` (seconds of a clock that only goes forward), once a second."""
        if now < self._due:
            return
        late = now - self._due > STEP
        self._due = (now if late else self._due) + STEP
        for source in self._sources:
            self._look(source)
        sums = array("d", bytes(8 * len(self._places)))
        for source in self._sources:
            values = source.slot.cells
            for cell, place in source.cells:
                sums[place] += values[cell]
        self._samples.append((now, sums))

    def minute(self) -> Minute:
        """What has been sampled; another thread may work with it."""
        return Minute(dict(self._places), tuple(self._samples))

    def _look(self, source: _Source) -> None:
        series = source.slot.series()
        for cell in range(source.looked, len(series)):
            name, labels = series[cell]
            if name == "authproxy_requests_total":
                route = dict(labels)["route"]
                place = self._places.setdefault(route, len(self._places))
                source.cells.append((cell, place))
        source.looked = len(series)
