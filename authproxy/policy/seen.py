"""What a condition looked at: the parts of the request and the identity that it reads, with their values, by the names
that people write. For whoever asks why; a decision never needs it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from authproxy.model.claims import MISSING
from authproxy.model.exchange import Exchange
from authproxy.policy.condition import Condition, without_texts
from authproxy.policy.reads import Path, outermost, shown

# What every decision is about, so that no condition names it among what it reads.
_SUBJECT, _AUTHENTICATOR, _CLIENT = "identity.subject", "identity.authenticator", "request.client"
_ALWAYS = {"subjects": _SUBJECT, "authenticators": _AUTHENTICATOR, "networks": _CLIENT}
_NAMED = re.compile(
    r"(?<![\w.])(?:request\.(?:method|host|path|client)|identity\.(?:subject|authenticator))\b"
)


def seen(condition: Condition, exchange: Exchange) -> Mapping[str, Any]:
    """The values by their names; `MISSING` for what is not there."""
    found: dict[str, Any] = {}
    for name in _named(condition):
        found.setdefault(name, _fact(name, exchange))
    for path in outermost(condition.reads):
        value = _part(path, exchange)
        if value is not MISSING or shown(path) not in found:
            found[shown(path)] = value
    return found


def _named(condition: Condition) -> Iterator[str]:
    if condition.word in _ALWAYS:
        yield _ALWAYS[condition.word]
    elif condition.word == "when":
        (source,) = condition.wanted
        yield from (found[0] for found in _NAMED.finditer(without_texts(source)))


def _fact(name: str, exchange: Exchange) -> Any:
    of, _, member = name.partition(".")
    if of == "request":
        return exchange.client_text if member == "client" else getattr(exchange, member)
    return MISSING if exchange.identity is None else getattr(exchange.identity, member)


def _part(path: Path, exchange: Exchange) -> Any:
    """The part of the request or the identity at this path, in JSON's own terms."""
    if path[0] == "headers":
        fields = exchange.headers
        return fields.get(path[1], MISSING) if len(path) > 1 else dict(fields)
    if exchange.identity is None:
        return MISSING
    value: Any = getattr(exchange.identity, path[0])
    for part in path[1:]:
        if not isinstance(value, Mapping) or part not in value:
            return MISSING
        value = value[part]
    if value is None:
        return MISSING if len(path) == 1 else None
    return sorted(value) if isinstance(value, frozenset) else list(value) if isinstance(value, tuple) else value  # fmt: skip
