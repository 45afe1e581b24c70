"""The section of a login at a provider: what may stand there, and what would be no login at all. Tokens are in test_schema.py."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from authproxy.config.authenticators import ASYMMETRIC, Authenticator, OidcLogin
from authproxy.config.schema import Portal

SSO: dict[str, Any] = {
    "type": "oidc", "issuer": "https://id.test", "client_id": "c", "client_secret": {"env": "S"},
}  # fmt: skip
ADAPTER: TypeAdapter[Any] = TypeAdapter(Authenticator)


def settings(**changes: Any) -> OidcLogin:
    """The section with these changes; None takes a key away."""
    found = ADAPTER.validate_python({k: v for k, v in {**SSO, **changes}.items() if v is not None})
    assert isinstance(found, OidcLogin)
    return found


def kinds(**changes: Any) -> list[str]:
    """The kinds of what is wrong."""
    try:
        settings(**changes)
    except ValidationError as error:
        return [one["type"] for one in error.errors()]
    return []


def test_what_is_not_said_is_usual() -> None:
    """Basic, the standard scopes, every public-key algorithm, half a minute."""
    found = settings()
    assert (found.authentication, found.scopes) == ("basic", ["openid", "profile", "email"])
    assert (tuple(found.algorithms), found.leeway) == (ASYMMETRIC, 30.0)
    assert (
        settings(client_secret=None, private_key={"file": "k"}).authentication == "private_key_jwt"
    )


@pytest.mark.parametrize("changes", [
    {"client_authentication": "post"}, {"client_secret": None, "client_authentication": "none"},
    {"client_secret": None, "private_key": {"file": "k"}, "client_authentication": "private_key_jwt"},
    {"algorithms": ["HS256"]}, {"algorithms": ["RS256", "ES256"]}, {"issuer": "http://127.0.0.1:9000"},
    {"issuer": "https://id.test/realms/x"}, {"title": "Acme"}, {"authorization": {"access_type": "offline"}},
    {"claims": {"groups": "realm_access.roles"}}, {"ca": "ca.pem"},
    {"algorithms": ["HS256"], "private_key": {"file": "k"}},
])  # fmt: skip
def test_what_may_stand_there(changes: dict[str, Any]) -> None:
    """Each way to be a client, each kind of provider."""
    assert kinds(**changes) == []


@pytest.mark.parametrize(("changes", "kind"), [
    ({"client_secret": None}, "bad-client"), ({"client_secret": None, "client_authentication": "post"}, "bad-client"),
    ({"client_authentication": "none"}, "bad-client"), ({"client_authentication": "private_key_jwt"}, "bad-client"),
    ({"private_key": {"file": "k"}}, "bad-client"), ({"private_key": {"file": "k"}, "client_authentication": "post"}, "bad-client"),
    ({"client_secret": None, "client_authentication": "none", "algorithms": ["HS256"]}, "bad-client"),
    ({"algorithms": ["RS256", "HS256"]}, "mixed-algorithms"), ({"algorithms": ["none"]}, "literal_error"), ({"algorithms": []}, "too_short"),
    ({"scopes": ["profile"]}, "bad-scopes"), ({"scopes": []}, "too_short"), ({"scopes": ["openid profile"]}, "string_pattern_mismatch"),
    ({"leeway": "6m"}, "bad-leeway"), ({"authorization": {"state": "x"}}, "bad-parameter"), ({"authorization": {"nonce": "x"}}, "bad-parameter"),
    ({"client_secret": "hunter2"}, "literal-secret"), ({"issuer": "http://id.test"}, "bad-url"), ({"issuer": "https://u:p@id.test"}, "literal-secret"),
    ({"issuer": None}, "missing"), ({"client_id": ""}, "string_too_short"), ({"title": ""}, "string_too_short"), ({"more": 1}, "extra_forbidden"),
    ({"client_authentication": "client_secret_jwt"}, "literal_error"),
])  # fmt: skip
def test_what_would_be_no_login_is_an_error(changes: dict[str, Any], kind: str) -> None:
    """One for each mistake, before anybody is sent anywhere."""
    assert kind in kinds(**changes)


@pytest.mark.parametrize(("url", "origin", "host"), [
    ("https://login.test", "https://login.test", "login.test"), ("https://Login.test/", "https://login.test", "login.test"),
    ("https://login.test:443", "https://login.test", "login.test"), ("https://login.test:8443", "https://login.test:8443", "login.test"),
    ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1"), ("http://localhost:80", "http://localhost", "localhost"),
    ("https://[2001:DB8:0::7]:8443", "https://[2001:db8::7]:8443", "[2001:db8::7]"), ("https://[::1]:443/", "https://[::1]", "[::1]"),
])  # fmt: skip
def test_a_portal_is_an_origin(url: str, origin: str, host: str) -> None:
    """In the one spelling that requests are compared with."""
    found = Portal(url=url)
    assert (found.url, found.host) == (origin, host)


@pytest.mark.parametrize("url", [
    "http://login.test", "https://login.test/path", "https://login.test?x", "https://login.test/#x", "login.test", "https://",
    "https://u:p@login.test", "ftp://login.test", "https://login.test:x", 7,
    "https://[::1", "https://[fe80::1%25eth0]", "https://log;in.test", "https://login..test",
])  # fmt: skip
def test_what_is_no_portal_is_an_error(url: object) -> None:
    """It is https but for this machine, and has no path: providers send people there."""
    with pytest.raises(ValidationError):
        Portal(url=url)  # type: ignore[arg-type]  # what an operator may write
