"""The configuration's models: defaults, and what each key refuses."""

from typing import Any

import pytest
from pydantic import ValidationError

from authproxy.config.authenticators import (
    Algorithm,
    ApiKeyAuthenticator,
    IntrospectionAuthenticator,
    JwtAuthenticator,
)
from authproxy.config.schema import Config
from authproxy.config.values import SocketAddress

LISTENERS: list[dict[str, Any]] = [{"address": "127.0.0.1:8443"}]
JWT: dict[str, Any] = {
    "type": "jwt", "issuer": "https://i.test", "audiences": ["api"], "algorithms": ["RS256"], "keys": {"file": "k"},
}  # fmt: skip

ASKS: dict[str, Any] = {
    "type": "introspection", "url": "https://i.test/introspect", "client_id": "c", "client_secret": {"env": "S"},
}  # fmt: skip


def config(**keys: Any) -> Config:
    return Config.model_validate({"listeners": LISTENERS, **keys})


def kinds(**keys: Any) -> list[str]:
    """The kinds of error; none where the configuration is right."""
    try:
        config(**keys)
    except ValidationError as error:
        return [e["type"] for e in error.errors()]
    return []


def with_jwt(**keys: Any) -> dict[str, Any]:
    return {"authenticators": {"tokens": JWT | keys}}


def with_introspection(**keys: Any) -> dict[str, Any]:
    return {"authenticators": {"opaque": ASKS | keys}}


def with_keys(**keys: Any) -> dict[str, Any]:
    return {"authenticators": {"keys": {"type": "api-key", **keys}}}


def with_upstream(**keys: Any) -> dict[str, Any]:
    return {"upstreams": {"u": {"servers": ["http://h"], **keys}}}


def test_the_defaults_are_those_of_the_contract() -> None:
    """Section 2: everything but listeners may be left out."""
    found = config()
    assert found.admin
    assert (found.admin.address, found.workers) == (SocketAddress("127.0.0.1", 9901), 1)
    assert (found.trusted_proxies, found.trusted_networks) == (None, [])
    assert (found.state.url, found.state.on_failure) == (None, "refuse")
    session, bounds, access = found.session, found.bounds, found.logging.access
    assert (session.cookie, session.idle_timeout, session.absolute_timeout) == (
        "__Host-authproxy",
        1800,
        43200,
    )
    assert (bounds.header_bytes, bounds.header_fields, bounds.uri_bytes, bounds.token_bytes) == (
        32768,
        128,
        8192,
        8192,
    )
    assert (bounds.body_bytes, bounds.header_timeout, bounds.keepalive, bounds.handshake) == (
        0,
        15,
        75,
        10,
    )
    assert (bounds.body_rate_bytes, bounds.connections, bounds.drain, bounds.drain_delay) == (
        1024,
        10_000,
        30,
        0,
    )
    assert (access.path, access.format, found.rate_limits, found.policies) == (
        "-",
        "json",
        [],
        ["policies"],
    )
    assert (found.failed_authentications, found.identity.profile) == ("30/minute", "forwarded")
    assert (found.identity.strip, found.identity.assertion.enabled) == ([], False)


def test_an_authenticator_has_the_defaults_of_the_contract() -> None:
    """Bearer, 30 seconds, the registered claim names."""
    found = config(**with_jwt()).authenticators["tokens"]
    assert isinstance(found, JwtAuthenticator)
    assert [(s.header, s.scheme, s.cookie) for s in found.token_from] == [
        ("Authorization", "Bearer", None)
    ]
    names = found.claims
    assert found.leeway == 30
    assert (names.subject, names.groups, names.scopes) == ("sub", "groups", "scope")
    assert (names.email, names.username, names.name) == ("email", "preferred_username", "name")


def test_introspection_and_api_keys_have_defaults() -> None:
    """Opaque bearer tokens, believed for a minute; keys in a header of their own or as a bearer."""
    found = config(**with_introspection()).authenticators["opaque"]
    assert isinstance(found, IntrospectionAuthenticator)
    assert (found.tokens, found.cache, found.leeway, found.dpop, found.audiences) == (
        "opaque", 60, 30, None, None,
    )  # fmt: skip
    assert [(s.header, s.scheme) for s in found.token_from] == [("Authorization", "Bearer")]
    keys = config(**with_keys()).authenticators["keys"]
    assert isinstance(keys, ApiKeyAuthenticator)
    assert [(s.header, s.scheme) for s in keys.token_from] == [
        ("X-API-Key", None), ("Authorization", "Bearer"),
    ]  # fmt: skip
    described = str(Config.model_json_schema())
    assert "each request brings a proof" in described
    assert "introspection endpoint" in described


def test_an_upstream_has_the_defaults_of_the_contract() -> None:
    """The client's Host, 5 seconds, a minute, five minutes."""
    found = config(**with_upstream()).upstreams["u"]
    assert (found.host, found.tls) == ("client", None)
    assert (found.timeouts.connect, found.timeouts.response, found.timeouts.idle) == (5, 60, 300)


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({"listener": []}, "extra_forbidden"),
        ({"listeners": []}, "too_short"),
        ({"admin": True}, "literal_error"),
        ({"workers": 0}, "bad-workers"),
        ({"workers": "many"}, "bad-workers"),
        ({"trusted_proxies": {"networks": []}}, "too_short"),
        ({"trusted_proxies": {"networks": ["10.0.0.0/8"], "host": "yes"}}, "bool_type"),
        ({"trusted_proxies": {"networks": ["10.0.0.0/8"], "header": "x-real-ip"}}, "literal_error"),
        ({"state": {"url": "sqlite:x"}}, "bad-url"),
        ({"state": {"on_failure": "allow"}}, "literal_error"),
        ({"session": {"cookie": "authproxy"}}, "string_pattern_mismatch"),
        ({"session": {"idle_timeout": 30}}, "bad-duration"),
        ({"bounds": {"header_bytes": "32KB"}}, "bad-size"),
        ({"bounds": {"header_fields": -1}}, "greater_than_equal"),
        ({"bounds": {"body_rate": "1KiB"}}, "bad-size"),
        ({"identity": {"profile": "all"}}, "literal_error"),
        ({"identity": {"strip": ["a b"]}}, "string_pattern_mismatch"),
        ({"rate_limits": [{"limit": "1/second", "per": "subject"}]}, "bad-per"),
        ({"rate_limits": [{"limit": "1/second", "per": "route"}]}, "bad-per"),
        ({"failed_authentications": "30"}, "bad-rate"),
        ({"policies": []}, "too_short"),
        ({"logging": {"access": {"format": "text"}}}, "literal_error"),
        ({"logging": {"decisions": {"path": "-"}}}, "bad-path"),
        ({"logging": {"decisions": {"path": ""}}}, "bad-path"),
        ({"logging": {"decisions": {}}}, "missing"),
        ({"logging": {"access": {"path": "a"}, "decisions": {"path": "a"}}}, "bad-path"),
        (with_jwt(audiences=[]), "too_short"),
        (with_jwt(audiences=[""]), "string_too_short"),
        (with_jwt(issuer=""), "string_too_short"),
        (with_jwt(issuer="https://u:p@i.test"), "literal-secret"),
        (with_jwt(algorithms=[]), "too_short"),
        (with_jwt(algorithms=["none"]), "literal_error"),
        (with_jwt(algorithms=["RS256", "HS256"]), "mixed-algorithms"),
        (with_jwt(algorithms=["HS256"]), "bad-keys"),
        (with_jwt(keys={"secret": {"env": "S"}}), "bad-keys"),
        (with_jwt(keys={}), "bad-keys"),
        (with_jwt(keys={"file": "k", "secret": {"env": "S"}}), "bad-keys"),
        (with_jwt(algorithms=["HS256"], keys={"secret": "hunter2"}), "literal-secret"),
        (with_jwt(keys={"url": "https://i.test/jwks", "file": "k"}), "bad-keys"),
        (with_jwt(keys={"url": "https://i.test/jwks", "discovery": True}), "bad-keys"),
        (with_jwt(keys={"discovery": False}), "literal_error"),
        (with_jwt(keys={"url": "http://i.test/jwks"}), "bad-url"),
        (with_jwt(keys={"url": "file:///etc/jwks"}), "bad-url"),
        (with_jwt(keys={"url": "https://u:p@i.test/jwks"}), "literal-secret"),
        (with_jwt(keys={"url": "https://i.test/jwks#a"}), "bad-url"),
        (with_jwt(keys={"url": 7}), "wrong-type"),
        (with_jwt(keys={"file": "k", "ca": "ca.crt"}), "bad-keys"),
        (with_jwt(keys={"file": "k", "refresh": "5m"}), "bad-keys"),
        (with_jwt(keys={"discovery": True, "ca": ""}), "string_too_short"),
        (with_jwt(keys={"discovery": True, "refresh": "500ms"}), "bad-refresh"),
        (with_jwt(keys={"discovery": True, "refresh": "0s"}), "bad-refresh"),
        (with_jwt(keys={"discovery": True, "refresh": "2h", "keep": "1h"}), "bad-refresh"),
        (with_jwt(keys={"discovery": True, "keep": "31d"}), "bad-keep"),
        (with_jwt(keys={"discovery": True, "cool_down": "0s"}), "bad-cool-down"),
        (with_jwt(algorithms=["HS256"], keys={"discovery": True}), "bad-keys"),
        (with_jwt(leeway="6m"), "bad-leeway"),
        (with_jwt(token_from=[]), "too_short"),
        (with_jwt(token_from=[{"query": "token"}]), "extra_forbidden"),
        (with_jwt(token_from=[{}]), "bad-slot"),
        (with_jwt(token_from=[{"header": "X", "cookie": "c"}]), "bad-slot"),
        (with_jwt(token_from=[{"header": "Authorization"}]), "bad-slot"),
        (with_jwt(token_from=[{"header": "X-Token", "scheme": "Bearer"}]), "bad-slot"),
        (with_jwt(type="saml"), "union_tag_invalid"),
        (with_jwt(type=["jwt"]), "union_tag_invalid"),
        (with_jwt(dpop=True), "literal_error"),
        (with_jwt(dpop="maybe"), "literal_error"),
        (with_jwt(certificate_bound="yes"), "literal_error"),
        (with_jwt(token_from=[{"header": "Authorization", "scheme": "dpop"}]), "bad-slot"),
        (with_introspection(url="http://i.test/introspect"), "bad-url"),
        (with_introspection(url="https://u:p@i.test/"), "literal-secret"),
        (with_introspection(client_secret="hunter2"), "literal-secret"),
        (with_introspection(client_id=""), "string_too_short"),
        (with_introspection(cache="6m"), "bad-cache"),
        (with_introspection(leeway="6m"), "bad-leeway"),
        (with_introspection(audiences=[]), "too_short"),
        (with_introspection(tokens="jwt"), "literal_error"),
        (with_introspection(token_from=[]), "too_short"),
        (with_introspection(algorithms=["RS256"]), "extra_forbidden"),
        ({"authenticators": {"o": {"type": "introspection"}}}, "missing"),
        (with_keys(token_from=[]), "too_short"),
        (with_keys(users={"file": "u"}), "extra_forbidden"),
        (with_keys(token_from=[{"query": "key"}]), "extra_forbidden"),
        ({"authenticators": {"a b": JWT}}, "string_pattern_mismatch"),
        (with_upstream(servers=[]), "too_short"),
        (with_upstream(servers=["http://h/p"]), "bad-url"),
        (with_upstream(servers=["http://u:p@h"]), "literal-secret"),
        (with_upstream(host="a b"), "string_pattern_mismatch"),
        (with_upstream(tls={"certificate": "c"}), "bad-pair"),
        (with_upstream(tls={"verify": False}), "extra_forbidden"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_an_error(keys: dict[str, Any], kind: str) -> None:
    """Each key takes what the contract says and nothing else; verification cannot be turned off."""
    assert kind in kinds(**keys)


@pytest.mark.parametrize(
    "keys",
    [
        {"listeners": [LISTENERS[0] | {"forward_auth": ["nginx"]}]},
    ],
)  # fmt: skip
def test_parts_of_later_versions_say_so(keys: dict[str, Any]) -> None:
    """Asking for what the contract names and this version does not have is one error that says so."""
    assert kinds(**keys) == ["not-available"]


ASSERTION: dict[str, Any] = {"enabled": True, "issuer": "https://p.test", "key": {"file": "k"}}


def test_the_assertion_is_off_until_it_is_enabled() -> None:
    """Its issuer and key may stand there before; it is good for a minute."""
    found = config(identity={"assertion": {**ASSERTION, "enabled": False}}).identity.assertion
    assert (found.enabled, found.ttl) == (False, 60)
    assert kinds(identity={"assertion": ASSERTION}) == []


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"issuer": None}, "incomplete-assertion"),
        ({"key": None}, "incomplete-assertion"),
        ({"issuer": None, "key": None}, "incomplete-assertion"),
        ({"issuer": ""}, "string_too_short"),
        ({"issuer": "https://u:p@p.test"}, "literal-secret"),
        ({"ttl": "500ms"}, "bad-ttl"),
        ({"ttl": "2h"}, "bad-ttl"),
        ({"ttl": 60}, "bad-duration"),
        ({"key": "certs/assertion.pem"}, "model_type"),
        ({"enabled": "yes"}, "bool_type"),
        ({"algorithm": "RS256"}, "extra_forbidden"),
    ],
)
def test_an_assertion_that_cannot_be_made_is_an_error(change: dict[str, Any], kind: str) -> None:
    """Without an issuer or a key nobody could verify it; a long life would be good for whoever copied it."""
    settings = {k: v for k, v in {**ASSERTION, **change}.items() if v is not None}
    assert kinds(identity={"assertion": settings}) == [kind]


@pytest.mark.parametrize(
    "keys",
    [
        {"url": "https://i.test/jwks?tenant=1"}, {"url": "http://127.0.0.1:8080/jwks", "ca": "ca.crt"}, {"discovery": True},
        {"discovery": True, "ca": "ca.crt", "refresh": "1s", "keep": "30d", "cool_down": "1s"},
    ],
)  # fmt: skip
def test_keys_elsewhere(keys: dict[str, Any]) -> None:
    """By URL or by discovery, with an authority and times of its own."""
    assert kinds(**with_jwt(keys=keys)) == []


@pytest.mark.parametrize("workers", [1, 2, 256, "auto"])
def test_workers_are_a_number_or_auto(workers: object) -> None:
    """One for each processor where it is auto."""
    assert kinds(workers=workers) == []


@pytest.mark.parametrize("workers", [0, -1, 257, "many", True, 1.5, None])
def test_other_numbers_of_workers_are_refused(workers: object) -> None:
    """At least one, and not more than any machine has use for."""
    assert kinds(workers=workers) != []


@pytest.mark.parametrize("profile", ["forwarded", "auth-request", "remote", "none"])
def test_the_profiles_are_those_of_the_contract(profile: str) -> None:
    """Section 4."""
    assert kinds(identity={"profile": profile}) == []


@pytest.mark.parametrize(
    ("rate", "found"), [("1KiB/s", 1024), ("2MiB/s", 2 << 20), ("5B/s", 5), (0, 0)]
)
def test_a_rate_of_bytes_is_bytes_a_second(rate: Any, found: int) -> None:
    """0 is none."""
    assert config(bounds={"body_rate": rate}).bounds.body_rate_bytes == found


@pytest.mark.parametrize("keys", [{"trusted_proxies": None}, {"authenticators": None}, {"rate_limits": None}, {"admin": None}, {"bounds": {"body_bytes": None}}])  # fmt: skip
def test_trap_a_key_without_a_value_is_an_error(keys: dict[str, Any]) -> None:
    """`rate_limits:` with nothing behind it is not the wish for none."""
    assert kinds(**keys)


def test_the_schema_names_every_key() -> None:
    """Editors complete and check from the same models."""
    assert set(Config.model_json_schema()["properties"]) == set(Config.model_fields)
    assert "none" not in str(Algorithm)
