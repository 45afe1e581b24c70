"""The shape of policy files: what each key takes, and that empty never means everything."""

from typing import Any

import pytest
from pydantic import ValidationError

from authproxy.model.rate import Rate
from authproxy.policy.document import CaseDocument, PolicyDocument, RateLimit, RouteDocument

ROUTE: dict[str, Any] = {
    "name": "r", "match": {"paths": ["/a"]}, "upstream": "u", "authenticate": ["t"], "allow": [{"groups": ["g"]}],
}  # fmt: skip
LIMIT: dict[str, Any] = {"limit": "10/minute", "per": "address"}


def kinds(model: type[Any], data: dict[str, Any]) -> set[str]:
    """The kinds of error; none where the data is right."""
    try:
        model.model_validate(data)
    except ValidationError as error:
        return {e["type"] for e in error.errors()}
    return set()


def test_the_defaults_are_the_careful_ones() -> None:
    """Enforced, nothing forwarded that was not asked for, every doubt refused."""
    route = RouteDocument.model_validate(ROUTE)
    assert (route.mode, route.cors_preflight, route.streams) == ("enforce", "refuse", "close")
    assert (route.encoded_slash, route.encoded_percent, route.double_slash) == ("refuse",) * 3
    assert route.forward_authorization is False
    limit = RateLimit.model_validate(LIMIT)
    assert (limit.strategy, limit.cost, limit.mode) == ("sliding-window-counter", 1, "enforce")
    assert limit.rate == Rate(10, 60)


@pytest.mark.parametrize(
    "change",
    [
        {"match": {"paths": []}},
        {"match": {"paths": ["/a"], "hosts": []}},
        {"match": {"paths": ["/a"], "methods": []}},
        {"authenticate": []},
        {"allow": []},
        {"deny": []},
        {"rate_limits": []},
        {"allow": [{"groups": []}]},
        {"allow": [{"claims": {}}]},
        {"allow": [{"claims": {"a": []}}]},
        {"allow": [{"groups": [""]}]},
    ],
)
def test_empty_lists_are_errors(change: dict[str, Any]) -> None:
    """An empty list is nobody's intention, and would be everyone or no one."""
    assert kinds(RouteDocument, ROUTE | change)


@pytest.mark.parametrize(
    "change",
    [
        {"allow": None},
        {"deny": None},
        {"rate_limits": None},
        {"rewrite": None},
        {"match": {"paths": ["/a"], "hosts": None}},
        {"match": {"paths": ["/a"], "methods": None}},
        *({"allow": [{word: None}]} for word in ("groups", "scopes", "subjects", "authenticators", "networks", "claims", "when")),
        *({"deny": [{word: None}]} for word in ("groups", "when")),
    ],
)  # fmt: skip
def test_trap_a_key_without_a_value_allows_nobody(change: dict[str, Any]) -> None:
    """`allow: [{groups: }]` would hold for everyone, and `deny:` for no one (facts 36)."""
    assert "empty-value" in kinds(RouteDocument, ROUTE | change)


@pytest.mark.parametrize(
    "change",
    [
        {"allows": []},
        {"name": "with space"},
        {"name": "x" * 65},
        {"authenticate": "tokens"},
        {"authenticate": "any"},
        {"allow": "everyone"},
        {"allow": {"groups": ["g"]}},
        {"mode": "off"},
        {"forward_authorization": "yes"},
        {"encoded_slash": True},
        {"match": {"paths": "/a"}},
        {"match": {"paths": ["/a"], "methods": ["GET POST"]}},
        {"match": {"paths": ["/a"], "path": "/b"}},
        {"rewrite": {"strip_prefix": "orders"}},
        {"rewrite": {"strip_prefix": "/orders/"}},
        {"rewrite": {"strip_prefix": "/"}},
        {"headers": {"set": {"X Y": "'a'"}}},
        {"headers": {"set": {"X": 1}}},
        {"allow": [{"claims": {"a": None}}]},
        {"allow": [{"claims": {"a": {"b": 1}}}]},
        {"allow": [{"when": True}]},
    ],
)
def test_what_is_not_written_as_it_must_be_is_an_error(change: dict[str, Any]) -> None:
    """Unknown keys, other types and other words are never guessed at."""
    assert kinds(RouteDocument, ROUTE | change)


@pytest.mark.parametrize(
    "host", ["a", "a.test", "*.a.test", "a_b.test", "127.0.0.1", "[::1]", "xn--a.test", "a-b.test"]
)
def test_hosts_are_names_suffixes_and_addresses(host: str) -> None:
    """As the Host field is matched: lower case, without a port."""
    assert not kinds(RouteDocument, ROUTE | {"match": {"paths": ["/a"], "hosts": [host]}})


@pytest.mark.parametrize("host", ["", "*", "A.test", "a.test:80", "a.test.", "*.*.test", "a.*.test", "*a.test", "a..b", "[0:0::1]", "[::g]", "http://a", "a/b", "é.test", "a.test\n"])  # fmt: skip
def test_hosts_that_would_never_match_are_errors(host: str) -> None:
    """Upper case, ports, a trailing dot, other wildcards, a long spelling of an address."""
    assert kinds(RouteDocument, ROUTE | {"match": {"paths": ["/a"], "hosts": [host]}}) == {
        "bad-host"
    }


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"limit": "10/fortnight"}, "bad-rate"),
        ({"limit": "0/minute"}, "bad-rate"),
        ({"limit": 10}, "string_type"),
        ({"per": "client"}, "bad-per"),
        ({"per": "claim:"}, "bad-per"),
        ({"per": "claim:a b"}, "bad-per"),
        ({"strategy": "leaky-bucket"}, "literal_error"),
        ({"cost": 0}, "greater_than_equal"),
        ({"cost": 11}, "bad-cost"),
        ({"limit": "10001/minute", "strategy": "moving-window"}, "bad-strategy"),
        ({"mode": "log"}, "literal_error"),
    ],
)
def test_a_limit_must_be_possible(change: dict[str, Any], kind: str) -> None:
    """A rate, somebody to count, and a cost that the rate can ever pay."""
    assert kinds(RateLimit, LIMIT | change) == {kind}


@pytest.mark.parametrize("per", ["subject", "address", "route", "claim:tenant", "claim:a.b"])
def test_a_limit_counts_by_subject_claim_address_or_route(per: str) -> None:
    """Section 3 of the contract."""
    assert RateLimit.model_validate(LIMIT | {"per": per}).per == per


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({}, False),
        ({"expect": "allow"}, False),
        ({"expect": "denied"}, True),
        ({"request": "https://a.test/"}, True),
        ({"request": "GET"}, True),
        ({"identity": {"groups": ["g"]}}, True),
        ({"identity": {"subject": "a", "claims": {"x": None}}}, False),
    ],
)
def test_a_test_is_a_request_and_a_verdict(change: dict[str, Any], wrong: bool) -> None:
    """`allow` or a code; an identity has a subject."""
    data = {"request": "GET https://a.test/x", "expect": "forbidden", **change}
    assert bool(kinds(CaseDocument, data)) is wrong


def test_the_schema_names_every_key() -> None:
    """Editors complete and check from the same models."""
    schema = PolicyDocument.model_json_schema()
    assert set(schema["properties"]) == {"routes", "identities", "tests"}
    assert set(schema["$defs"]["RouteDocument"]["properties"]) == set(RouteDocument.model_fields)
    assert schema["$defs"]["Entry"]["additionalProperties"] is False
