"""`100/minute` as a value. Our own few lines of grammar, so that an error can point at its column."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal, NamedTuple

Strategy = Literal["sliding-window-counter", "fixed-window", "moving-window"]
STRATEGIES: tuple[Strategy, ...] = ("sliding-window-counter", "fixed-window", "moving-window")

UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
GRAMMAR = re.compile(
    r"(?P<amount>[0-9]{1,9})/(?:(?P<multiple>[0-9]{1,4}) )?(?P<unit>second|minute|hour|day)"
)
MOVING_WINDOW_MOST = 10_000


class RateError(ValueError):
    """The text is no rate; `column` (0-based, in the text) is where it stops being one."""

    def __init__(self, text: str, column: int) -> None:
        super().__init__(text)
        self.column = column


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `amount` (≥ 1) in any `window` (seconds, ≥ 1)."""

    amount: int
    window: int

    def __str__(self) -> str:
        unit = next(u for u in reversed(UNITS) if self.window % UNITS[u] == 0)
        multiple = self.window // UNITS[unit]
        return f"{self.amount}/{f'{multiple} ' if multiple > 1 else ''}{unit}"


@lru_cache(maxsize=4096)
def parse_rate(text: str) -> Rate:
    """`N/[M ]second|minute|hour|day` with N ≥ 1 and M ≥ 1.

    Raises:
        RateError: anything else.
    """
    found = GRAMMAR.fullmatch(text)
    if found is None:
        digits = len(text) - len(text.lstrip("0123456789"))
        slash = digits if text[digits : digits + 1] != "/" else digits + 1
        raise RateError(f"`{text}` is no rate", slash)
    amount, multiple = int(found["amount"]), int(found["multiple"] or 1)
    if amount < 1:
        raise RateError("a limit lets at least 1 pass", 0)
    if multiple < 1:
        raise RateError("a window lasts at least 1 unit", found.start("multiple"))
    return Rate(amount, multiple * UNITS[found["unit"]])


class Charge(NamedTuple):
    """One limit to be charged: `key` (16 bytes, a hash of who and what) counts against `rate` by `strategy`.

    `cost` (≥ 1) is what this request weighs. `binding` False is shadow: it is counted, but never refuses.
    """

    key: bytes
    rate: Rate
    strategy: Strategy = "sliding-window-counter"
    cost: int = 1
    binding: bool = True


class Balance(NamedTuple):
    """What one limit says after a charge.

    `granted`: this limit had room for the cost. `remaining` (≥ 0) is what is left now; `reset` (seconds from now,
    ≥ 0) when more becomes free: the `t` of the RateLimit header, and `Retry-After` where it refused.
    """

    granted: bool
    remaining: int
    reset: float


# A balance of what nearly every request is told, made in half the time.
balance_of: Callable[[tuple[bool, int, float]], Balance] = partial(tuple.__new__, Balance)
