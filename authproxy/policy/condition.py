"""Conditions, compiled to plain functions of the exchange; the only import of CEL.

Declarative keys become Python closures; CEL is the escape hatch and is evaluated last. Google's binding returns errors
as truthy values: only a BOOL that is True may ever allow.
"""

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cel_expr_python import cel

from authproxy.model.address import Address, Network, Networks
from authproxy.model.claims import MISSING, find_claim, same
from authproxy.model.exchange import Exchange
from authproxy.policy.reads import GROUPS, NOTHING, SCOPES, Reads, named_claim, read_by

SOURCE_MOST = 4096
COMPREHENSIONS_MOST = 8
REQUEST_FIELDS = ("method", "host", "path", "client", "headers")
IDENTITY_FIELDS = ("subject", "authenticator", "groups", "scopes", "email", "username", "name")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a condition came to: does it hold, and (where it could not be evaluated) why not."""

    holds: bool
    error: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition as written, its test, and what that reads. A declarative test over something missing does not hold.

    `word` is its key in the policy file and `wanted` what stands there, for whoever reasons about conditions without a
    request: names, `Network`s, (claim, values), or the CEL source. Equal conditions are written in the same way.
    """

    text: str
    test: Callable[[Exchange], bool | str] = field(compare=False)
    word: str
    wanted: tuple[Any, ...] = ()
    reads: Reads = NOTHING

    def outcome(self, exchange: Exchange) -> Outcome:
        """True or False; a text is an error, and an error never holds."""
        found = self.test(exchange)
        return Outcome(found is True, found if isinstance(found, str) else "")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of `allow` or `deny`: its conditions must all hold. In shadow it refuses nobody, and is noted."""

    conditions: tuple[Condition, ...]
    shadow: bool = False

    @property
    def reads(self) -> Reads:
        """What its conditions read."""
        return NOTHING.union(*(condition.reads for condition in self.conditions))

    @property
    def text(self) -> str:
        """The entry as one line."""
        return " and ".join(c.text for c in self.conditions)


class ExpressionError(ValueError):
    """An expression that cannot be used; `column` (0-based, in its text) is where it goes wrong."""

    def __init__(self, text: str, column: int = 0) -> None:
        super().__init__(text)
        self.column = column


def _listed(values: Sequence[Any]) -> str:
    return "[" + ", ".join(map(str, values)) + "]"


def groups(wanted: Sequence[str]) -> Condition:
    """In any of these groups."""
    names = frozenset(wanted)
    return Condition(
        f"groups: {_listed(wanted)}",
        lambda x: x.identity is not None and not names.isdisjoint(x.identity.groups),
        "groups",
        tuple(wanted),
        frozenset({GROUPS}),
    )


def scopes(wanted: Sequence[str]) -> Condition:
    """Has all of these scopes."""
    names = frozenset(wanted)
    return Condition(
        f"scopes: {_listed(wanted)}",
        lambda x: x.identity is not None and names <= x.identity.scopes,
        "scopes",
        tuple(wanted),
        frozenset({SCOPES}),
    )


def subjects(wanted: Sequence[str]) -> Condition:
    """Is one of these subjects."""
    names = frozenset(wanted)
    return Condition(
        f"subjects: {_listed(wanted)}",
        lambda x: x.identity is not None and x.identity.subject in names,
        "subjects",
        tuple(wanted),
    )


def authenticators(wanted: Sequence[str]) -> Condition:
    """Was verified by one of these authenticators."""
    names = frozenset(wanted)
    return Condition(
        f"authenticators: {_listed(wanted)}",
        lambda x: x.identity is not None and x.identity.authenticator in names,
        "authenticators",
        tuple(wanted),
    )


def networks(wanted: Sequence[Network]) -> Condition:
    """Comes from one of these networks."""
    known = Networks(wanted)

    def test(exchange: Exchange) -> bool:
        client: Address = exchange.client
        return client in known

    return Condition(f"networks: {_listed(wanted)}", test, "networks", tuple(wanted))


def claim(name: str, wanted: Any) -> Condition:
    """The claim equals the value, or one of the values; a list in the token contains any of them."""
    values = wanted if isinstance(wanted, list) else [wanted]

    def test(exchange: Exchange) -> bool:
        if exchange.identity is None:
            return False
        found = find_claim(exchange.identity.claims, name)
        if found is MISSING:
            return False
        held = found if isinstance(found, list) else [found]
        return any(same(one, value) for one in held for value in values)

    text = f"claims.{name}: {_listed(values) if isinstance(wanted, list) else wanted}"
    return Condition(text, test, "claims", (name, tuple(values)), named_claim(name))


# What of a login somebody knows, has or is (RFC 8176 section 2): two of a kind are one factor.
FACTORS = (
    frozenset({"pwd", "pin", "kba"}),
    frozenset({"otp", "hwk", "swk", "pop", "sc", "sms", "tel"}),
    frozenset({"face", "fpt", "iris", "retina", "vbm"}),
)


def _has_two_factors(exchange: Exchange) -> bool:
    said = exchange.identity.claims.get("amr") if exchange.identity is not None else None
    if not isinstance(said, list):
        return False
    methods = {method for method in said if isinstance(method, str)}
    return "mfa" in methods or sum(not kind.isdisjoint(methods) for kind in FACTORS) > 1


SECOND_FACTOR = Condition(
    "second_factor: true", _has_two_factors, "second_factor", (), named_claim("amr")
)


class Expression:
    """A CEL expression, type-checked when it is made.

    Raises:
        ExpressionError: it cannot be parsed, names something that is not there, or is over the bounds.
    """

    __slots__ = ("_program", "source")

    def __init__(self, source: str, *, boolean: bool) -> None:
        self.source = source
        self._program = _compile(source)
        kind = self._program.return_type()
        wanted = (cel.Type.BOOL, cel.Type.DYN) if boolean else (cel.Type.STRING, cel.Type.DYN)
        if kind not in wanted:
            raise ExpressionError(
                f"this gives {kind.name().lower()}, not {'bool' if boolean else 'string'}"
            )

    @classmethod
    @lru_cache(maxsize=16384)
    def of_text(cls, source: str) -> "Expression":
        """One that gives a text; the same one for the same source."""
        return cls(source, boolean=False)

    def test(self, exchange: Exchange) -> bool | str:
        """True or False; what went wrong, as text, for everything else."""
        kind, value = self._evaluate(exchange)
        if kind == cel.Type.BOOL and (value is True or value is False):
            return bool(value)
        return str(value) if kind == cel.Type.ERROR else f"gave {kind.name().lower()}, not bool"

    def text(self, exchange: Exchange) -> str | None:
        """The text it gives; None where it gives anything else or something it reads is missing."""
        kind, value = self._evaluate(exchange)
        return value if kind == cel.Type.STRING and isinstance(value, str) else None

    def _evaluate(self, exchange: Exchange) -> tuple[Any, Any]:
        try:
            data = _activation(exchange)
            if _holds_nul(data):
                return cel.Type.ERROR, "a value holds a NUL character"
            found = self._program.eval(data=data)
            return found.type(), found.value()
        except Exception as error:  # the binding raises for budgets and values it cannot convert
            return cel.Type.ERROR, str(error)


def when(source: str) -> Condition:
    """The CEL expression is true.

    Raises:
        ExpressionError: it cannot be used.
    """
    made = Expression(source, boolean=True)
    return Condition(f"when: {source}", made.test, "when", (source,), read_by(source))


@lru_cache(maxsize=1)
def _environment() -> Any:
    record = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
    names = {"request": record, "identity": record, "claims": record, "now": cel.Type.TIMESTAMP}
    return cel.NewEnv(variables=names)


_PLACE = re.compile(r"<input>:(-?\d+):(-?\d+): (?:Syntax error: )?(.*)")
_NOISE = re.compile(r" \[INVALID_ARGUMENT\]$| \(in container ''\)| expecting .*$")
_LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
_FIELD = re.compile(r"(?<![\w.])(request|identity)\.(\w+)")
MACRO = re.compile(r"\.\s*(?:all|exists|exists_one|existsOne|map|filter)\s*\(")


def without_texts(source: str) -> str:
    """The source with its string literals blanked, at the same length: what is left are its names and operators."""
    return _LITERAL.sub(lambda m: '"' + "_" * (len(m[0]) - 2) + '"', source)


@lru_cache(maxsize=16384)
def _compile(source: str) -> Any:
    if not source.strip():
        raise ExpressionError("an empty expression says nothing")
    if len(source) > SOURCE_MOST:
        raise ExpressionError(f"an expression may have {SOURCE_MOST} characters")
    _check_names(source)
    try:
        return _environment().compile(source)
    except Exception as error:  # the binding has no type for its errors
        raise _explained(str(error)) from None


def _check_names(source: str) -> None:
    bare = without_texts(source)
    # The binding stops an evaluation after 10,000 iterations; each may build a list as long as the claims are.
    if len(MACRO.findall(bare)) > COMPREHENSIONS_MOST:
        raise ExpressionError(f"an expression may have {COMPREHENSIONS_MOST} comprehensions")
    for found in _FIELD.finditer(bare):
        known = REQUEST_FIELDS if found[1] == "request" else IDENTITY_FIELDS
        if found[2] not in known:
            raise ExpressionError(
                f"`{found[0]}` does not exist; there is {', '.join(known)}", found.start(2)
            )


def _explained(said: str) -> ExpressionError:
    """What the binding said, in one line; its place counts only in the first line of the source."""
    if "incompatible function arguments" in said:
        return ExpressionError("it holds characters that are no Unicode text")
    place = _PLACE.search(said)
    if place is None:
        return ExpressionError(said.splitlines()[0][:200])
    column = max(int(place[2]) - 1, 0) if place[1] == "1" else 0
    return ExpressionError(_NOISE.sub("", place[3])[:200], column)


def _holds_nul(value: Any) -> bool:
    """Is there a NUL in any text of it? The binding cuts texts there: `acme` and a NUL would equal `acme`."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_holds_nul(key) or _holds_nul(inner) for key, inner in value.items())
    return isinstance(value, list) and any(map(_holds_nul, value))


def _activation(exchange: Exchange) -> dict[str, Any]:
    """What CEL sees; a field without a value is missing, so that `has()` can ask for it."""
    identity = exchange.identity
    known: dict[str, Any] = {}
    if identity is not None:
        known = {
            "subject": identity.subject,
            "authenticator": identity.authenticator,
            "groups": list(identity.groups),
            "scopes": sorted(identity.scopes),
        }
        optional = {"email": identity.email, "username": identity.username, "name": identity.name}
        known.update({k: v for k, v in optional.items() if v is not None})
    return {
        "request": {
            "method": exchange.method,
            "host": exchange.host,
            "path": exchange.path,
            "client": exchange.client_text,
            "headers": dict(exchange.headers),
        },
        "identity": known,
        "claims": dict(identity.claims) if identity is not None else {},
        "now": dt.datetime.fromtimestamp(exchange.now, dt.UTC),
    }
