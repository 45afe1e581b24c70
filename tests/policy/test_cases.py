"""The policies' own tests: decided by the server's function, and told precisely where they fail."""

from typing import Any

import pytest
from pydantic import ValidationError

from authproxy.model.headers import HeaderRules, IdentityProfile
from authproxy.model.source import Source
from authproxy.policy.cases import (
    Case,
    Result,
    case_problems,
    collect_cases,
    named_identities,
    run_case,
)
from authproxy.policy.document import CaseDocument, PolicyDocument, TestsDocument
from authproxy.policy.offline import PolicySet
from tests.policy.reading import parsed, route_text

URL = "https://a.test/a/b"
IDENTITY = {"subject": "alice", "groups": ["eng"]}
LIMITED = (
    "rate_limits: [{name: fair, limit: 5/minute, per: subject, cost: 2}, {limit: 9/second, per: address, mode: shadow}],"
    " headers: {remove: [X-Debug], set: {X-Tenant: claims.tenant}}"
)


def policies(text: str) -> PolicySet:
    """The policies of this file."""
    return PolicySet(parsed(text).table, render=IdentityProfile("forwarded").render)


def run(
    *, route: str = route_text(allow="[{groups: [eng]}]"), url: str = URL, **case: Any
) -> Result:
    """One test against one route."""
    wanted = CaseDocument.model_validate({"request": f"GET {url}", "expect": "allow", **case})
    return run_case(policies(route), Case(wanted, Source("f.yaml"), ("tests", 0)), 1.7e9)


def told(**case: Any) -> list[str]:
    """What differs from what is expected, in words."""
    return list(map(str, run(**case).differences))


def test_a_test_that_comes_to_what_it_expects_passes() -> None:
    """The verdict and, where it is named, the route."""
    assert run(identity=IDENTITY, route=route_text(allow="authenticated")).passed
    assert told(expect="unauthenticated") == []
    assert told(identity={"subject": "bob"}, expect="forbidden") == []
    other = {"subject": "bob", "authenticator": "other"}
    assert told(identity=other, expect="token_invalid") == []
    assert told(url="https://a.test/none", expect="no_route") == []
    assert told(url="https://a.test/a/../b", expect="bad_request") == []


def test_a_test_that_fails_says_what_it_got_and_why() -> None:
    """Expected and found, for the verdict, the route, the reason and what was withheld."""
    assert told(identity={"subject": "bob"}) == [
        "expect: expected allow, got forbidden (no entry of allow holds)"
    ]
    assert told(identity={"subject": "bob"}, expect="forbidden", reason="deny[0]") == [
        "reason: expected deny[0], got no entry of allow holds"
    ]
    wanted = {"request": f"GET {URL}", "expect": "allow", "route": "other", "identity": IDENTITY}
    case = Case(CaseDocument.model_validate(wanted), Source("f.yaml"), ("tests", 0))
    result = run_case(policies(route_text(allow="[{groups: [eng]}]")), case, 0.0)
    assert list(map(str, result.differences)) == ["route: expected other, got r"]
    shadowed = route_text("mode: shadow", allow="[{groups: [eng]}]")
    assert told(route=shadowed, identity={"subject": "bob"}, shadow="forbidden") == []
    assert told(route=shadowed, identity=IDENTITY, shadow="forbidden") == [
        "shadow: expected forbidden, got none"
    ]


def test_a_url_that_cannot_be_read_is_a_failure_of_its_test() -> None:
    """No exception, and the text says what to write."""
    assert "absolute URL" in told(url="a.test/a")[0]
    assert "IP address" in told(client="localhost")[0]


def test_the_client_and_the_headers_are_looked_at() -> None:
    """As conditions see them."""
    text = route_text(
        authenticate="none",
        allow="",
    )
    text = text.replace("authenticate: none, ", "authenticate: none, deny: [{networks: [10.0.0.0/8], when: 'request.headers[\"x-a\"] == \"1\"'}], ")  # fmt: skip
    refused: dict[str, Any] = {"route": text, "expect": "forbidden", "client": "10.0.0.1"}
    assert told(**refused, headers={"X-A": "1"}) == []
    assert told(**(refused | {"expect": "allow"}), headers={"X-A": "2"}) == []
    assert told(route=text, headers={"X-A": "1"}) == []


def test_trap_a_test_does_not_hold_by_a_header_that_is_always_dropped() -> None:
    """Policies never see identity headers of the client, so a test must not either."""
    text = route_text(allow='[{when: \'request.headers["x-forwarded-user"] == "admin"\'}]')
    claimed = {"X-Forwarded-User": "admin"}
    assert told(route=text, identity=IDENTITY, headers=claimed, expect="forbidden") == []


def test_the_moment_of_a_test_is_its_own() -> None:
    """A condition over `now` holds at the moment that the test names; else at the one of the run."""
    text = route_text(allow="[{when: 'now < timestamp(\"2026-01-01T00:00:00Z\")'}]")
    assert told(route=text, identity=IDENTITY) == []  # 2023
    late: dict[str, Any] = {"route": text, "identity": IDENTITY, "now": "2026-01-01T00:00:00Z"}
    assert told(**late, expect="forbidden") == []
    for text in ("tomorrow", "2026-01-01", "2026-01-01T00:00:00"):
        with pytest.raises(ValidationError, match="zone"):
            run(now=text)


def test_the_limits_that_apply_are_held_to_what_is_expected() -> None:
    """The very limits by name; of a described one all that is written, and nothing else."""
    with_limits: dict[str, Any] = {
        "route": route_text(LIMITED, allow="[{groups: [eng]}]"),
        "identity": IDENTITY,
    }
    assert told(**with_limits, limits=["fair", "address"]) == []
    assert told(**with_limits, limits=["fair"]) == ["limits: expected fair, got address, fair"]
    fair = {"name": "fair", "limit": "5/minute", "per": "subject", "key": "tokens:alice", "cost": 2}
    shadow = {"name": "address", "key": "127.0.0.1", "mode": "shadow"}
    assert told(**with_limits, limits=[fair, shadow]) == []
    wrong = [{**fair, "key": "tokens:bob", "cost": 1}, "address"]
    assert told(**with_limits, limits=wrong) == [
        "limits.fair.cost: expected 1, got 2",
        "limits.fair.key: expected tokens:bob, got tokens:alice",
    ]
    # What needs an identity does not apply before there is one, and nothing does where there is no route.
    without = {**with_limits, "identity": None}
    del without["identity"]
    assert told(**without, expect="unauthenticated", limits=["address"]) == []
    assert told(**without, url="https://a.test/x", expect="no_route", limits=[]) == []


def test_the_headers_for_the_backend_are_held_to_what_is_expected() -> None:
    """A value, any value (`true`) or none at all (`false`), by name in any case."""
    asked: dict[str, Any] = {
        "route": route_text(LIMITED, allow="[{groups: [eng]}]"),
        "identity": {**IDENTITY, "claims": {"tenant": "acme"}},
        "headers": {"X-Debug": "1", "X-Kept": "k", "X-Forwarded-User": "root"},
    }
    good = {"x-tenant": "acme", "X-Forwarded-User": "alice", "X-Kept": "k", "X-Request-Id": True}
    assert told(**asked, backend_headers={**good, "X-Debug": False}) == []
    assert told(**asked, backend_headers={"X-Tenant": "b", "X-Kept": False, "X-None": True}) == [
        "backend_headers.X-Tenant: expected b, got acme",
        "backend_headers.X-Kept: expected absent, got k",
        "backend_headers.X-None: expected any value, got absent",
    ]
    refused = {**asked, "identity": {"subject": "bob"}, "expect": "forbidden"}
    assert told(**refused, backend_headers={"X-Tenant": False}) == []
    assert told(**refused, backend_headers={"X-Tenant": "acme"}) == [
        "backend_headers.X-Tenant: expected acme, got nothing is forwarded"
    ]


def test_an_identity_that_is_too_large_for_a_head_is_refused_as_the_server_does() -> None:
    """Groups that no head could carry: 403, though the policy would allow."""
    many = {"subject": "alice", "groups": ["eng", *(f"{n:0200}" for n in range(60))]}
    assert told(identity=many, expect="forbidden", reason="identity_too_large") == []


def files(*documents: dict[str, Any]) -> list[tuple[PolicyDocument | TestsDocument, Source]]:
    """Policy files, `0` and on."""
    return [(PolicyDocument.model_validate(d), Source(f"{i}")) for i, d in enumerate(documents)]


def test_all_tests_of_all_files_are_collected_in_order() -> None:
    """Each with the place where it stands."""
    first, second = ({"request": f"GET https://a/{n}", "expect": "allow"} for n in (1, 2))
    cases = collect_cases(files({"tests": [first, first]}, {"tests": [second]}))
    assert [(c.source.file, c.path) for c in cases] == [
        ("0", ("tests", 0)), ("0", ("tests", 1)), ("1", ("tests", 0)),
    ]  # fmt: skip


def test_a_table_is_so_many_tests() -> None:
    """What a case says takes the place of what the test says; each stands at its own place."""
    table = {
        "name": "who", "request": "GET https://a/1", "expect": "allow", "headers": {"A": "1"},
        "cases": [{"identity": "ann"}, {"name": "b", "expect": "forbidden", "headers": {"B": "1"}}, {"request": "PUT https://a/2"}],
    }  # fmt: skip
    known = {"ann": {"subject": "ann"}}
    cases = collect_cases(files({"identities": known}, {"tests": [table]}))
    assert [c.path for c in cases] == [("tests", 0, "cases", n) for n in range(3)]
    assert [c.wanted.expect for c in cases] == ["allow", "forbidden", "allow"]
    assert [c.wanted.headers for c in cases] == [{"A": "1"}, {"B": "1"}, {"A": "1"}]
    assert [c.identity and c.identity.subject for c in cases] == ["ann", None, None]
    assert [c.title for c in cases] == [
        "who: GET https://a/1 by ann", "who: b: GET https://a/1", "who: PUT https://a/2",
    ]  # fmt: skip


def test_names_of_identities_are_shared_by_all_files() -> None:
    """One that nobody has, or two have, is a problem with its place; `none` is nobody."""
    ask = {"request": "GET https://a/1", "expect": "allow"}
    ann = {"identities": {"ann": {"subject": "ann"}}}
    good = files(ann, {"tests": [{**ask, "identity": "ann"}, {**ask, "identity": "none"}]})
    assert list(case_problems(good)) == []
    assert collect_cases(good)[1].identity is None
    twice = [p.code for p in case_problems(files(ann, ann))]
    assert twice == ["duplicate-identity"]
    unknown = {"tests": [{**ask, "cases": [{"identity": "bob"}]}]}
    (problem,) = case_problems(files(ann, unknown))
    assert (problem.code, problem.remedy) == ("unknown-identity", "there is: ann")
    reserved = files({"identities": {"none": {"subject": "x"}}})
    assert [p.code for p in case_problems(reserved)] == ["duplicate-identity"]
    # A file beside the policies may use their names, and take none of them.
    beside = files({**ann, "tests": [{**ask, "identity": "ann"}]})
    assert [p.code for p in case_problems(beside[:1], named_identities(good))] == [
        "duplicate-identity"
    ]


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ({"request": "GET https://a/1"}, "no `expect`"),
        ({"expect": "allow"}, "no `request`"),
        ({"request": "GET https://a/1", "cases": [{"expect": "allow"}, {}]}, "case 1 has no `expect`"),
        ({"request": "GET https://a/1", "cases": []}, "at least 1 item"),
        ({"request": "GET https://a/1", "expect": "allowed"}, "no verdict"),
        ({"request": "GET https://a/1", "expect": "allow", "limits": [{"name": "a", "limit": "5"}]}, "no rate"),
    ],
)  # fmt: skip
def test_a_test_that_says_too_little_is_a_problem(test: dict[str, Any], said: str) -> None:
    """A test that expects nothing could never fail."""
    with pytest.raises(ValidationError, match=said):
        CaseDocument.model_validate(test)


def test_a_stand_alone_file_has_no_routes() -> None:
    """Nobody would serve them."""
    with pytest.raises(ValidationError, match="routes"):
        TestsDocument.model_validate({"routes": []})


def test_the_rules_of_the_configuration_say_what_a_policy_sees() -> None:
    """`identity.strip` holds in tests too."""
    text = route_text(allow="[{when: '\"x-tenant-role\" in request.headers'}]")
    wanted = CaseDocument.model_validate(
        {"request": f"GET {URL}", "identity": IDENTITY, "headers": {"X-Tenant-Role": "x"}, "expect": "forbidden"}
    )  # fmt: skip
    strict = PolicySet(parsed(text).table, rules=HeaderRules(["X-Tenant-Role"]))
    assert run_case(strict, Case(wanted, Source("f"), ()), 0.0).passed
    assert not run_case(PolicySet(parsed(text).table), Case(wanted, Source("f"), ()), 0.0).passed
