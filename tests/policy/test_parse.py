"""Parsing: routes compiled, every problem at once, and one mistake is one problem."""

from itertools import permutations

import pytest

from authproxy.model.source import Source
from authproxy.policy.document import PolicyDocument
from authproxy.policy.parse import parse_policies
from tests.policy.reading import NAMES, codes, parsed, route, route_text

THREE = [
    "routes: [{name: one, match: {paths: [/a]}, upstream: orders, authenticate: none}]",
    "routes: [{name: two, match: {paths: [/a/*]}, upstream: orders, authenticate: none}]",
    "routes: [{name: three, match: {paths: [/a/**], hosts: [x.test]}, upstream: orders, authenticate: none}]",
]


def test_a_route_is_compiled() -> None:
    """Every key of the file is where the server reads it."""
    made = route(
        "mode: shadow, forward_authorization: true, cors_preflight: forward, streams: finish, encoded_slash: forward,"
        "rewrite: {strip_prefix: /a}, headers: {remove: [X-Debug], set: {X-Tenant: claims.tenant}},"
        "rate_limits: [{limit: 1/second, per: address}, {limit: 2/second, per: 'claim:t', mode: shadow, cost: 2}]"
    )
    assert (
        made.shadow,
        made.forward_authorization,
        made.forward_preflight,
        made.finish_streams,
    ) == (True,) * 4
    assert made.allowed_doubts == {"encoded_slash"}
    assert made.strip_prefix == ("a",)
    assert made.remove_headers == frozenset({b"x-debug", b"x-tenant"})
    assert [name for name, _ in made.set_headers] == [b"X-Tenant"]
    assert [(x.name, x.per, x.claim, x.shadow) for x in made.address_limits] == [
        ("address", "address", "", False)
    ]
    assert [(x.name, x.per, x.claim, x.shadow) for x in made.identity_limits] == [
        ("claim", "claim", "t", True)
    ]


def test_absent_hosts_and_methods_are_any() -> None:
    """And a name that stands twice counts once."""
    made = route("", authenticate="[tokens, tokens]")
    assert (made.hosts, made.methods, made.authenticators) == (("",), None, ("tokens",))


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_order_of_files_means_nothing(order: tuple[int, ...]) -> None:
    """The same routes, the same problems, the same table."""
    policies = parsed(*(THREE[i] for i in order))
    assert codes(policies) == []
    assert sorted(r.name for r in policies.table.routes) == ["one", "three", "two"]


def test_names_are_unique_over_all_files() -> None:
    """The second one is told where the first stands."""
    (problem,) = parsed(THREE[0], THREE[0]).problems
    assert problem.code == "duplicate-route"
    assert (problem.file, "0.yaml:1" in problem.text) == ("1.yaml", True)


def test_two_routes_with_the_same_pattern_are_a_tie() -> None:
    """Named with the other and where it stands, in whichever file."""
    other = THREE[0].replace("name: one", "name: uno")
    (problem,) = parsed(THREE[0], other).problems
    assert problem.code == "route-tie"
    assert "`uno` and `one` (0.yaml:1)" in problem.text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (route_text().replace("orders", "order"), "unknown-upstream"),
        (route_text(authenticate="[token]"), "unknown-authenticator"),
        (route_text(allow=""), "missing-allow"),
        (route_text(authenticate="none"), "needs-identity"),
        (route_text("rate_limits: [{limit: 1/second, per: subject}]", authenticate="none", allow=""), "needs-identity"),
        (route_text("rate_limits: [{limit: 1/second, per: 'claim:x'}]", authenticate="none", allow=""), "needs-identity"),
        (route_text("headers: {set: {X-A: claims.x}}", authenticate="none", allow=""), "needs-identity"),
        (route_text("headers: {set: {X-A: '1 + 1'}}"), "bad-expression"),
        (route_text().replace("/a/**", "/a/*b"), "bad-path"),
        (route_text().replace("/a/**", "/.authproxy/x"), "reserved-path"),
        (route_text("rewrite: {strip_prefix: /b}"), "prefix-not-in-path"),
        (route_text("rewrite: {strip_prefix: /a/b}"), "prefix-not-in-path"),
        (route_text("rewrite: {strip_prefix: /*}"), "bad-prefix"),
        (route_text("rate_limits: [{name: x, limit: 1/second, per: route}, {name: x, limit: 2/second, per: route}]"), "duplicate-limit"),
        (route_text().replace("[/a/**]", "[/a/**], methods: [TRACE]"), "bad-method"),
        (route_text().replace("[/a/**]", "[/a/**], methods: [CONNECT]"), "bad-method"),
        (route_text().replace("[/a/**]", "[/a/**], methods: [get]"), "bad-method"),
        (route_text("headers: {set: {X-A: 'request.path', x-a: 'request.path'}}"), "duplicate-header"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_problem(text: str, code: str) -> None:
    """It is found when the file is read, and nothing else is blamed for it."""
    assert codes(parsed(text)) == [code]


@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-User", "x-forwarded-anything", "Remote-User", "X-Authproxy-Assertion", "X-Tenant-Role", "X-Tenant.Role", "Forwarded",
        "X_Tenant", "Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "TE", "Trailer", "Keep-Alive", "Via", "X-Request-Id", "traceparent",
    ],
)  # fmt: skip
def test_reserved_headers_are_not_a_policys_to_set(name: str) -> None:
    """Identity, framing, Host and hop-by-hop names, in every spelling, and those of `identity.strip`."""
    assert codes(parsed(route_text(f"headers: {{set: {{{name}: request.path}}}}"))) == [
        "reserved-header"
    ]


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer_Encoding"])
def test_framing_and_host_are_not_a_policys_to_remove(name: str) -> None:
    """A request without them would be another request."""
    assert codes(parsed(route_text(f"headers: {{remove: [{name}]}}"))) == ["reserved-header"]


def test_unnamed_limits_get_names_of_their_own() -> None:
    """What they count by, numbered, and never one that is taken."""
    limits = "{limit: 1/second, per: route}, {limit: 2/second, per: route}, {name: route-3, limit: 3/second, per: route}, {limit: 4/second, per: route}"
    made = route(f"rate_limits: [{limits}]")
    assert [x.name for x in made.address_limits] == ["route", "route-2", "route-3", "route-4"]


def test_all_problems_are_found_at_once() -> None:
    """Of all routes of all files, each at its own line."""
    text = "routes:\n- {name: q, match: {paths: [a, /b*]}, upstream: x, authenticate: [y]}\n- {name: s, match: {paths: [/c]}, upstream: z, authenticate: none}\n"  # fmt: skip
    policies = parsed(text, route_text("rewrite: {strip_prefix: /x}"))
    assert sorted(codes(policies)) == ["bad-path", "bad-path", "missing-allow", "prefix-not-in-path", "unknown-authenticator", "unknown-upstream", "unknown-upstream"]  # fmt: skip
    assert {(p.file, p.line) for p in policies.problems} == {
        ("0.yaml", 2),
        ("0.yaml", 3),
        ("1.yaml", 1),
    }


@pytest.mark.parametrize("key", ["name", "match"])
def test_a_route_with_a_placeholder_is_in_nobodys_way(key: str) -> None:
    """What stands in for a broken name or pattern ties with nothing and takes no name."""
    files = [(PolicyDocument.model_validate({"routes": [ROUTE, ROUTE]}), Source("f.yaml"))]
    policies = parse_policies(files, NAMES, {("f.yaml", 1): {key}})
    assert codes(policies) == []
    assert len(policies.table.routes) == 1


ROUTE = {"name": "r", "match": {"paths": ["/a"]}, "upstream": "orders", "authenticate": "none"}


def test_a_second_factor_needs_somebody_who_logs_in() -> None:
    """With `authenticate: none` it would be a promise that nobody keeps."""
    policies = parsed(route_text("second_factor: true", authenticate="none", allow=""))
    assert codes(policies) == ["needs-identity"]
    assert route("second_factor: true").second_factor
    assert not route().second_factor
