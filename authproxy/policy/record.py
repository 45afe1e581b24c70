"""A decision as a record: what it was about, what the policies read for it, and what it came to.

A record is a plain mapping, in JSON's own terms. It holds what `reads` names and no more, and never a credential: what
looks like one is withheld, by its path, so that whoever decides the request again knows what is missing.
"""

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from authproxy.model.exchange import Exchange
from authproxy.model.headers import HeaderRules, Kind, fold
from authproxy.model.identity import Identity
from authproxy.policy.decide import is_preflight
from authproxy.policy.pattern import RESERVED_PREFIX
from authproxy.policy.reads import (
    CLAIMS,
    HEADERS,
    NOTHING,
    Path,
    Reads,
    named_claim,
    outermost,
    pointer,
)
from authproxy.policy.table import Table

Record = dict[str, Any]

# Header names whose values are secrets, by any of their words: `X-Api-Key`, `X-Csrf-Token`.
_SECRET_WORDS = frozenset({
    "apikey", "assertion", "auth", "authentication", "authorization", "cookie", "credential", "credentials",
    "csrf", "dpop", "jwt", "key", "otp", "passwd", "password", "secret", "session", "sig", "signature", "sso",
    "token", "xsrf"
})  # fmt: skip
# What is a credential or a link with a query whatever it is called: a JWT, a scheme with its credential, a URL's query.
_SECRET_VALUE = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]{4,}\.|\A\s*(?:bearer|basic|dpop|digest|negotiate)\s|://\S*[?#@]|\A/\S*\?|-----BEGIN ",
    re.IGNORECASE,
)


def reads_of(table: Table) -> Reads:
    """What the conditions of all routes read."""
    found: set[Path] = set()
    for route in table.routes:
        for entry in (*route.deny, *(route.allow or ())):
            found |= entry.reads
        if route.second_factor:
            found |= named_claim("amr")
    return frozenset(found)


def is_secret_header(name: str) -> bool:
    """Does a header of this name hold what must not be written down?"""
    return not _SECRET_WORDS.isdisjoint(fold(name).split("-"))


class Recorder:
    """Makes the records of one set of policies, whose `digest` stands in each.

    `slots` are the names of where the authenticators look for credentials (`scheme:bearer`, `header:x-key`,
    `cookie:__Host-authproxy`); a record says which of them held something, and never what. What depends on the caller
    and its fields alone is worked out once for a client that repeats itself.
    """

    __slots__ = ("_claims", "_facts", "_headers", "_named", "_reads", "_slots", "digest")

    def __init__(
        self,
        reads: Reads = NOTHING,
        digest: str = "",
        slots: Iterable[str] = (),
        rules: HeaderRules | None = None,
    ) -> None:
        self.digest = digest
        outer = list(outermost(reads))
        self._reads = [pointer(path) for path in outer]
        self._claims = [path[1:] for path in outer if path[0] == CLAIMS[0]]
        self._headers = [path[1:] for path in outer if path[0] == HEADERS[0]]
        self._facts = [path[0] for path in outer if path[0] not in {CLAIMS[0], HEADERS[0]}]
        self._slots = tuple(_readable(slots, rules or HeaderRules()))
        # Whether a header is a secret, of those that are named: found out once.
        self._named = {path[0]: self._is_kept_back(path[0]) for path in self._headers if path}

    @property
    def reads_headers(self) -> bool:
        """Do the policies read header fields?"""
        return bool(self._headers)

    def recorded(self, exchange: Exchange, caller: Record | None = None) -> Record | None:
        """The record of this exchange; None where nothing was decided about its target: the head was refused, a limit of
        every request did, or it was for our own endpoints. `caller` is the part of the caller where it was kept.
        """
        target, route = exchange.target, exchange.route
        if target is None or target.segments[0] == RESERVED_PREFIX:
            return None
        if not exchange.admitted and not exchange.code:
            return None  # sent elsewhere by a listener that does nothing else
        record = {
            "time": written(exchange.now),
            "request_id": exchange.request_id,
            "client": exchange.client_text,
            "method": exchange.method,
            "host": exchange.host,
            "path": target.path,
            "route": route and route.name,
            "decision": "allow" if exchange.admitted else "refuse",
            "code": None if exchange.admitted else exchange.code,
            "reason": exchange.reason or None,
            "shadow": exchange.shadow or None,
            "policies": self.digest,
            "asked": route and route.authenticators,
            "reads": self._reads,
        }
        if target.raw_path != target.path:
            record["raw_path"] = target.raw_path
        if exchange.method == "OPTIONS":
            record["preflight"] = is_preflight(exchange)
        return record | (self.caller(exchange) if caller is None else caller)

    def caller(self, exchange: Exchange) -> Record:
        """The part of a record that depends on the caller and its fields alone."""
        memo, of = exchange.fields.memo, (self, exchange.identity)
        kept = memo.get(Recorder)
        if kept is None or kept[0] != of:
            kept = memo[Recorder] = of, self._worked_out(exchange)
        found: Record = kept[1]
        return found

    def _worked_out(self, exchange: Exchange) -> Record:
        identity, withheld = exchange.identity, list[Path]()
        record: Record = {
            "subject": identity and identity.subject,
            "authenticator": identity and identity.authenticator,
            "credentials": {slot: _holds(slot, exchange) for slot in self._slots},
        }
        if identity is not None:
            record |= {name: _plain(getattr(identity, name)) for name in self._facts}
            if self._claims:
                record["claims"] = self._picked(identity, withheld)
        if self._headers:
            record["headers"] = dict(self._fields(exchange.headers, withheld))
        if withheld:
            record["withheld"] = [pointer(path) for path in withheld]
        return record

    def _picked(self, identity: Identity, withheld: list[Path]) -> Record:
        picked: Record = {}
        for path in self._claims:
            if not path:
                return _without_kept_out(identity.claims, CLAIMS, withheld)
            _copy(path, identity.claims, picked)
        return _without_kept_out(picked, CLAIMS, withheld)

    def _fields(
        self, headers: Mapping[str, str], withheld: list[Path]
    ) -> Iterator[tuple[str, str]]:
        named = self._named
        if () in self._headers:
            named = {name: self._is_kept_back(name) for name in headers}
        for name, kept_back in named.items():
            value = headers.get(name)
            if value is None:
                continue
            if kept_back or _is_kept_out(value):
                withheld.append((*HEADERS, name))
            else:
                yield name, value

    def _is_kept_back(self, name: str) -> bool:
        return is_secret_header(name) or f"header:{name}" in self._slots


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return dt.datetime.fromtimestamp(second, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def written(moment: float) -> str:
    """The moment (seconds since the epoch) in UTC, with milliseconds; as in the access log."""
    return f"{_second(int(moment))}.{int(moment * 1000) % 1000:03d}Z"


def _readable(slots: Iterable[str], rules: HeaderRules) -> Iterator[str]:
    """The places that can still be looked at when a request has ended: no certificates, no headers that we drop."""
    for slot in dict.fromkeys(slots):
        kind, _, name = slot.partition(":")
        passes = kind == "header" and rules.kind(name.encode("latin-1", "replace")) is Kind.PASS
        if kind in {"scheme", "cookie"} or passes:
            yield slot


def _holds(slot: str, exchange: Exchange) -> bool:
    kind, _, name = slot.partition(":")
    fields = exchange.fields
    if kind == "scheme":
        scheme = (fields.authorization or b"").partition(b" ")[0]
        return scheme.lower() == name.encode()
    if kind == "header":
        return bool(fields.headers.get(name))
    pairs = (pair.partition(b"=") for line in fields.cookies for pair in line.split(b";"))
    return any(key.strip() == name.encode() and value.strip() for key, _, value in pairs)


def _plain(value: Any) -> Any:
    return (
        sorted(value)
        if isinstance(value, frozenset)
        else list(value)
        if isinstance(value, tuple)
        else value
    )


def _copy(path: Path, whole: Mapping[str, Any], into: Record) -> None:
    """Take over what is at the path, and nothing beside it."""
    value: Any = whole
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            return
        value = value[part]
    for part in path[:-1]:
        into = into.setdefault(part, {})
    into[path[-1]] = value


def _is_kept_out(value: Any) -> bool:
    """Is it a secret, or a number that whoever reads JSON may round (RFC 8259 section 6), so that it would be another one?"""
    if isinstance(value, str):
        return _SECRET_VALUE.search(value) is not None
    return isinstance(value, int) and not -(1 << 63) <= value < 1 << 64


def _without_kept_out(value: Mapping[str, Any], at: Path, withheld: list[Path]) -> Record:
    """The same without the parts that are kept out; a list that holds one is left out whole."""
    kept: Record = {}
    for name, inner in value.items():
        path = (*at, name)
        if isinstance(inner, Mapping):
            kept[name] = _without_kept_out(inner, path, withheld)
        elif _is_kept_out(inner) or (isinstance(inner, list) and _any_kept_out(inner)):
            withheld.append(path)
        else:
            kept[name] = inner
    return kept


def _any_kept_out(values: Sequence[Any]) -> bool:
    return any(
        _is_kept_out(one)
        or (isinstance(one, list) and _any_kept_out(one))
        or (isinstance(one, Mapping) and bool(_found_kept_out(one)))
        for one in values
    )


def _found_kept_out(value: Mapping[str, Any]) -> list[Path]:
    withheld: list[Path] = []
    _without_kept_out(value, CLAIMS, withheld)
    return withheld
