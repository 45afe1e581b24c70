"""The three strategies of the limits package as pure steps over one record: what was counted, a charge, the time.

Decisions equal those of `limits.strategies` over its MemoryStorage without its races (tests/rate_limits/
test_differential.py), on one condition that the keys keep: all charges on one key have the same cost and rate. The
differences: a refused charge is never counted, and a record from a future beyond the next window (a clock stepped back) is void.
No storage, no clock, no I/O.
"""

from bisect import bisect_left
from collections.abc import Callable
from struct import Struct

from authproxy.model.rate import Balance, Charge, Strategy, balance_of

# The balance after it; the new record, None where the charge was refused; and when that record ceases to count.
Step = tuple[Balance, bytes | None, float]

FIXED = Struct("<dQ")
SLIDING = Struct("<QQQ")
STAMP = Struct("=d")
# A stamp exactly one window old still counts, so its record must outlast the window.
SLACK = 1.0


def fixed_window(record: bytes | None, charge: Charge, now: float) -> Step:
    """At most `amount` from the first hit until `window` later. Record: end of the window, count."""
    amount, window = charge.rate.amount, charge.rate.window
    end, count = FIXED.unpack(record) if record else (0.0, 0)
    if end <= now or end > now + 2 * window:
        end, count = now + window, 0
    elif end > now + window:  # begun by somebody whose clock is ahead
        end = now + window
    count += charge.cost
    if count > amount:
        reset = end - now if charge.cost <= amount else float(window)
        return Balance(False, max(0, amount - count + charge.cost), reset), None, 0.0
    return balance_of((True, amount - count, end - now)), FIXED.pack(end, count), end


def sliding_window_counter(record: bytes | None, charge: Charge, now: float) -> Step:
    """At most `amount` of this window's count plus the weighted count of the window before it.

    The weight is the share of that window which a window ending now would cover. Windows begin at the multiples of
    `window` since the epoch. Record: number of the window, count in the one before, count.
    """
    rate, cost = charge.rate, charge.cost
    amount, window = rate.amount, rate.window
    index = int(now / window)
    previous = current = 0
    if record:
        last, before, count = SLIDING.unpack(record)
        if last == index + 1:  # begun by somebody whose clock is ahead: with them, at its start
            index, now = last, float(last * window)
        if last == index:
            previous, current = before, count
        elif last == index - 1:
            previous = count
    # Written as limits writes it, both looks included, so that the rounding is the same.
    left = (1 - ((now - window) / window) % 1) * window
    weight = previous * left / window
    used, current = int(weight + current), current + cost
    after = int(weight + current)
    if used + cost > amount or after > amount:
        wait = _sliding_wait(charge, previous, current - cost, left)
        return Balance(False, amount - used if used < amount else 0, wait), None, 0.0
    # More becomes free when the weight falls by its next whole unit, or else when this window ends.
    reset = left % (window / previous) if weight >= 1 else left
    balance = balance_of((True, amount - after, reset))
    return balance, SLIDING.pack(index, previous, current), (index + 2.0) * window


def _sliding_wait(charge: Charge, previous: int, current: int, left: float) -> float:
    """Seconds after which the cost would have room, if nothing else is charged; for a cost > 1 up to 2 windows."""
    window, room = charge.rate.window, charge.rate.amount - charge.cost + 1
    if room < 1:
        return float(window)
    if current < room:  # within this window: when the one before weighs less than room - current
        return max(0.0, left - (room - current) * window / previous)
    # in the next window: when this one's count weighs less than room
    return left + window - room * window / current


def moving_window(record: bytes | None, charge: Charge, now: float) -> Step:
    """At most `amount` in any `window`. Record: the moment of every unit charged, oldest first, native doubles.

    A stamp exactly one window old still counts.
    """
    amount, window, cost = charge.rate.amount, charge.rate.window, charge.cost
    stamps = memoryview(record or b"").cast("d")
    if stamps and stamps[-1] > now:
        stamps = _not_after(now, stamps, window)
    live = stamps[bisect_left(stamps, now - window) :]
    used = len(live)
    if used + cost > amount:
        # the charge has room once the youngest of those that must go has gone
        reset = live[used + cost - amount - 1] + window - now if cost <= amount else float(window)
        return Balance(False, max(0, amount - used), reset), None, 0.0
    oldest = live[0] if live else now
    balance = balance_of((True, amount - used - cost, oldest + window - now))
    return balance, live.tobytes() + STAMP.pack(now) * cost, now + window + SLACK


def _not_after(now: float, stamps: "memoryview[float]", window: int) -> "memoryview[float]":
    """Stamps of somebody whose clock is ahead count as made now; of a time that stepped back, as never made."""
    if stamps[-1] > now + window:
        return stamps[:0]
    return memoryview(b"".join(STAMP.pack(min(stamp, now)) for stamp in stamps)).cast("d")


STEPS: dict[Strategy, Callable[[bytes | None, Charge, float], Step]] = {
    "fixed-window": fixed_window,
    "moving-window": moving_window,
    "sliding-window-counter": sliding_window_counter,
}
