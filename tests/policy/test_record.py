"""Records of decisions: what the policies read and no more, never a credential."""

import json
from typing import Any

import pytest

from authproxy.model.exchange import Exchange
from authproxy.model.fields import read_fields
from authproxy.model.headers import HeaderRules
from authproxy.model.identity import Identity
from authproxy.model.target import parse_target
from authproxy.policy.reads import Reads, named_claim, parse_pointer, read_by
from authproxy.policy.record import Recorder, is_secret_header, reads_of
from authproxy.policy.table import Route
from tests.policy.reading import parsed, route_text

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"
ALICE = Identity(
    "tokens", "alice", ("eng", "ops"), frozenset({"write", "read"}), "alice@x.test",
    claims={"sub": "alice", "tenant": "acme", "realm": {"roles": ["a"], "other": 1}, "nested": JWT, "a.b": 2},
)  # fmt: skip


def exchange(target: str = "/a/b?q=secret", **changes: Any) -> Exchange:
    """An admitted request of alice's, but for these changes."""
    found = Exchange("id-1", 1_800_000_000.25, 0.0)
    found.method, found.host, found.target = "GET", "a.test", parse_target(target)
    found.route, found.identity = Route("orders", "app", authenticators=("tokens",)), ALICE
    found.admitted = True
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def fields(*lines: tuple[str, str]) -> Any:
    """Header fields as intake reads them."""
    return read_fields(((n.encode(), v.encode()) for n, v in lines), HeaderRules())


def paths(*texts: str) -> Reads:
    """What is read, by pointers."""
    return frozenset(map(parse_pointer, texts))


def recorded(found: Exchange, reads: Reads = frozenset(), **more: Any) -> dict[str, Any]:
    """Its record, through JSON."""
    record = Recorder(reads, "digest", **more).recorded(found)
    return dict(json.loads(json.dumps(record)))


def test_what_no_policy_reads_is_not_recorded() -> None:
    """Without conditions that read anything, a record is the request line, who it was and what it came to."""
    assert recorded(exchange()) == {
        "time": "2027-01-15T08:00:00.250Z", "request_id": "id-1", "client": "127.0.0.1", "method": "GET",
        "host": "a.test", "path": "/a/b", "route": "orders", "decision": "allow", "code": None, "reason": None,
        "shadow": None, "policies": "digest", "asked": ["tokens"], "reads": [], "subject": "alice",
        "authenticator": "tokens", "credentials": {},
    }  # fmt: skip


def test_what_the_policies_read_is_recorded() -> None:
    """The named facts and claims, nested ones pruned to their path; what is missing is just not there."""
    reads = paths("groups", "scopes", "email", "claims/tenant", "claims/gone") | named_claim("realm.roles") | named_claim("a.b")  # fmt: skip
    found = recorded(exchange(), reads)
    assert (found["groups"], found["scopes"], found["email"]) == (
        ["eng", "ops"], ["read", "write"], "alice@x.test",
    )  # fmt: skip
    assert found["claims"] == {"tenant": "acme", "realm": {"roles": ["a"]}, "a.b": 2}
    assert set(found["reads"]) == {
        "groups", "scopes", "email", "claims/tenant", "claims/gone", "claims/realm/roles", "claims/realm.roles",
        "claims/a.b", "claims/a/b",
    }  # fmt: skip


def test_all_claims_but_what_looks_like_a_credential() -> None:
    """An expression that reads `claims` as a whole needs them all; a token among them is withheld, by its path."""
    found = recorded(exchange(), read_by("claims.size() > 1"))
    assert found["claims"] == {k: v for k, v in ALICE.claims.items() if k != "nested"}
    assert found["withheld"] == ["claims/nested"]


def test_a_credential_deep_in_a_list_is_withheld_with_it() -> None:
    """A list that holds one, however deep, is not written down."""
    claims = {"a": [{"b": [JWT]}], "c": ["plain"]}
    found = recorded(exchange(identity=Identity("tokens", "x", claims=claims)), paths("claims"))
    assert (found["claims"], found["withheld"]) == ({"c": ["plain"]}, ["claims/a"])


def test_a_number_that_json_does_not_hold_is_withheld() -> None:
    """Readers round what has more than 64 bits: it would be another number, and another decision."""
    claims = {"id": 1 << 64, "low": -(1 << 63), "high": (1 << 64) - 1, "list": [1 << 70]}
    found = recorded(exchange(identity=Identity("t", "x", claims=claims)), paths("claims"))
    assert found["claims"] == {"low": -(1 << 63), "high": (1 << 64) - 1}
    assert found["withheld"] == ["claims/id", "claims/list"]


def test_headers_that_are_read_and_are_no_secrets() -> None:
    """A header that a policy names is recorded; secrets, credentials and queries are withheld, by their paths."""
    lines = (
        ("X-Team", "blue"), ("X-Api-Key", "k3y"), ("Referer", "https://x.test/?t=queryvalue"),
        ("X-Data", f"Bearer {JWT}"), ("X-Other", "unread"), ("Cookie", "c=cookievalue"),
        ("Authorization", f"Bearer {JWT}"),
    )  # fmt: skip
    reads = paths(
        "headers/x-team",
        "headers/x-api-key",
        "headers/referer",
        "headers/x-data",
        "headers/gone",
        "headers/cookie",
    )
    found = recorded(exchange(fields=fields(*lines)), reads)
    assert found["headers"] == {"x-team": "blue"}
    assert sorted(found["withheld"]) == ["headers/referer", "headers/x-api-key", "headers/x-data"]
    for secret in ("k3y", "queryvalue", "cookievalue", JWT, "unread"):
        assert secret not in json.dumps(found)


def test_all_headers_are_recorded_where_they_are_read_as_a_whole() -> None:
    """Secrets are withheld all the same."""
    lines = fields(("X-A", "1"), ("X-Session", "s3cret"))
    found = recorded(exchange(fields=lines), paths("headers"))
    assert (found["headers"], found["withheld"]) == ({"x-a": "1"}, ["headers/x-session"])


@pytest.mark.parametrize("name", ["Authorization", "cookie", "X-API-Key", "x_csrf_token", "Stripe-Signature", "X-Auth-Data"])  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    """A header is a secret by any word of its name, in any spelling."""
    assert is_secret_header(name)
    assert not is_secret_header("x-api-version")


def test_where_credentials_were_but_never_which() -> None:
    """Of each place that authenticators read it is said whether it held something; certificates and dropped headers cannot be."""
    slots = ("scheme:bearer", "scheme:basic", "cookie:__Host-authproxy", "cookie:other", "header:x-key", "header:x-auth-token", "certificate:san-uri")  # fmt: skip
    lines = fields(("Authorization", f"Bearer {JWT}"), ("Cookie", "a=1; __Host-authproxy=s3cret; other="), ("X-Key", "k3y"))  # fmt: skip
    found = recorded(exchange(fields=lines), slots=slots)
    assert found["credentials"] == {
        "scheme:bearer": True, "scheme:basic": False, "cookie:__Host-authproxy": True, "cookie:other": False,
        "header:x-key": True,
    }  # fmt: skip
    assert not {"s3cret", "k3y"} & set(json.dumps(found).split('"'))


def test_nothing_was_decided() -> None:
    """No record of a refused head, of our own endpoints, and of what was sent elsewhere."""
    recorder = Recorder()
    unread = exchange()
    unread.target = None
    assert recorder.recorded(unread) is None
    assert recorder.recorded(exchange("/.authproxy/login")) is None
    assert recorder.recorded(exchange(admitted=False, code="")) is None


def test_the_raw_path_only_where_it_says_more() -> None:
    """An encoded path is recorded as it came, without its query."""
    assert recorded(exchange("/a%2Fb?q=1"))["raw_path"] == "/a%2Fb"
    assert "raw_path" not in recorded(exchange("/a/b?q=1"))


def test_a_caller_that_repeats_itself_is_worked_out_once() -> None:
    """The part of caller and fields is kept with the fields, and made anew for another caller."""
    first, recorder = exchange(fields=fields(("X-A", "1"))), Recorder(paths("groups"))
    second = exchange(fields=first.fields)
    other = exchange(fields=first.fields, identity=Identity("tokens", "bob", ("x",)))
    groups = [(recorder.recorded(x) or {})["groups"] for x in (first, second, other)]
    assert groups == [["eng", "ops"], ["eng", "ops"], ["x"]]
    assert groups[0] is groups[1]


def test_reads_of_all_routes() -> None:
    """Of `allow` and `deny` of every route; a second factor reads `amr`."""
    text = route_text(
        "second_factor: true, deny: [{networks: [10.0.0.0/8], groups: [a]}]",
        allow="[{when: claims.x == 1}]",
    )
    assert reads_of(parsed(text).table) == paths("groups", "claims/amr", "claims/x")
