"""What conditions read: exactly that where it is plain, the whole where there is a doubt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.policy.reads import (
    FACTS,
    covers,
    named_claim,
    outermost,
    parse_pointer,
    pointer,
    read_by,
    shown,
)

PLAIN = {
    'claims.tenant == "acme"': ["claims/tenant"],
    'claims["https://x.test/roles"].size() > 0': ["claims/https:~1~1x.test~1roles"],
    '"level" in claims && claims.level >= 3': ["claims/level"],
    "has(claims.a.b)": ["claims/a"],
    'request.headers["x-team"] == "a"': ["headers/x-team"],
    'request.headers.origin == ""': ["headers/origin"],
    '"x-a" in request.headers': ["headers/x-a"],
    '"eng" in identity.groups || identity.email == "a@b"': ["email", "groups"],
    'request.path.startsWith("/claims/") && request.client != "" && now > now': [],
    "identity.subject == identity.authenticator": [],
    '"claims" == "identity.groups" // claims': [],
    "claims . x == '''a'claims'''": ["claims/x"],
    "r'\\' == claims.a && claims.b == ''": ["claims/a", "claims/b"],
    ".claims.x == 1": ["claims/x"],
    "claims.request == 1 && claims.x.claims == 1": ["claims/request", "claims/x"],
}
WHOLE = [
    "claims.size() > 0",
    "claims == {}",
    "claims[request.path] == 1",
    'claims["a\\"b"] == 1',
    'claims[r"a"] == 1',
    "claims.`a-b` == 1",
    'claims.all(k, k == "x")',
    '"a" + "b" in claims',
    '"a" in claims == true',
    "[claims].exists(c, c.x == 1)",
    "true ? claims : {}",
]


@pytest.mark.parametrize("source", PLAIN)
def test_what_is_plain_is_read_exactly(source: str) -> None:
    """Members by name, by a plain text in brackets, by `in` and by `has`; texts and comments read nothing."""
    assert sorted(map(pointer, read_by(source))) == PLAIN[source]


@pytest.mark.parametrize("source", WHOLE)
def test_a_doubt_reads_the_whole(source: str) -> None:
    """A method, a computed name, an escape, the map as a value: all claims are read."""
    assert ("claims",) in read_by(source)


def test_whole_variables() -> None:
    """`request` and `identity` as values read all that they hold."""
    assert read_by("request == {}") == {("headers",)}
    assert read_by("request.headers.size() > 0") == {("headers",)}
    assert read_by("identity == {}") == set(FACTS)


def test_a_named_claim_is_a_name_and_a_path() -> None:
    """`realm.roles` may be the claim of that name, or the roles inside of `realm`; nothing beside them is read."""
    assert named_claim("realm.roles") == {("claims", "realm.roles"), ("claims", "realm", "roles")}
    assert named_claim("tenant") == {("claims", "tenant")}


def test_a_part_is_covered_by_its_whole() -> None:
    """Who has all claims has each; who has one has no other, and not all."""
    assert covers([("claims",)], ("claims", "a", "b"))
    assert covers([("claims", "a")], ("claims", "a", "b"))
    assert not covers([("claims", "a", "b")], ("claims", "a"))
    assert list(outermost([("claims", "a", "b"), ("claims", "a"), ("groups",)])) == [
        ("claims", "a"),
        ("groups",),
    ]


@given(st.lists(st.text(), min_size=1).map(tuple))
def test_pointers_come_back(path: tuple[str, ...]) -> None:
    """A path as text is that path again, whatever is in its parts."""
    assert parse_pointer(pointer(path)) == path


def test_paths_are_shown_as_people_write_them() -> None:
    """As in the policy file."""
    assert [shown(("claims", "a", "b")), shown(("headers", "x-a")), shown(("headers",))] == [
        "claims.a.b", 'request.headers["x-a"]', "request.headers",
    ]  # fmt: skip
