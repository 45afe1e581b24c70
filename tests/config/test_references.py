"""References: what is wrong between two parts that are each right."""

import pytest

from authproxy.config.references import check_references
from authproxy.config.schema import Config
from authproxy.config.validate import validate
from authproxy.config.yaml import read_yaml
from authproxy.model.source import Path


def codes(text: str, cut: set[Path] = frozenset()) -> list[str]:  # type: ignore[assignment]
    data, source, _ = read_yaml(text.encode(), "f.yaml")
    config, _, problems = validate(Config, data, source)
    assert problems == []
    assert config is not None
    return [p.code for p in check_references(config, source, cut)]


def listeners(*addresses: str, admin: str = "127.0.0.1:9901") -> str:
    shown = ", ".join(f'{{address: "{a}"}}' for a in addresses)
    return f'listeners: [{shown}]\nadmin: {{address: "{admin}"}}'


def jwt(slot: str, issuer: str = "https://i.test") -> str:
    return f"{{type: jwt, issuer: '{issuer}', audiences: [a], algorithms: [RS256], keys: {{file: k}}, token_from: [{slot}]}}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (listeners("a:1", "a:2"), []),
        (listeners("a:1", "a:1"), ["duplicate-address"]),
        (listeners("a:0", "a:0"), []),
        (listeners("0.0.0.0:1", "a:1"), ["duplicate-address"]),
        (listeners("unix:/a", "unix:/a"), ["duplicate-address"]),
        (listeners("unix:/a", "unix:/b"), []),
        (listeners("127.0.0.1:9901"), ["admin-on-listener"]),
        (listeners("[::]:9901"), ["admin-on-listener"]),
        (listeners("a:0", admin="a:0"), []),
        (listeners("a:1") + "\n#", []),
        ('listeners: [{address: "127.0.0.1:9901"}]', ["admin-on-listener"]),
        ('listeners: [{address: "127.0.0.1:9901"}]\nadmin: false', []),
    ],
)
def test_two_listeners_need_two_addresses(text: str, found: list[str]) -> None:
    """The admin listener is never a proxied one; port 0 is any free one."""
    assert codes(text) == found


def asks(more: str = "") -> str:
    return f"{{type: introspection, url: 'https://i.test', client_id: c, client_secret: {{env: S}}{more}}}"


KEYS = "{type: api-key}"
DPOP = jwt("{header: X-T}").removesuffix("}") + ", dpop: optional}"
DPOP_ELSEWHERE = jwt("{header: X-U}").removesuffix("}") + ", dpop: optional}"


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        (asks(), asks(), ["duplicate-slot"]),
        (asks(), asks(", tokens: all"), []),
        (asks(), asks(", token_from: [{header: X-T}]"), []),
        (asks(), jwt("{header: Authorization, scheme: Bearer}"), []),
        (KEYS, KEYS, ["duplicate-slot"]),
        (KEYS, asks(), []),
        (KEYS, "{type: api-key, token_from: [{cookie: key}]}", []),
        (KEYS, "{type: certificate, subject: cn}", []),
        (DPOP, DPOP_ELSEWHERE, ["duplicate-issuer"]),
        (DPOP, jwt("{header: X-U}"), []),
        (jwt("{header: X-T}"), jwt("{header: X-T}"), ["duplicate-issuer"]),
        (jwt("{header: X-T}"), jwt("{header: x-t}"), ["duplicate-issuer"]),
        (jwt("{header: X-T}"), jwt("{header: X-U}"), []),
        (jwt("{header: X-T}"), jwt("{header: X-T}", "https://j.test"), []),
        (
            jwt("{header: Authorization, scheme: Bearer}"),
            jwt("{header: Authorization, scheme: Basic}"),
            [],
        ),
        (
            jwt("{cookie: a}, {header: X-T}"),
            jwt("{header: X-T}, {cookie: a}"),
            ["duplicate-issuer"],
        ),
    ],
)
def test_two_authenticators_cannot_take_the_same_token(
    one: str, other: str, found: list[str]
) -> None:
    """Same issuer and same slot: nobody could say whose the token is."""
    assert codes(f"{listeners('a:1')}\nauthenticators: {{one: {one}, other: {other}}}") == found


def test_broken_listeners_are_not_compared() -> None:
    """A neighbour that stands in for one is in nobody's way."""
    assert codes(listeners("a:1", "a:1"), {("listeners", 1)}) == []


@pytest.mark.parametrize(
    ("workers", "found"),
    [("1", []), ("2", ["memory-of-one-worker"]), ("auto", ["memory-of-one-worker"])],
)
def test_memory_is_for_one_worker(workers: str, found: list[str]) -> None:
    """With several each would count for itself, and a limit would let pass as many times more."""
    text = listeners("a:1") + f'\nstate: {{url: "memory:"}}\nworkers: {workers}'
    assert codes(text) == found


@pytest.mark.parametrize(
    ("issuer", "keys", "found"),
    [
        ("https://i.test", "discovery: true", []),
        ("https://i.test/realms/a", "discovery: true", []),
        ("http://127.0.0.1:8080", "discovery: true", []),
        ("http://i.test", "discovery: true", ["bad-issuer"]),
        ("i.test", "discovery: true", ["bad-issuer"]),
        ("https://i.test/?a=1", "discovery: true", ["bad-issuer"]),
        ("https://i.test/#a", "discovery: true", ["bad-issuer"]),
        ("i.test", "url: https://i.test/jwks", []),
    ],
)
def test_only_a_server_can_be_asked(issuer: str, keys: str, found: list[str]) -> None:
    """Discovery needs an issuer that is an https URL without a query, or one on this machine; a URL of its own does not."""
    one = (
        f"{{type: jwt, issuer: '{issuer}', audiences: [a], algorithms: [RS256], keys: {{{keys}}}}}"
    )
    assert codes(listeners("a:1") + f"\nauthenticators: {{one: {one}}}") == found


SSO = "type: oidc, issuer: 'https://id.test', client_id: c, client_authentication: none"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"authenticators: {{sso: {{{SSO}}}}}", ["missing-portal"]),
        (f"authenticators: {{sso: {{{SSO}}}, two: {{{SSO}}}}}", ["missing-portal"] * 2),
        (f"authenticators: {{sso: {{{SSO}}}}}\nportal: {{url: https://login.test}}", []),
        ("portal: {url: https://login.test}", []),
    ],
)  # fmt: skip
def test_a_provider_needs_to_know_where_to_send_people_back_to(text: str, found: list[str]) -> None:
    """Each login says it; a portal that is wrong itself is said once."""
    assert codes(f"{listeners('127.0.0.1:1')}\n{text}") == found


def test_a_portal_that_is_wrong_is_one_mistake() -> None:
    """What was cut out is not missed."""
    text = f"{listeners('127.0.0.1:1')}\nauthenticators: {{sso: {{{SSO}}}}}"
    assert codes(text, {("portal",)}) == []


@pytest.mark.parametrize("kind", [SSO, "type: password, users: {file: u}"])
def test_sessions_are_for_tls(kind: str) -> None:
    """A listener that others reach without it makes sessions that no browser brings back."""
    text = f"authenticators: {{people: {{{kind}}}}}\nportal: {{url: https://login.test}}"
    assert codes(f"{listeners('0.0.0.0:1')}\n{text}") == ["session-without-tls"]
    proxied = "trusted_proxies: {networks: [10.0.0.0/8]}"
    for fine in (listeners("127.0.0.1:1"), f"{listeners('0.0.0.0:1')}\n{proxied}"):
        assert codes(f"{fine}\n{text}") == []
