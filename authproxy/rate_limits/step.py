"""The limits of one step, taken together: from an exchange to its charges, and from balances to the answer's headers.

What is counted under which key is decided here and nowhere else; what a charge means is the ledger's business.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import ceil
from typing import NamedTuple

from authproxy.model.address import counted_as, parse_address
from authproxy.model.claims import MISSING, find_claim
from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.identity import Identity
from authproxy.model.rate import Balance, Charge
from authproxy.policy.table import RouteLimit
from authproxy.rate_limits.keys import limit_key


class Terms(NamedTuple):
    """What is the same for equal limits, whatever routes they are of: `charge` is what is charged, of nobody yet."""

    limit: RouteLimit
    charge: Charge
    policy: str  # its member of RateLimit-Policy, which never changes (draft-ietf-httpapi-ratelimit-headers-10)
    fields: bytes  # both, in an answer that tells of it alone, up to the two numbers at the end

    def state(self, balance: Balance) -> str:
        """Its member of RateLimit."""
        return f'"{self.limit.name}";r={balance.remaining};t={ceil(balance.reset)}'


# Scopes of limits that are of no route; routes are never named so (their names have no slash).
LOGINS, FAILED, KEPT_FORMS = "/logins", "/failed", "/kept-forms"


@lru_cache(maxsize=4096)
def _terms(limit: RouteLimit) -> Terms:
    rate = limit.rate
    charge = Charge(b"", rate, limit.strategy, limit.cost, not limit.shadow)
    policy = f'"{limit.name}";q={rate.amount};w={rate.window}'
    fields = f'RateLimit-Policy: {policy}\r\nRateLimit: "{limit.name}";r='
    return Terms(limit, charge, policy, fields.encode())


class Meter:
    """One limit of a route, compiled; its keys are its own number and that of whoever is counted, one over the other.

    Both are 128 bits of a hash, so two pairs that meet are as rare as two hashes that do; and each is made once, not for
    every pair of them.
    """

    __slots__ = ("_number", "terms")

    def __init__(self, limit: RouteLimit, scope: str) -> None:
        self.terms = _terms(limit)
        # The strategy is part of the key: a record means something to its own strategy only.
        window = str(limit.rate.window)
        self._number = _number(scope, limit.name, window, limit.strategy, limit.per, limit.claim)

    def key(self, exchange: Exchange) -> bytes:
        """What this request is counted under."""
        limit, identity = self.terms.limit, exchange.identity
        per = limit.per
        if per == "subject" and identity is not None:
            who = identity.counted or _count(identity)
        elif per == "address":
            who = _address(exchange.client_text)
        elif per == "route":
            who = 0
        else:
            assert identity is not None, "limits of an identity come after authentication"
            value = find_claim(identity.claims, limit.claim)
            # The value of a claim may be anything (and large): counted by type and content.
            said = ("claim", identity.authenticator, type(value).__name__, repr(value))
            who = identity.counted or _count(identity) if value is MISSING else _number(*said)
        return (self._number ^ who).to_bytes(16)

    def key_of(self, *parts: str) -> bytes:
        """What somebody of this name is counted under."""
        return (self._number ^ _number(*parts)).to_bytes(16)

    def charged(self, key: bytes) -> Charge:
        """The charge of whoever has this key."""
        return self.terms.charge._replace(key=key)


def _number(*parts: str) -> int:
    return int.from_bytes(limit_key(*parts))


def _count(identity: Identity) -> int:
    """What an identity is counted under, made once as its header bytes are."""
    counted = _number("subject", identity.authenticator, identity.subject)
    object.__setattr__(identity, "counted", counted)  # depends on nothing but what is frozen
    return counted


@lru_cache(maxsize=16384)
def _address(client: str) -> int:
    address = parse_address(client)
    return _number("address", counted_as(address) if address is not None else client)


class Step:
    """Limits that are taken all or none. `scope` is the route's name, or one of those above; empty for those of every request.

    `only` is the limit of a step that has just one, and that one enforced and counted by the exchange: nearly every step.
    """

    __slots__ = ("_meters", "empty", "only")

    def __init__(self, limits: Sequence[RouteLimit], scope: str) -> None:
        self._meters = tuple(Meter(limit, scope) for limit in limits)
        self.empty = not limits
        alone = len(limits) == 1 and not limits[0].shadow
        self.only = self._meters[0] if alone else None

    def charges(self, exchange: Exchange) -> list[Charge]:
        """One charge a limit, in their order."""
        return [meter.charged(meter.key(exchange)) for meter in self._meters]

    def settle(self, exchange: Exchange, balances: Sequence[Balance], *, show: bool) -> None:
        """Note what is left for the answer's headers (where `show`), and refuse where a limit had no room.

        Raises:
            Refusal: `rate_limited` with Retry-After.
        """
        spent: tuple[str, float] | None = None
        for meter, balance in zip(self._meters, balances, strict=True):
            limit, refused = meter.terms.limit, not balance.granted
            if limit.shadow:
                if refused:
                    exchange.shadow = exchange.shadow or "rate_limited"
                    exchange.reason = exchange.reason or f"limit {limit.name}"
                continue
            if refused and (spent is None or balance.reset > spent[1]):
                spent = (limit.name, balance.reset)
            if show or refused:
                exchange.limits += ((meter.terms, balance),)
        if spent is not None:
            headers = (("Retry-After", str(max(1, ceil(spent[1])))),)
            raise Refusal("rate_limited", f"limit {spent[0]}", headers=headers)


def limit_fields(exchange: Exchange) -> bytes:
    """RateLimit-Policy and RateLimit (draft-10) for what this request was counted under, as lines of an answer's head."""
    limits = exchange.limits
    if not limits:
        return b""
    if len(limits) == 1:  # nearly always, and for nearly every answer
        [(terms, balance)] = limits
        return b"%b%d;t=%d\r\n" % (terms.fields, balance.remaining, ceil(balance.reset))
    policies = ", ".join(terms.policy for terms, _ in limits)
    states = ", ".join(terms.state(balance) for terms, balance in limits)
    return f"RateLimit-Policy: {policies}\r\nRateLimit: {states}\r\n".encode()


class AccountStep(Step):
    """Limits of one account that somebody tries to log in to; `who` names it in one spelling."""

    __slots__ = ("_who",)

    def __init__(self, limits: Sequence[RouteLimit], who: str) -> None:
        super().__init__(limits, LOGINS)
        self.only = None  # its key is nothing of the exchange
        self._who = who

    def charges(self, _exchange: Exchange) -> list[Charge]:
        """Counted by the account alone, from wherever it is tried."""
        return [m.charged(m.key_of("account", self._who)) for m in self._meters]
