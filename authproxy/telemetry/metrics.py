"""Counting, in pages that all workers share: an addition to a cell of one's own costs 0.1 µs, and one scrape sees all.

Each worker has a slot that only it writes; a worker that takes a dead one's place goes on with its slot, so counters
never go back. A series is named once, when it is first counted; labels never hold an identity.
"""

import json
import math
import mmap
import struct
import sys
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Protocol

from authproxy.telemetry.reload_record import ReloadRecord

CELLS = 1 << 18  # 16 for each of 10,000 routes; memory is taken when it is first written to
OVERFLOW = CELLS - 1  # takes what finds no cell
CONNECTIONS = (
    CELLS - 2
)  # a worker's open connections: asked for at every new one, so it has a place of its own
NAME_BYTES = 8 << 20
SLOT_BYTES = 16 + CELLS * 8 + NAME_BYTES
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
HISTOGRAM = (*map(str, BUCKETS), "+Inf", "sum")  # what the cells of a histogram hold
SUM = len(HISTOGRAM) - 1
# Of these not the sum of all slots is shown: a worker that failed, or that fell behind, must be seen; the revocation list is
# the same in all.
WORST: dict[str, Callable[[Iterable[float]], float]] = {
    "authproxy_config_reload_success": min,
    "authproxy_key_set_age_seconds": max,
    "authproxy_redis_up": min,
    "authproxy_revocations": max,
}
STRIDE = 500  # series that are looked at in one go: some tenths of a millisecond
_BOUNDS = tuple(("le", bound) for bound in HISTOGRAM[:-1])
_HEADER = struct.Struct("=QQ")  # cells in use, bytes of names
_NAME = struct.Struct("=II")  # bytes of the name, cells that it names

Labels = tuple[tuple[str, str], ...]
Series = tuple[str, Labels]
Totals = dict[str, dict[Labels, float]]


class Observed(Protocol):
    """What of an exchange is counted."""

    status: int
    code: str
    shadow: str
    upstream_seconds: float

    @property
    def route(self) -> "Named | None":
        """The route that it was for."""


class Named(Protocol):
    """A route, as far as labels need it."""

    name: str
    upstream: str


class Pages:
    """The shared memory: made once, before any worker is forked, with a slot for each and one for their supervisor."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.started = time.time()
        self.reloads = tuple(ReloadRecord() for _ in range(slots))
        self._memory = mmap.mmap(-1, slots * SLOT_BYTES)  # shared with what is forked from here
        self.each = tuple(self.slot(index) for index in range(slots))  # to read from

    @property
    def workers(self) -> int:
        """How many workers there are."""
        return max(1, self.slots - 1)

    def slot(self, index: int) -> "Slot":
        """The slot of one worker."""
        start = index * SLOT_BYTES
        return Slot(memoryview(self._memory)[start : start + SLOT_BYTES])

    def connections(self) -> int:
        """How many connections all workers have."""
        return int(sum(slot.cells[CONNECTIONS] for slot in self.each))

    def totals(self) -> Generator[None, None, Totals]:
        """Every series by its name, summed over the slots, but for those of `WORST`; what is no number is not there.

        Pauses after every few, so that others can work in between.
        """
        sums: Totals = defaultdict(lambda: defaultdict(float))
        worst: dict[Series, list[float]] = defaultdict(list)
        for slot in self.each:
            for number, (series, value) in enumerate(slot.read(), 1):
                if series[0] not in WORST:
                    sums[series[0]][series[1]] += value
                elif not math.isnan(value):
                    worst[series].append(value)
                if not number % STRIDE:
                    yield
        for (name, labels), values in worst.items():
            sums[name][labels] = WORST[name](values)
        return sums

    def bury(self, index: int) -> None:
        """What a worker held has ended with it; what it counted stays."""
        slot = self.each[index]
        slot.cells[CONNECTIONS] = 0.0
        for at, (name, _) in enumerate(slot.series()):
            if name == "authproxy_connections":
                slot.cells[at] = 0.0
            elif name == "authproxy_key_set_age_seconds":
                slot.cells[at] = math.nan


class Slot:
    """The cells of one worker, and the names of its series."""

    __slots__ = ("_known", "_memory", "_series", "_series_end", "cells")

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self.cells = memory[16 : 16 + CELLS * 8].cast("d")
        self._series: list[Series] = []
        self._series_end = 16 + CELLS * 8
        self._known: dict[Series, int] = {series: at for at, series in enumerate(self.series())}

    def cell(self, name: str, **labels: str) -> int:
        """The index in `cells` of a series. Where no cell is left, the last one takes what is too much, unnamed."""
        series = (name, tuple(sorted(labels.items())))
        found = self._known.get(series)
        return self._add(series, 1) if found is None else found

    def histogram(self, name: str, **labels: str) -> int:
        """The index of a histogram's first cell; they follow one another as `HISTOGRAM` has them, and have one name together.

        Where no cells are left it is `OVERFLOW`, and there are no others.
        """
        first = (f"{name}_bucket", (*labels.items(), ("le", HISTOGRAM[0])))
        found = self._known.get(first)
        if found is None:
            found = self._add((name, tuple(labels.items())), len(HISTOGRAM))
        return found

    def read(self) -> Iterator[tuple[Series, float]]:
        """Every series that there is now, with its value; others may be added meanwhile."""
        named = self.series()
        return zip(named, self.cells[: len(named)].tolist(), strict=False)

    def series(self) -> Sequence[Series]:
        """The names of the cells in use, in their order; each is read from the memory once, for they only grow."""
        used, _ = _HEADER.unpack_from(self._memory)
        while len(self._series) < used:
            length, width = _NAME.unpack_from(self._memory, self._series_end)
            start = self._series_end + _NAME.size
            name, pairs = json.loads(bytes(self._memory[start : start + length]))
            labels = tuple((key, value) for key, value in pairs)
            self._series += [(name, labels)] if width == 1 else _members_of(name, labels)
            self._series_end = start + length
        return self._series

    def _add(self, series: Series, width: int) -> int:
        used, size = _HEADER.unpack_from(self._memory)
        name = json.dumps(series).encode()
        start, room = 16 + CELLS * 8 + size, _NAME.size + len(name)
        if used + width > CONNECTIONS or size + room > NAME_BYTES:
            return OVERFLOW
        _NAME.pack_into(self._memory, start, len(name), width)
        self._memory[start + _NAME.size : start + room] = name
        # The count last: who reads meanwhile sees the series whole or not at all.
        _HEADER.pack_into(self._memory, 0, used + width, size + room)
        for at, added in enumerate(self.series()[used:], used):
            self._known[added] = at
        return int(used)


def _members_of(name: str, labels: Labels) -> list[Series]:
    """The series of a histogram, one for each of its cells."""
    bucket = sys.intern(f"{name}_bucket")  # with thousands of routes, what can be one object is one
    buckets = [(bucket, (*labels, bound)) for bound in _BOUNDS]
    return [*buckets, (sys.intern(f"{name}_sum"), labels)]


class _RouteCells:
    """The cells of a route: `requests` counts those of `status`, the last one that there was; `seconds` is the first of
    its histogram. They lie side by side, and this is all that a request to the route has to find.
    """

    __slots__ = ("requests", "seconds", "status")

    def __init__(self, seconds: int) -> None:
        self.requests, self.status, self.seconds = OVERFLOW, 0, seconds


class Metrics:
    """What a worker counts about requests, each series' cell looked up once."""

    __slots__ = (
        "_brought", "_cells", "_pages", "_refusals", "_requests", "_routes", "_shadows", "_slot", "_upstreams",
    )  # fmt: skip

    def __init__(self, pages: Pages, index: int) -> None:
        self._pages = pages
        self._slot = slot = pages.slot(index)
        self._cells = slot.cells
        self._requests: dict[tuple[str, int], int] = {}
        self._refusals: dict[tuple[str, str], int] = {}
        self._shadows: dict[tuple[str, str], int] = {}
        self._routes: dict[str, _RouteCells] = {}
        self._upstreams: dict[str, int] = {}
        self._brought: dict[int, tuple[object, int]] = {}  # by cell: of whose count, how much

    def count(self, exchange: Observed, seconds: float) -> None:
        """Note a request that has ended."""
        cells, route = self._cells, exchange.route
        name = route.name if route is not None else ""
        of = self._routes.get(name)
        if of is None or of.status != exchange.status:
            of = self._of(name, exchange.status)
        cells[of.requests] += 1
        first = of.seconds
        if first != OVERFLOW:
            cells[first + bisect_left(BUCKETS, seconds)] += 1
            cells[first + SUM] += seconds
        if exchange.upstream_seconds and route is not None:
            upstream = route.upstream
            found = self._upstreams.get(upstream)
            if found is None:
                found = self._upstreams[upstream] = self._slot.histogram(
                    "authproxy_upstream_seconds", upstream=upstream
                )
            if found != OVERFLOW:
                cells[found + bisect_left(BUCKETS, exchange.upstream_seconds)] += 1
                cells[found + SUM] += exchange.upstream_seconds
        if exchange.code:
            self._count_code(self._refusals, "authproxy_refusals_total", name, exchange.code)
        if exchange.shadow:
            self._count_code(
                self._shadows, "authproxy_shadow_refusals_total", name, exchange.shadow
            )

    def connections_elsewhere(self, here: int) -> int:
        """How many connections the other workers have; they learn that this one has `here`."""
        self._cells[CONNECTIONS] = here
        return self._pages.connections() - here

    def set_connections(self, by_listener: dict[str, int]) -> None:
        """Note how many connections this worker has."""
        self._cells[CONNECTIONS] = sum(by_listener.values())
        for listener, count in by_listener.items():
            self.set("authproxy_connections", count, listener=listener)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a value that goes up and down."""
        self._cells[self._slot.cell(name, **labels)] = value

    def add(self, name: str, value: float, **labels: str) -> None:
        """Add to a value that only grows."""
        self._cells[self._slot.cell(name, **labels)] += value

    def bring(self, name: str, engine: object, count: int, **labels: str) -> None:
        """Add what an engine has counted by itself, as far as it was not brought before; each engine starts from 0."""
        at = self._slot.cell(name, **labels)
        known, before = self._brought.get(at, (engine, 0))
        self._cells[at] += count - (before if known is engine else 0)
        self._brought[at] = engine, count

    def _of(self, name: str, status: int) -> _RouteCells:
        """The cells of a route, those of this status at hand."""
        key = (name, status)
        at = self._requests.get(key)
        if at is None:
            at = self._requests[key] = self._slot.cell(
                "authproxy_requests_total", route=name, status=str(status)
            )
        of = self._routes.get(name)
        if of is None:
            seconds = self._slot.histogram("authproxy_request_seconds", route=name)
            of = self._routes[name] = _RouteCells(seconds)
        of.requests, of.status = at, status
        return of

    def _count_code(
        self, kept: dict[tuple[str, str], int], name: str, route: str, code: str
    ) -> None:
        at = kept.get((route, code))
        if at is None:
            at = kept[route, code] = self._slot.cell(name, route=route, code=code)
        self._cells[at] += 1
