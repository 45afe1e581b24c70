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


class Step:
    """Limits that are taken all or none. `scope` is the route's name; empty for those of every request."""

    __slots__ = ("_limits", "_policies", "_prefixes")

    def __init__(self, limits: Sequence[RouteLimit], scope: str) -> None:
        self._limits = tuple(limits)
        # draft-ietf-httpapi-ratelimit-headers-10: the policy is static, so it is written once.
        self._prefixes = [
            limit_key(scope, x.name, str(x.rate.window), x.strategy, x.per, x.claim) for x in limits
        ]
        self._policies = [
            f'"{limit.name}";q={limit.rate.amount};w={limit.rate.window}' for limit in limits
        ]

    def __bool__(self) -> bool:
        return bool(self._limits)

    def charges(self, exchange: Exchange) -> list[Charge]:
        """One charge a limit, in their order."""
        return [
            Charge(
                _count_key(prefix, limit, exchange),
                limit.rate,
                limit.strategy,
                limit.cost,
                not limit.shadow,
            )
            for limit, prefix in zip(self._limits, self._prefixes, strict=True)
        ]

    def settle(self, exchange: Exchange, balances: Sequence[Balance], *, show: bool) -> None:
        """Note what is left for the answer's headers (where `show`), and refuse where a limit had no room.

        Raises:
            Refusal: `rate_limited` with Retry-After.
        """
        spent: tuple[str, float] | None = None
        for limit, policy, balance in zip(self._limits, self._policies, balances, strict=True):
            if limit.shadow:
                if not balance.granted:
                    exchange.shadow = exchange.shadow or "rate_limited"
                continue
            refused = not balance.granted
            if refused and (spent is None or balance.reset > spent[1]):
                spent = (limit.name, balance.reset)
            if show or refused:
                state = f'"{limit.name}";r={balance.remaining};t={ceil(balance.reset)}'
                exchange.limit_lines.append((policy, state))
        if spent is not None:
            headers = (("Retry-After", str(max(1, ceil(spent[1])))),)
            raise Refusal("rate_limited", f"limit {spent[0]}", headers=headers)


def _count_key(prefix: bytes, limit: RouteLimit, exchange: Exchange) -> bytes:
    """Under which key this request is counted; the prefix stands for the route and the limit."""
    if limit.per == "route":
        return prefix
    if limit.per == "address":
        return _address_key(prefix, exchange.client_text)
    identity = exchange.identity
    assert identity is not None, "limits of an identity come after authentication"
    value = find_claim(identity.claims, limit.claim) if limit.per == "claim" else MISSING
    if value is MISSING:
        return _subject_key(prefix, identity.authenticator, identity.subject)
    # The value of a claim may be anything (and large): counted by type and content, not kept in a cache.
    return limit_key(prefix, "claim", identity.authenticator, type(value).__name__, repr(value))


@lru_cache(maxsize=65536)
def _subject_key(prefix: bytes, authenticator: str, subject: str) -> bytes:
    return limit_key(prefix, "subject", authenticator, subject)


@lru_cache(maxsize=65536)
def _address_key(prefix: bytes, client: str) -> bytes:
    address = parse_address(client)
    return limit_key(prefix, "address", counted_as(address) if address is not None else client)


def limit_headers(exchange: Exchange) -> list[tuple[str, str]]:
    """RateLimit-Policy and RateLimit (draft-10) for what this request was counted under."""
    if not exchange.limit_lines:
        return []
    if len(exchange.limit_lines) == 1:
        policy, state = exchange.limit_lines[0]
        return [("RateLimit-Policy", policy), ("RateLimit", state)]
    policies, states = zip(*exchange.limit_lines, strict=True)
    return [("RateLimit-Policy", ", ".join(policies)), ("RateLimit", ", ".join(states))]
