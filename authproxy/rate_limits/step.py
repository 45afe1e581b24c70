"""The limits of one step, taken together: from an exchange to its charges, and from balances to the answer's headers.

What is counted under which key is decided here and nowhere else; what a charge means is the ledger's business.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import ceil

from authproxy.model.address import counted_as, parse_address
from authproxy.model.claims import MISSING, find_claim
from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.rate import Balance, Charge
from authproxy.policy.table import RouteLimit
from authproxy.rate_limits.keys import limit_key


class Meter:
    """One limit, compiled: what stands before whoever is counted in its keys, and its part of RateLimit-Policy."""

    __slots__ = ("limit", "policy", "prefix")

    def __init__(self, limit: RouteLimit, scope: str) -> None:
        self.limit = limit
        rate = limit.rate
        # The strategy is part of the key: a record means something to its own strategy only.
        self.prefix = limit_key(
            scope, limit.name, str(rate.window), limit.strategy, limit.per, limit.claim
        )
        # draft-ietf-httpapi-ratelimit-headers-10: the policy is static, so it is written once.
        self.policy = f'"{limit.name}";q={rate.amount};w={rate.window}'

    def charge(self, exchange: Exchange) -> Charge:
        """What this request is charged, and whom."""
        per = self.limit.per
        if per == "route":
            return self.charged(self.prefix)
        if per == "address":
            return _address_charge(self, exchange.client_text)
        identity = exchange.identity
        assert identity is not None, "limits of an identity come after authentication"
        value = find_claim(identity.claims, self.limit.claim) if per == "claim" else MISSING
        if value is MISSING:
            return _subject_charge(self, identity.authenticator, identity.subject)
        # The value of a claim may be anything (and large): counted by type and content, not kept in a cache.
        who = ("claim", identity.authenticator, type(value).__name__, repr(value))
        return self.charged(limit_key(self.prefix, *who))

    def charged(self, key: bytes) -> Charge:
        """The charge of whoever has this key."""
        limit = self.limit
        return Charge(key, limit.rate, limit.strategy, limit.cost, not limit.shadow)

    def state(self, balance: Balance) -> tuple[str, str]:
        """The members of RateLimit-Policy and RateLimit."""
        left = f'"{self.limit.name}";r={balance.remaining};t={ceil(balance.reset)}'
        return self.policy, left


# The same callers come again: their charges are made once. Bounded, and longer names than most are not kept.
@lru_cache(maxsize=16384)
def _subject_charge(meter: Meter, authenticator: str, subject: str) -> Charge:
    return meter.charged(limit_key(meter.prefix, "subject", authenticator, subject))


@lru_cache(maxsize=16384)
def _address_charge(meter: Meter, client: str) -> Charge:
    address = parse_address(client)
    counted = counted_as(address) if address is not None else client
    return meter.charged(limit_key(meter.prefix, "address", counted))


class Step:
    """Limits that are taken all or none. `scope` is the route's name; empty for those of every request.

    `only` is the limit of a step that has just one, and that one enforced: nearly every step.
    """

    __slots__ = ("_meters", "empty", "only")

    def __init__(self, limits: Sequence[RouteLimit], scope: str) -> None:
        self._meters = tuple(Meter(limit, scope) for limit in limits)
        self.empty = not limits
        alone = len(limits) == 1 and not limits[0].shadow
        self.only = self._meters[0] if alone else None

    def charges(self, exchange: Exchange) -> list[Charge]:
        """One charge a limit, in their order."""
        return [meter.charge(exchange) for meter in self._meters]

    def settle(self, exchange: Exchange, balances: Sequence[Balance], *, show: bool) -> None:
        """Note what is left for the answer's headers (where `show`), and refuse where a limit had no room.

        Raises:
            Refusal: `rate_limited` with Retry-After.
        """
        spent: tuple[str, float] | None = None
        for meter, balance in zip(self._meters, balances, strict=True):
            limit, refused = meter.limit, not balance.granted
            if limit.shadow:
                if refused:
                    exchange.shadow = exchange.shadow or "rate_limited"
                    exchange.reason = exchange.reason or f"limit {limit.name}"
                continue
            if refused and (spent is None or balance.reset > spent[1]):
                spent = (limit.name, balance.reset)
            if show or refused:
                exchange.limit_lines += (meter.state(balance),)
        if spent is not None:
            headers = (("Retry-After", str(max(1, ceil(spent[1])))),)
            raise Refusal("rate_limited", f"limit {spent[0]}", headers=headers)


def limit_headers(exchange: Exchange) -> list[tuple[str, str]]:
    """RateLimit-Policy and RateLimit (draft-10) for what this request was counted under."""
    if not exchange.limit_lines:
        return []
    if len(exchange.limit_lines) == 1:
        policy, state = exchange.limit_lines[0]
        return [("RateLimit-Policy", policy), ("RateLimit", state)]
    policies, states = zip(*exchange.limit_lines, strict=True)
    return [("RateLimit-Policy", ", ".join(policies)), ("RateLimit", ", ".join(states))]


class AccountStep(Step):
    """Limits of one account that somebody tries to log in to; `who` names it in one spelling."""

    __slots__ = ("_who",)

    def __init__(self, limits: Sequence[RouteLimit], who: str) -> None:
        super().__init__(limits, "logins")
        self._who = who

    def charges(self, _exchange: Exchange) -> list[Charge]:
        """Counted by the account alone, from wherever it is tried."""
        return [m.charged(limit_key(m.prefix, "account", self._who)) for m in self._meters]
