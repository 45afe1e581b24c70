"""Headers: what becomes of each name, the identity headers, cookies and what Connection names."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.model.headers import (
    GROUP_MOST,
    HOP_BY_HOP,
    IDENTITY_BLOCK_MOST,
    PROFILES,
    HeaderRules,
    IdentityProfile,
    Kind,
    Learned,
    connection_options,
    fold,
    fold_bytes,
    lower_names,
    without_cookies,
)
from authproxy.model.identity import Identity

RULES = HeaderRules(["X-Tenant-Role"])
PASSING = {Kind.PASS}
# Section 4 of the contract.
NEVER_PASS = [
    *(name for names in PROFILES.values() for name in names if name), "X-Tenant-Role", "X-Authproxy-Assertion",
    "X-Authproxy-Anything", "X-Auth-Request-Access-Token", "X-Auth-User", "X-Remote-User", "X-User", "X-User-Id",
    "X-Authenticated-Userid", "X-WebAuth-User", "X-Forwarded-Access-Token", "X-Pomerium-Jwt-Assertion",
    "X-Goog-Authenticated-User-Email", "Cf-Access-Jwt-Assertion", "X-Amzn-Oidc-Data", "X-Ms-Client-Principal",
    "Client-Cert", "Client-Cert-Chain", "Client_Cert", "X-Client-Cert", "X-SSL-Client-Cert", "X-SSL-Client-S-DN", "X-SSL-Cert", "SSL-Client-Verify",
    "Remote-Anything", "X-Forwarded-For", "X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Forwarded-Tls-Client-Cert",
    "Forwarded", "X-Real-IP", "X-Original-URL", "X-Original-Forwarded-For", "X-Rewrite-URL",
    *HOP_BY_HOP, "Host", "Content-Length", "Expect",
]  # fmt: skip
names = st.sampled_from(NEVER_PASS)
separators = st.sampled_from("-_.!#$%&'*+^`|~")


def rendered(profile: str = "forwarded", **parts: object) -> dict[str, str]:
    """The identity headers of an identity."""
    block = IdentityProfile(profile).render(Identity("tokens", **{"subject": "alice", **parts}))  # type: ignore[arg-type]
    assert block is not None
    lines = block.decode().split("\r\n")
    assert lines.pop() == ""
    return dict(line.split(": ", 1) for line in lines)


def respelt(data: st.DataObject, name: str) -> str:
    """The name in another case, with other separators."""
    letters = [data.draw(st.sampled_from([c.upper(), c.lower()])) for c in name]
    return "".join(data.draw(separators) if c == "-" else c for c in letters)


@given(st.data(), names)
def test_cve_2025_64484_no_spelling_of_a_reserved_name_passes(
    data: st.DataObject, name: str
) -> None:
    """Case, and every character that is not a letter or digit, makes no other name (also CVE-2026-39858)."""
    assert RULES.kind(respelt(data, name).encode()) not in PASSING


@pytest.mark.parametrize(
    "name",
    ["X_Forwarded_User", "X-Forwarded_User", "X_FORWARDED_USER", "Remote_Groups", "x.remote.user", "Content_Length", "Transfer.Encoding", "X_Any_Name", "_", "Coo_kie"],
)  # fmt: skip
def test_underscores_and_lookalikes_are_dropped(name: str) -> None:
    """A backend of WSGI or CGI would fold them into names that mean something (GHSA-f59h-q822-g45g)."""
    assert RULES.kind(name.encode()) is Kind.DROP


@pytest.mark.parametrize(
    "name",
    ["Accept", "User-Agent", "X-Forwarder", "X-Request-Time", "X-Users", "X-Tenant", "Origin", "Sec-WebSocket-Key", "Via", "Content-Type", "Range", "X-Auth"],
)  # fmt: skip
def test_other_names_pass(name: str) -> None:
    """What means nothing to us is the client's and the backend's own business."""
    assert RULES.kind(name.encode()) is Kind.PASS
    assert not RULES.reserved(name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("HOST", Kind.HOST), ("connection", Kind.CONNECTION), ("Content-Length", Kind.CONTENT_LENGTH),
        ("Transfer-Encoding", Kind.TRANSFER_ENCODING), ("Authorization", Kind.AUTHORIZATION), ("Cookie", Kind.COOKIE),
        ("Upgrade", Kind.UPGRADE), ("Expect", Kind.EXPECT), ("X-Forwarded-For", Kind.TRUSTED),
        ("Forwarded", Kind.TRUSTED), ("X-Request-Id", Kind.TRUSTED), ("Traceparent", Kind.TRUSTED),
        ("Proxy", Kind.DROP), ("PROXY", Kind.DROP), ("X-HTTP-Method-Override", Kind.METHOD_OVERRIDE),
        ("x.http.method", Kind.METHOD_OVERRIDE), ("X-Method-Override", Kind.METHOD_OVERRIDE), ("X_HTTP_Method", Kind.DROP),
        ("TE", Kind.DROP), ("Keep-Alive", Kind.DROP), ("Proxy-Authorization", Kind.DROP), ("HTTP2-Settings", Kind.DROP),
    ],
)  # fmt: skip
def test_each_name_has_its_kind(name: str, kind: Kind) -> None:
    """What intake reads itself, believes of trusted proxies, or drops."""
    assert RULES.kind(name.encode()) is kind


@given(st.binary(min_size=1, max_size=40))
def test_any_name_has_a_kind(name: bytes) -> None:
    """A name is classified the same the second time, whatever its bytes."""
    assert RULES.kind(name) is RULES.kind(name)


def test_what_is_remembered_of_names_is_bounded() -> None:
    """Clients choose names; they do not choose how much memory they take."""
    known = Learned(len)
    for number in range(Learned.MOST + 10):
        assert known[b"n%d" % number] > 1
    assert known[b"x" * 5000] == 5000
    assert len(known) == Learned.MOST


def test_a_name_beyond_what_is_remembered_has_its_kind_all_the_same() -> None:
    """Forgetting a name costs time, never a header that passes."""
    rules = HeaderRules()
    for number in range(Learned.MOST + 10):
        rules.kind(b"n%d" % number)
    assert rules.kind(b"x_forwarded_user") is Kind.DROP


@given(st.text(max_size=20))
def test_folding_leaves_letters_digits_and_hyphens(name: str) -> None:
    """Folded twice is folded once, and text folds as its bytes do."""
    folded = fold(name)
    assert re.fullmatch(r"[a-z0-9-]*", folded)
    assert fold(folded) == folded
    assert fold_bytes(name.encode("latin-1", "replace")).decode() == folded


@pytest.mark.parametrize(
    ("profile", "headers"),
    [
        ("forwarded", {"X-Forwarded-User": "alice", "X-Forwarded-Email": "a@x", "X-Forwarded-Groups": "g1,g 2", "X-Forwarded-Preferred-Username": "al"}),
        ("auth-request", {"X-Auth-Request-User": "alice", "X-Auth-Request-Email": "a@x", "X-Auth-Request-Groups": "g1,g 2", "X-Auth-Request-Preferred-Username": "al"}),
        ("remote", {"Remote-User": "alice", "Remote-Email": "a@x", "Remote-Groups": "g1,g 2", "Remote-Name": "Al Ice"}),
    ],
)  # fmt: skip
def test_a_profile_names_its_headers(profile: str, headers: dict[str, str]) -> None:
    """Section 4 of the contract, groups separated by commas."""
    assert (
        rendered(profile, email="a@x", groups=("g1", "g 2"), username="al", name="Al Ice")
        == headers
    )


def test_the_profile_none_says_nothing() -> None:
    """No headers at all, however long the identity is."""
    assert IdentityProfile("none").render(Identity("a", "b" * 9999)) == b""


def test_trap_a_missing_claim_leaves_no_header() -> None:
    """GHSA-7r4p: what is absent is not set; that the client's is gone is intake's work, claim or no claim."""
    assert rendered() == {"X-Forwarded-User": "alice"}
    assert rendered(email="", groups=("",)) == {"X-Forwarded-User": "alice"}


def test_groups_that_would_be_others_are_left_out_and_counted() -> None:
    """A comma would make two of one; over 256 bytes, and space at an end, which fields do not carry."""
    profile = IdentityProfile("remote")
    fits = "g" * GROUP_MOST
    groups = ("eng", "a,b", fits, fits + "g", "é" * GROUP_MOST, " admin", "admin\t", "ops")
    block = profile.render(Identity("a", "s", groups=groups))
    assert block == f"Remote-User: s\r\nRemote-Groups: eng,{fits},ops\r\n".encode()
    assert profile.groups_left_out == 5


@pytest.mark.parametrize("size", [IDENTITY_BLOCK_MOST, IDENTITY_BLOCK_MOST + 1])
def test_headers_over_8_kib_are_none(size: int) -> None:
    """At the bound they are rendered; one byte over they are not, and nothing is cut off."""
    name = "s" * (size - len("Remote-User: \r\n"))
    block = IdentityProfile("remote").render(Identity("a", name))
    assert (block is None) is (size > IDENTITY_BLOCK_MOST)


@pytest.mark.parametrize("value", ["a\r\nX-Forwarded-Groups: admin", "a\x00", "a\x7f", "a\x85b", "\ud800", " alice", "alice\u00a0"])  # fmt: skip
def test_a_value_that_a_field_cannot_carry_is_never_set(value: str) -> None:
    """A control byte ends a field, and ` alice` would be `alice` behind us."""
    found = rendered(email=value, username=value, groups=(value, "eng"))
    assert found == {"X-Forwarded-User": "alice", "X-Forwarded-Groups": "eng"}
    assert rendered(subject=value) == {}


@given(st.text(), st.lists(st.text(max_size=10), max_size=5), st.text() | st.none())
def test_any_identity_is_rendered_as_whole_lines(
    subject: str, groups: list[str], email: str | None
) -> None:
    """No claim makes a line of its own, and each value arrives as it is."""
    block = IdentityProfile("remote").render(Identity("a", subject, tuple(groups), email=email))
    assert block is not None
    *lines, last = block.split(b"\r\n")
    assert last == b""
    found = dict(line.split(b": ", 1) for line in lines)
    assert set(found) <= {b"Remote-User", b"Remote-Groups", b"Remote-Email"}
    assert found.get(b"Remote-User", subject.encode("utf-8", "replace")).decode() == subject.encode("utf-8", "replace").decode()  # fmt: skip
    assert set(found.get(b"Remote-Groups", b"").decode().split(",")) <= {*groups, ""}


def test_cve_2025_48865_connection_options_are_names_in_lower_case() -> None:
    """Several fields and spaces and empty elements; whoever removes them does it before ours are set."""
    values = [b"close, X-Forwarded-User", b" ,keep-alive,,"]
    assert connection_options(values) == {b"close", b"x-forwarded-user", b"keep-alive"}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"a=1; s=x; b=2", b"a=1; b=2"),
        (b"s=x", b""),
        (b"s=x; a=1", b"a=1"),
        (b"a=1;s=x;s=y", b"a=1"),
        (b"a=1; s =x", b"a=1"),
        (b"a=s=x; S=1;", b"a=s=x; S=1;"),
        (b"", b""),
        (b"s", b""),
    ],
)
def test_our_cookies_are_taken_out(value: bytes, kept: bytes) -> None:
    """Every copy of the named cookie goes; what holds none is not touched."""
    assert without_cookies(value, frozenset({b"s"})) == kept


@given(st.binary(max_size=40))
def test_no_cookie_of_ours_is_left(value: bytes) -> None:
    """Whatever stands around it, the name is not among what is kept."""
    kept = without_cookies(b"s=secret;" + value + b"; s=secret", frozenset({b"s"}))
    assert b"s" not in [pair.partition(b"=")[0].strip() for pair in kept.split(b";")]


def test_names_are_joined_for_policies() -> None:
    """Lower case, repeated values joined with a comma and a space."""
    assert lower_names([(b"X-A", b"1"), (b"x-A", b"2")]) == {"x-a": "1, 2"}
