"""Recorded decisions, decided again under other policies, by the functions that the server calls.

What was not recorded is never guessed: a request is decided with it both ways, and where these differ it is undecidable.
Limits are not charged again, and credentials not judged again: what they refused stays refused while the same is asked.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity
from authproxy.model.target import ENCODED_SLASH
from authproxy.policy.condition import Condition, Entry
from authproxy.policy.decide import enforce, resolve
from authproxy.policy.reads import Path, covers, named_claim, parse_pointer, shown
from authproxy.policy.recorded import Recorded
from authproxy.policy.table import Route, Table

# What routes and their entries come to; all other codes are somebody else's.
_BY_POLICY = frozenset({"allow", "forbidden", "no_route", "method_not_allowed", "bad_request"})
_BY_CREDENTIAL = frozenset(
    {"unauthenticated", "token_invalid", "token_expired", "token_revoked", "session_expired", "cross_site"}
)  # fmt: skip
_NAMED_MOST = 3
KEPT_MOST = 65536
KEPT_LONGEST = 4096  # characters of what was recorded and withheld


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a request comes to: `allow` or a code, the name of its route, and why. Where `unknown` says what is missing,
    nobody can tell; where it was `left`, the policies do not decide it and it stays as it was. `doubt` says what is missing
    where it passes for certain, and nobody can tell whether only by shadow mode.
    """

    code: str
    route: str = ""
    reason: str = ""
    shadow: str = ""
    unknown: str = ""
    doubt: str = ""
    left: bool = False


@dataclass(frozen=True, slots=True)
class _Ways:
    """A route with what was not recorded taken for the caller and against it; the same where nothing is missing."""

    best: Route
    worst: Route
    missing: str = ""


class Replay:
    """Decides records under these routes. `slots` are the places where each authenticator looks for credentials."""

    def __init__(self, table: Table, slots: Mapping[str, frozenset[str]]) -> None:
        self._table = table
        self._slots = slots
        self._ways: dict[tuple[Route, tuple[str, ...] | None, tuple[str, ...]], _Ways] = {}

    def before(self, record: Recorded) -> Outcome:
        """What it came to when it was recorded."""
        return Outcome(record.code, record.route, record.reason, record.shadow)

    def decide(self, record: Recorded) -> Outcome:
        """What it would come to now."""
        exchange = record.exchange
        try:
            route = resolve(self._table, exchange)
        except Refusal as refusal:
            if _is_doubtful(record, refusal):
                return Outcome("", unknown="how the path was encoded was not recorded")
            return Outcome(refusal.code, "", refusal.reason)
        if route is None:
            return Outcome("no_route", "", "reserved")
        if not _is_theirs(record):
            return Outcome(record.code, record.route, record.reason, left=True)
        if record.reads is None and (
            record.code == "bad_request" or ENCODED_SLASH in route.allowed_doubts
        ):
            return Outcome("", route.name, unknown="how the path was encoded was not recorded")
        return self._by_route(route, record)

    def _by_route(self, route: Route, record: Recorded) -> Outcome:
        exchange = record.exchange
        if route.forward_preflight and exchange.method == "OPTIONS":
            if record.preflight is None:
                return Outcome(
                    "", route.name, unknown="whether it was a preflight was not recorded"
                )
            if record.preflight:
                return Outcome("allow", route.name)
        if not route.authenticators:
            exchange.identity = None
        else:
            found = self._identify(route, record)
            if isinstance(found, Outcome):
                return found
        if _too_large(record, route):
            return Outcome(record.code, record.route, record.reason, left=True)
        return self._enforced(route, record)

    def _identify(self, route: Route, record: Recorded) -> Identity | Outcome:
        """Who it is to the authenticators of this route, as far as what was recorded says."""
        identity = record.exchange.identity
        same = record.asked == route.authenticators
        if identity is not None and (same or identity.authenticator in route.authenticators):
            earlier = () if same else _before(identity.authenticator, route.authenticators)
            doubtful = [one for one in earlier if not self._passed_over(one, identity, record)]
            if doubtful:
                text = (
                    f"whether `{doubtful[0]}` would have taken another credential was not recorded"
                )
                return Outcome("", route.name, unknown=text)
            if record.code in _BY_CREDENTIAL:
                return Outcome(record.code, route.name, record.reason)
            return identity
        if identity is None and same and record.code not in _BY_POLICY - {"bad_request"}:
            return Outcome(record.code, route.name, record.reason)
        return self._unidentified(route, record)

    def _unidentified(self, route: Route, record: Recorded) -> Outcome:
        """It was not verified by anybody whom this route asks."""
        identity = record.exchange.identity
        slots = frozenset[str]().union(*(self._slots[one] for one in route.authenticators))
        said = record.credentials or {}
        filled = {slot for slot in slots if said.get(slot, True)}
        if not filled:
            return Outcome("unauthenticated", route.name, "no-credentials")
        if not filled <= said.keys():
            missing = ", ".join(sorted(filled - said.keys()))
            text = f"whether a credential was presented was not recorded ({missing})"
        elif identity is None:
            text = "nobody verified the credential that it carried"
        elif filled <= self._slots.get(identity.authenticator, frozenset()):
            return Outcome("token_invalid", route.name, "authenticator")
        else:
            text = f"it carried a credential beside that of `{identity.authenticator}`, which nobody verified"
        return Outcome("", route.name, unknown=text)

    def _passed_over(self, name: str, identity: Identity, record: Recorded) -> bool:
        """Is it known that this authenticator does not take the request before the one that did?

        It was asked and said `not mine`; or its places were empty, or held what the other one took: a credential has one
        taker in its place.
        """
        if name in _before(identity.authenticator, record.asked or ()):
            return True
        said, mine = record.credentials or {}, self._slots.get(identity.authenticator, frozenset())
        return all(
            said.get(slot, True) is False or (slot in said and slot in mine)
            for slot in self._slots[name]
        )

    def _enforced(self, route: Route, record: Recorded) -> Outcome:
        ways = self._of(route, record)
        best = _outcome(ways.best, record)
        if ways.missing:
            worst = _outcome(ways.worst, record)
            if worst.code != best.code:
                return Outcome("", route.name, unknown=ways.missing)
            if worst.shadow != best.shadow:
                return replace(best, shadow="", doubt=ways.missing)
        return best

    def _of(self, route: Route, record: Recorded) -> _Ways:
        key = (route, record.reads, record.withheld)
        found = self._ways.get(key)
        if found is None:
            found = _ways(route, record.reads, record.withheld)
            length = sum(map(len, (*(record.reads or ()), *record.withheld)))
            if len(self._ways) < KEPT_MOST and length <= KEPT_LONGEST:
                self._ways[key] = found
        return found


def _outcome(route: Route, record: Recorded) -> Outcome:
    exchange = record.exchange
    exchange.shadow = exchange.reason = ""
    try:
        enforce(route, exchange)
    except Refusal as refusal:
        return Outcome(refusal.code, route.name, refusal.reason)
    return Outcome("allow", route.name, exchange.reason, exchange.shadow)


def _is_doubtful(record: Recorded, refusal: Refusal) -> bool:
    """Could the path have been another one, as only the decoded one is known?"""
    return record.reads is None and "bad_request" in {record.code, refusal.code}


def _is_theirs(record: Recorded) -> bool:
    """Is this for policies to decide, or did something else refuse it: a limit, an overload, the client's leaving?"""
    return record.code in _BY_POLICY or record.code in _BY_CREDENTIAL


def _too_large(record: Recorded, route: Route) -> bool:
    """It was refused for what the backend would have been told, which no policy says."""
    return record.reason == "identity_too_large" and bool(route.authenticators)


def _before(name: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return names[: names.index(name)] if name in names else ()


def _ways(route: Route, reads: tuple[str, ...] | None, withheld: tuple[str, ...]) -> _Ways:
    """The route in both ways, for all records of which the same was recorded."""
    recorded = frozenset(map(parse_pointer, reads or ()))
    kept_back = [parse_pointer(text) for text in withheld]
    missing: dict[str, None] = {}

    def unknown(paths: Iterable[Path]) -> bool:
        found = [
            f"{shown(path)} {'is kept back' if _touches(path, kept_back) else 'was not recorded'}"
            for path in sorted(paths)
            if not covers(recorded, path) or _touches(path, kept_back)
        ]
        missing.update(dict.fromkeys(found))
        return bool(found)

    deny = [_both_ways(entry, unknown) for entry in route.deny]
    allow = None if route.allow is None else [_both_ways(entry, unknown) for entry in route.allow]
    second = route.second_factor and unknown(named_claim("amr"))
    if not missing:
        return _Ways(route, route)
    said = list(missing)
    more = f" and {len(said) - _NAMED_MOST} more" if len(said) > _NAMED_MOST else ""
    return _Ways(
        best=replace(
            route,
            deny=tuple(no for _, no in deny),
            allow=None if allow is None else tuple(yes for yes, _ in allow),
            second_factor=route.second_factor and not second,
        ),
        worst=replace(
            route,
            deny=(*(yes for yes, _ in deny), *([Entry((_constant(True),))] if second else ())),
            allow=None if allow is None else tuple(no for _, no in allow),
            second_factor=route.second_factor and not second,
        ),
        missing=", ".join(said[:_NAMED_MOST]) + more,
    )


def _touches(path: Path, others: Iterable[Path]) -> bool:
    """Is one of these the path itself, a part of it, or what it is a part of?"""
    return any(path[: len(one)] == one or one[: len(path)] == path for one in others)


def _both_ways(entry: Entry, unknown: Callable[[Iterable[Path]], bool]) -> tuple[Entry, Entry]:
    """The entry where what is not known holds, and where it does not."""
    known = [(one, not unknown(one.reads)) for one in entry.conditions]
    return (
        replace(entry, conditions=tuple(c if k else _constant(True) for c, k in known)),
        replace(entry, conditions=tuple(c if k else _constant(False) for c, k in known)),
    )


def _constant(value: bool) -> Condition:
    return Condition("not recorded", lambda _exchange: value, "not recorded")
