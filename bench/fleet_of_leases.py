"""Many workers that take slices of the limits of many keys: an event-driven simulation of the very arithmetic that workers use
(rate_limits/leases.py), with round trips that take time, held at every moment to what docs/scale.md argues.

Requests come by chance (Poisson), keys as Zipf has them; everything follows from the seed.
"""

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, count
from math import floor

from authproxy.model.rate import Charge, Rate, Strategy
from authproxy.rate_limits.leases import PART_OF_SPENT, Leases, Part, Told, weighed
from authproxy.rate_limits.strategies import FIXED, SLIDING, STEPS

BEGIN = 1_700_000_000.0


@dataclass(frozen=True)
class Fleet:
    """What is simulated: `workers`, of which `spread` see each key; `per_second` requests of `keys` keys."""

    workers: int
    keys: int
    requests: int
    per_second: float
    rate: Rate
    strategy: Strategy = "sliding-window-counter"
    spread: int = 0  # 0: all of them
    exponent: float = 1.0  # of Zipf's law
    round_trip: float = 0.001
    cost: int = 1
    seed: int = 1


@dataclass
class Outcome:
    """What came of it. `excess` is what passed though an exact ledger over the same passes had refused; `unspent_most` is the most
    that was in hand when somebody was refused, as a part of the bound.
    """

    requests: int = 0
    passed: int = 0
    exact: int = 0
    round_trips: int = 0
    excess: int = 0
    unspent_most: float = 0.0
    beyond_bound: int = 0

    @property
    def trips_per_request(self) -> float:
        """1 without slices."""
        return self.round_trips / self.requests

    @property
    def shortfall(self) -> float:
        """What did not pass and would have with an exact ledger, as a part of that."""
        return (self.exact - self.passed) / self.exact


@dataclass
class Worker:
    """One worker: what it has in hand, and who waits for a slice that is under way."""

    leases: Leases = field(default_factory=Leases)
    coming: dict[bytes, list[Charge]] = field(default_factory=dict)


class Shared:
    """The ledger of all: what is charged, what really passed, and what would have if every request had asked."""

    def __init__(self, fleet: Fleet) -> None:
        self.step = STEPS[fleet.strategy]
        self.rate, self.fixed = fleet.rate, fleet.strategy == "fixed-window"
        self.charged: dict[bytes, bytes] = {}
        self.passed: dict[bytes, bytes] = {}
        self.exact: dict[bytes, bytes] = {}
        self.counts: dict[bytes, tuple[float, int, int]] = {}

    def charge(self, part: Part, now: float) -> Told:
        """What the ledger says."""
        told, record, _ = weighed(self.charged.get(part.charge.key), part.charge, part.want, now)
        if record is not None:
            self.charged[part.charge.key] = record
        return told

    def would_pass(self, charge: Charge, now: float) -> bool:
        """Without any slices."""
        balance, record, _ = self.step(self.exact.get(charge.key), charge, now)
        if record is not None:
            self.exact[charge.key] = record
        return balance.granted

    def window(self, key: bytes, now: float) -> tuple[float, int]:
        """The end of the ledger's window of this moment, and what is charged in it."""
        record = self.charged[key]
        if self.fixed:
            end, number = FIXED.unpack(record)
            return end, int(number)
        index, _, number = SLIDING.unpack(record)
        end = (floor(now / self.rate.window) + 1.0) * self.rate.window
        return end, number if (index + 1.0) * self.rate.window == end else 0

    def note(self, charge: Charge, now: float) -> bool:
        """One passed; was there room among those that did, in a window that has not ended?"""
        balance, record, _ = self.step(self.passed.get(charge.key), charge, now)
        if record is not None:
            self.passed[charge.key] = record
        end, _ = self.window(charge.key, now)
        last, spent, before = self.counts.get(charge.key, (end, 0, 0))
        if last != end:  # windows that begin when somebody comes may lie apart
            spent, before = 0, spent if last > end - 2 * self.rate.window else 0
        self.counts[charge.key] = (end, spent + charge.cost, before)
        return balance.granted and end > now

    def unspent(self, key: bytes, now: float) -> tuple[int, float]:
        """What is charged in this window and was not spent, and the bound of that."""
        end, charged = self.window(key, now)
        last, spent, before = self.counts[key]
        if last != end:
            spent, before = 0, spent
        return charged - spent, (spent + before) / PART_OF_SPENT


class Simulation:
    """Plays a fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet, self.outcome, self.shared = fleet, Outcome(), Shared(fleet)
        self.workers = [Worker() for _ in range(fleet.workers)]
        self._events: list[tuple[float, int, bool, Worker, list[Part], float, list[Told]]] = []
        self._number = count()

    def play(self) -> Outcome:
        """From the first request to the last answer."""
        for now, key, worker in self._arrivals():
            self._until(now)
            charge = Charge(key, self.fleet.rate, self.fleet.strategy, self.fleet.cost)
            self.outcome.requests += 1
            self.outcome.exact += self.shared.would_pass(charge, now)
            self._come(self.workers[worker], charge, now)
        self._until(float("inf"))
        return self.outcome

    def _arrivals(self) -> Iterator[tuple[float, bytes, int]]:
        fleet, chance = self.fleet, random.Random(self.fleet.seed)
        weights = list(accumulate((rank + 1) ** -fleet.exponent for rank in range(fleet.keys)))
        spread, now = fleet.spread or fleet.workers, BEGIN
        for _ in range(fleet.requests):
            now += chance.expovariate(fleet.per_second)
            (key,) = chance.choices(range(fleet.keys), cum_weights=weights)
            yield now, key.to_bytes(16), (key * 7919 + chance.randrange(spread)) % fleet.workers

    def _until(self, end: float) -> None:
        while self._events and self._events[0][0] <= end:
            now, _, reached, worker, parts, asked, told = heapq.heappop(self._events)
            if reached:
                self._reach(worker, parts, asked, now)
            else:
                self._back(worker, parts, told, asked, now)

    def _come(self, worker: Worker, charge: Charge, now: float, *, waited: bool = False) -> None:
        balances = worker.leases.spend([charge], now)
        if balances is not None:
            self._end(charge, balances[0].granted, now)
        elif charge.key in worker.coming and not waited:
            worker.coming[charge.key].append(charge)
        else:
            parts = worker.leases.ask([charge], now, slices=charge.key not in worker.coming)
            if parts[0].want:
                worker.coming[charge.key] = []
            self.outcome.round_trips += 1
            self._later(self.fleet.round_trip / 2, worker, parts, now, now)

    def _later(
        self, delay: float, worker: Worker, parts: list[Part], asked: float, now: float,
        told: Sequence[Told] = (),
    ) -> None:  # fmt: skip
        event = (now + delay, next(self._number), not told, worker, parts, asked, list(told))
        heapq.heappush(self._events, event)

    def _reach(self, worker: Worker, parts: list[Part], asked: float, now: float) -> None:
        told = self.shared.charge(parts[0], now)
        charge = parts[0].charge
        if told.balance.granted:
            self.outcome.passed += 1
            self.outcome.excess += not self.shared.note(charge, now)
        else:
            unspent, bound = self.shared.unspent(charge.key, now)
            self.outcome.beyond_bound += unspent > bound
            if unspent:
                self.outcome.unspent_most = max(self.outcome.unspent_most, unspent / bound)
        self._later(self.fleet.round_trip / 2, worker, parts, asked, now, [told])

    def _back(
        self, worker: Worker, parts: list[Part], told: list[Told], asked: float, now: float
    ) -> None:
        worker.leases.answered(parts, told, asked, now)
        if parts[0].want:
            for charge in worker.coming.pop(parts[0].charge.key):
                self._come(worker, charge, now, waited=True)

    def _end(self, charge: Charge, granted: bool, now: float) -> None:
        if granted:
            self.outcome.passed += 1
            self.outcome.excess += not self.shared.note(charge, now)
