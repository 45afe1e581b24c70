"""Slices of limits that a worker has taken in advance, so that most requests need not ask the ledger that all share.

A slice is charged before it is spent and is void with the window that it was charged in, so no more passes than without. It
is small beside what this worker spent, so little stays unspent (docs/scale.md has the bounds and why they hold). Fixed and
sliding windows have slices; a moving window is asked for every request. No storage, no clock, no I/O.
"""

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from authproxy.model.rate import Balance, Charge
from authproxy.rate_limits.strategies import FIXED, SLIDING, STEPS

# A slice is at most this part of what the worker has spent in this window, or in the one before it.
PART_OF_SPENT = 4
# And at most this part of what is left for all.
PART_OF_LEFT = 4
# By how much the clocks of a worker and of the ledger may drift apart: 500 ppm each, the most that NTP slews.
DRIFT = 0.001
# Seconds for which a refusal is repeated without asking, at most: no answer says that one should come again earlier.
REPEATED = 1.0
# A sliding window, where little comes free at each moment, is asked again after this part of it at the earliest.
PAUSES = 64
MOST_KEYS = 65_536


class Told(NamedTuple):
    """What the ledger says of one charge: its balance, how much was charged beyond it, and the window of both: its `end` by
    the ledger's clock (0: it has none) and the seconds that are `left` of it.
    """

    balance: Balance
    extra: int = 0
    end: float = 0.0
    left: float = 0.0


class Lease:
    """What a worker knows of one key. Times are its own clock's, and never later than the ledger's are.

    `units` are in hand until `until`; `beyond` was left for all when the ledger was last asked. `spent` counts what this worker
    let pass in the window that ends at `end`, `before` in the one before. Until `again` the ledger is not asked, as it would
    refuse; it would up to `free`.
    """

    __slots__ = ("again", "before", "beyond", "end", "free", "spent", "units", "until")

    def __init__(self, end: float = 0.0, before: int = 0) -> None:
        self.end, self.before = end, before
        self.until = self.again = self.free = -inf
        self.units = self.beyond = self.spent = 0

    def has(self, cost: int, now: float) -> bool:
        """Is so much in hand?"""
        return self.units >= cost and self.until > now

    def move(self, cost: int) -> None:
        """Spend so much of what is in hand; a cost below 0 gives it back."""
        self.units -= cost
        self.spent += cost

    def balance(self, granted: bool, now: float) -> Balance:
        """What is told of it."""
        moment = self.until if granted else self.free
        return Balance(granted, self.units + self.beyond, max(0.0, moment - now))


class Part(NamedTuple):
    """One limit of a step: taken from what is in hand by `lease`, or else asked about, with `want` beyond its cost."""

    charge: Charge
    lease: Lease | None
    want: int


class Leases:
    """What one worker has in hand, of `most_keys` keys at most: the one that was asked about the longest ago makes room."""

    def __init__(self, most_keys: int = MOST_KEYS) -> None:
        self._most_keys = most_keys
        self._leases: dict[bytes, Lease] = {}

    def clear(self) -> None:
        """Nothing is in hand any more."""
        self._leases.clear()

    def spend(self, charges: Sequence[Charge], now: float) -> list[Balance] | None:
        """The balances of a step that can be granted or refused with what is known here; None where the ledger must be asked."""
        if len(charges) > 1 and len({charge.key for charge in charges}) < len(charges):
            return None
        known: list[tuple[Lease, int, bool]] = []
        refused = lacking = False
        for charge in charges:
            lease = self._leases.get(charge.key)
            if lease is None or (lease.until <= now and lease.again <= now):
                return None
            has = lease.has(charge.cost, now)
            if not has and lease.again > now:
                refused = refused or charge.binding  # in shadow it has no say
            else:
                lacking = lacking or not has
            known.append((lease, charge.cost, has or lease.again <= now))
        if lacking and not refused:
            return None
        if not refused:
            for lease, cost, granted in known:
                if granted:
                    lease.move(cost)
        return [lease.balance(granted, now) for lease, _, granted in known]

    def in_hand(self, key: bytes, now: float) -> int:
        """How much of this key can be spent without asking."""
        lease = self._leases.get(key)
        return lease.units if lease is not None and lease.until > now else 0

    def ask(self, charges: Sequence[Charge], now: float, *, slices: bool) -> list[Part]:
        """What to ask about; what is in hand is taken, until `answered` or `failed`. `slices`: for more than the cost."""
        parts = []
        for charge in charges:
            lease = self._leases.get(charge.key)
            if lease is not None and lease.has(charge.cost, now):
                lease.move(charge.cost)
                parts.append(Part(charge, lease, 0))
            else:
                parts.append(Part(charge, None, self._wanted(charge, now) if slices else 0))
        return parts

    def failed(self, parts: Sequence[Part]) -> None:
        """Nobody answered, or it was refused: what was in hand is so again."""
        for charge, lease, _ in parts:
            if lease is not None:
                lease.move(-charge.cost)

    def answered(
        self, parts: Sequence[Part], told: Sequence[Told], asked: float, now: float
    ) -> list[Balance]:
        """The balances of the step. `told` is of the parts that were asked about, at `asked`; it is in hand now."""
        granted = all(one.balance.granted for one, part in _of(parts, told) if part.charge.binding)
        if not granted:
            self.failed(parts)
        answers, balances = iter(told), []
        for charge, lease, _ in parts:
            if lease is not None:
                balances.append(lease.balance(True, now))
                continue
            one = next(answers)
            if not granted and one.balance.granted:  # it was not charged after all
                left = one.balance.remaining + charge.cost + one.extra
                one = one._replace(balance=one.balance._replace(remaining=left))
            held = self._kept(charge, one, asked, granted)
            balances.append(one.balance._replace(remaining=one.balance.remaining + held))
        return balances

    def _wanted(self, charge: Charge, now: float) -> int:
        """So much as this worker is likely to spend in the window, and no more than a part of what it has spent."""
        lease = self._leases.get(charge.key)
        if lease is None or lease.until + charge.rate.window <= now:
            return 0
        spent, share = lease.spent, 1.0
        if lease.until > now:
            spent, share = max(spent, lease.before), (lease.until - now) / charge.rate.window
        units = int(spent * min(1 / PART_OF_SPENT, share))
        return units - units % charge.cost

    def _kept(self, charge: Charge, told: Told, asked: float, granted: bool) -> int:
        """Note what the ledger said; how much of the key is in hand."""
        balance, lease = told.balance, self._leases.pop(charge.key, None)
        if not balance.granted:
            lease = lease or Lease()
            lease.free = asked + balance.reset
            sliding = charge.strategy == "sliding-window-counter"
            pause = charge.rate.window / PAUSES if sliding else 0.0
            lease.again = asked + min(max(balance.reset, pause), REPEATED)
        elif not told.end:
            return 0
        else:
            if lease is None or lease.end != told.end:
                recent = lease is not None and lease.until + charge.rate.window > asked
                lease = Lease(told.end, lease.spent if lease is not None and recent else 0)
            lease.until = max(lease.until, asked + told.left * (1 - DRIFT))
            lease.again = -inf
            if granted:
                lease.units += told.extra
                lease.spent += charge.cost
        lease.beyond = balance.remaining
        if len(self._leases) >= self._most_keys:
            del self._leases[next(iter(self._leases))]
        self._leases[charge.key] = lease
        return lease.units


def _of(parts: Sequence[Part], told: Sequence[Told]) -> "zip[tuple[Told, Part]]":
    return zip(told, (part for part in parts if part.lease is None), strict=True)


def weighed(
    record: bytes | None, charge: Charge, want: int, now: float
) -> tuple[Told, bytes | None, float]:
    """What a ledger does with a charge that wants as much beyond it: what it says, then the record as in strategies.py.

    The Lua of leased_ledger.py is this, formula by formula.
    """
    step = STEPS[charge.strategy]
    balance, kept, expiry = step(record, charge, now)
    if kept is None:
        return Told(balance), None, 0.0
    extra = min(want, balance.remaining // PART_OF_LEFT // charge.cost * charge.cost)
    if extra > 0:
        further, kept, expiry = step(kept, charge._replace(cost=extra), now)
        balance = balance._replace(remaining=further.remaining)
        assert kept is not None
    window, end = charge.rate.window, 0.0
    if charge.strategy == "fixed-window":
        end = FIXED.unpack(kept)[0]
    elif charge.strategy == "sliding-window-counter":
        end = (SLIDING.unpack(kept)[0] + 1.0) * window
    return Told(balance, extra, end, min(end - now, window)), kept, expiry
