"""Policies from a few lines of YAML, and requests against them: what the tests of this room share."""

from typing import Any

from authproxy.config.load import fill
from authproxy.config.validate import validate
from authproxy.config.yaml import read_yaml
from authproxy.model.exchange import Exchange
from authproxy.model.fields import Fields
from authproxy.model.headers import HeaderRules
from authproxy.model.identity import Identity
from authproxy.model.target import parse_target
from authproxy.policy.document import PolicyDocument
from authproxy.policy.parse import Names, Policies, parse_policies
from authproxy.policy.table import Route

NAMES = Names({"orders"}, {"tokens", "staff"}, HeaderRules(["X-Tenant-Role"]))
ALICE = Identity(
    "tokens",
    "alice",
    groups=("eng",),
    scopes=frozenset({"read"}),
    claims={"sub": "alice", "level": 3},
)


def parsed(*texts: str, names: Names = NAMES) -> Policies:
    """The policies of these files, `0.yaml` and on; their shape must be right."""
    files = []
    for number, text in enumerate(texts):
        data, source, problems = read_yaml(text.encode(), f"{number}.yaml")
        document, _, more = validate(PolicyDocument, data, source, fill)
        assert [*problems, *more] == []
        assert document is not None
        files.append((document, source))
    return parse_policies(files, names)


def route_text(
    more: str = "", *, authenticate: str = "[tokens]", allow: str = "authenticated"
) -> str:
    """One route of a file; `more` are its further keys."""
    allowed = f"allow: {allow}, " if allow else ""
    base = f"name: r, match: {{paths: [/a/**]}}, upstream: orders, authenticate: {authenticate}, {allowed}"
    return f"routes: [{{{base}{more}}}]"


def route(more: str = "", **parts: str) -> Route:
    """That route, compiled; it must be without problems."""
    policies = parsed(route_text(more, **parts))
    assert [str(p) for p in policies.problems] == []
    return policies.table.routes[0]


def codes(policies: Policies) -> list[str]:
    """The codes of the problems, in their order."""
    return [p.code for p in policies.problems]


def request(identity: Identity | None = ALICE, target: str = "/a/b", **parts: Any) -> Exchange:
    """A request as the layers before authorization leave it."""
    exchange = Exchange("id", 1_700_000_000.0, 0.0)
    exchange.method, exchange.host, exchange.host_field = "GET", "a.test", "a.test"
    exchange.raw_target = target
    exchange.target = parse_target(target)
    exchange.identity = identity
    exchange.fields = Fields()
    for name, value in parts.items():
        setattr(exchange.fields if name in Fields.__slots__ else exchange, name, value)
    return exchange
