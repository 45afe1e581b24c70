"""Takes the steps of a request, and says what happens when the state cannot be reached.

Limits of a route refuse then (or pass, counted, where the operator chose `allow_limits`); limits of every request and
failed authentications go on in this worker's own memory. What has to be waited for (a Redis) is handed back to be awaited.
"""

from collections.abc import Coroutine, Sequence
from typing import Any

from authproxy.model.errors import Refusal, valued
from authproxy.model.exchange import Exchange
from authproxy.model.rate import Balance, Charge
from authproxy.rate_limits.ledger import Ledger
from authproxy.rate_limits.step import Step
from authproxy.state.memory import MemoryStore
from authproxy.state.store import EmbeddedStore, StateUnavailable

# None: it is done. Else it is done when this was awaited.
Waiting = Coroutine[Any, Any, None] | None


async def done(waiting: Waiting) -> None:
    """Wait for it, where there is something to wait for."""
    if waiting is not None:
        await waiting


def _outcome(taken: list[Waiting | Refusal]) -> Waiting:
    [outcome] = taken
    try:
        if isinstance(outcome, Refusal):
            raise outcome
        return outcome
    finally:
        # Its traceback holds this frame: neither would go before the collector comes.
        del outcome, taken


def _settled(
    step: Step, exchange: Exchange, balances: Sequence[Balance], always: bool
) -> Refusal | None:
    try:
        step.settle(exchange, balances, show=not always)
    except Refusal as refusal:
        return valued(refusal)
    return None


class Limiter:
    """Charges steps; `allow` is `state.on_failure: allow_limits`.

    `unavailable` counts how often the state could not be reached, by what became of it: `passed` uncounted, `refused`,
    or counted in this worker's `own` memory.
    """

    __slots__ = ("_allow", "_ledger", "_own", "unavailable")

    def __init__(self, store: EmbeddedStore, *, allow: bool) -> None:
        self._ledger = Ledger(store)
        self._own = Ledger(MemoryStore())
        self._allow = allow
        self.unavailable = {"passed": 0, "refused": 0, "own": 0}

    def take(self, step: Step, exchange: Exchange) -> Waiting:
        """Charge the limits of a route.

        Raises:
            Refusal: `rate_limited`, or `state_unavailable`.
        """
        return _outcome(self.take_each([(step, exchange)]))

    def take_always(self, step: Step, exchange: Exchange) -> Waiting:
        """Charge limits that hold whatever becomes of the state.

        Raises:
            Refusal: `rate_limited`.
        """
        return _outcome(self.take_each([(step, exchange)], always=True))

    def take_each(
        self, taken: Sequence[tuple[Step, Exchange]], *, always: bool = False
    ) -> list[Waiting | Refusal]:
        """`take` (or `take_always`) for requests that came together; each has its own outcome, the refusal in place of a raise."""
        outcomes: list[Waiting | Refusal] = []
        tried, places = [], []
        for step, exchange in taken:
            only = step.only
            if only is None:
                outcomes.append(self._take_several(step, exchange, always))
                continue
            places.append(len(outcomes))
            outcomes.append(None)
            tried.append((only.key(exchange), only.terms.charge, exchange.now))
        for at, balance in zip(places, self._ledger.acquire_each(tried), strict=True):
            step, exchange = taken[at]
            if isinstance(balance, StateUnavailable):
                outcomes[at] = self._uncounted(step, exchange, balance, always)
            elif not balance.granted:
                outcomes[at] = _settled(step, exchange, [balance], always)
            elif (
                not always and step.only is not None
            ):  # the usual case, and nothing else is left to say
                exchange.limits += ((step.only.terms, balance),)
        return outcomes

    def _take_several(self, step: Step, exchange: Exchange, always: bool) -> Refusal | None:
        charges = step.charges(exchange)
        try:
            balances = self._ledger.acquire(charges, exchange.now)
        except StateUnavailable as error:
            return self._uncounted(step, exchange, error, always)
        return _settled(step, exchange, balances, always)

    def _uncounted(
        self, step: Step, exchange: Exchange, error: StateUnavailable, always: bool
    ) -> Refusal | None:
        """What becomes of a request whose state cannot be reached."""
        try:
            if not always:
                self._pass_or_refuse(exchange, error)
                return None
            balances = self._own_balances(step.charges(exchange), exchange)
        except Refusal as refusal:
            return valued(refusal)
        return _settled(step, exchange, balances, always)

    def look(self, step: Step, exchange: Exchange) -> Waiting:
        """Refuse where these limits have no room, charging nothing.

        Raises:
            Refusal: `rate_limited`.
        """
        only = step.only
        try:
            if only is not None and self._ledger.untouched(only.key(exchange), exchange.now):
                return None
            charges = step.charges(exchange)
            balances = self._ledger.peek(charges, exchange.now)
        except StateUnavailable:
            balances = self._own_look(step.charges(exchange), exchange)
        step.settle(exchange, balances, show=False)
        return None

    def _own_look(self, charges: Sequence[Charge], exchange: Exchange) -> list[Balance]:
        self.unavailable["own"] += 1
        return self._own.peek(charges, exchange.now)

    async def peek(self, charges: Sequence[Charge], now: float) -> list[Balance]:
        """What is left of each, nothing charged.

        Raises:
            StateUnavailable: nobody can tell.
        """
        return self._ledger.peek(charges, now)

    def _pass_or_refuse(self, exchange: Exchange, error: StateUnavailable) -> None:
        self.unavailable["passed" if self._allow else "refused"] += 1
        if not self._allow:
            raise Refusal("state_unavailable", str(error)) from None
        exchange.reason = exchange.reason or "limits not counted"

    def _own_balances(self, charges: list[Charge], exchange: Exchange) -> list[Balance]:
        self.unavailable["own"] += 1
        try:
            return self._own.acquire(charges, exchange.now)
        except StateUnavailable as error:
            raise Refusal("state_unavailable", str(error)) from None
