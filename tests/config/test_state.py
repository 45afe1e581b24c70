"""The section `state`: where it may live, how a Redis is named, and that no secret stands in it."""

from typing import Any

import pytest
from pydantic import ValidationError

from authproxy.config.state import State, parse_redis_url


def refusal(**keys: Any) -> tuple[str, str]:
    """The code of what is wrong, and all that is said of it."""
    with pytest.raises(ValidationError) as refused:
        State.model_validate(keys)
    [error] = refused.value.errors()
    return error["type"], error["msg"]


@pytest.mark.parametrize(
    ("url", "tls", "servers", "database", "service"),
    [
        ("redis://r.test", False, [("r.test", 6379)], 0, None),
        ("redis://127.0.0.1:6380/2", False, [("127.0.0.1", 6380)], 2, None),
        ("rediss://[::1]:7000/", True, [("::1", 7000)], 0, None),
        ("redis+sentinel://a,b:1,c/main", False, [("a", 26379), ("b", 1), ("c", 26379)], 0, "main"),
        ("rediss+sentinel://a:2/main/3", True, [("a", 2)], 3, "main"),
    ],
)
def test_places_of_a_redis(
    url: str, tls: bool, servers: list[Any], database: int, service: str | None
) -> None:
    """A host, its port and database; or sentinels and the service that they know."""
    found = State.model_validate({"url": url}).redis
    assert found is not None
    assert (found.tls, list(found.servers), found.database, found.service) == (
        tls, servers, database, service,
    )  # fmt: skip
    assert str(found) == url


@pytest.mark.parametrize("url", [None, "memory:", "lmdb:state", "lmdb:/var/lib/a"])
def test_places_that_are_no_redis(url: str | None) -> None:
    """This machine's own."""
    assert State.model_validate({"url": url} if url else {}).redis is None


@pytest.mark.parametrize(
    "url",
    [
        "redis://", "redis://h:0", "redis://h:65536", "redis://h/x", "redis://h/0/1", "redis://h/99999", "redis://a,b",
        "redis://h?password=x", "redis://h#1", "redis+sentinel://h", "redis+sentinel://h/a b", "redis+sentinel://h/m/0/1",
        "redis://h h", "redis://[zz]", "redis+unix:///x", "REDIS://h",
    ],
)  # fmt: skip
def test_what_names_no_redis(url: str) -> None:
    """Is an error with a remedy, not a guess."""
    code, said = refusal(url=url)
    assert code == "bad-url"
    assert "write `" in said
    assert parse_redis_url(url) is None


@pytest.mark.parametrize(
    "url",
    ["redis://:s3cret@h", "rediss://u:s3cret@h:1/0", "redis://s3cret@h", "redis+sentinel://s3cret@h/m", "redis://h/s3cret@"],
)  # fmt: skip
def test_userinfo_is_refused_and_not_shown(url: str) -> None:
    """A password in a URL ends in logs and process lists; it comes by reference."""
    code, said = refusal(url=url)
    assert code == "literal-secret"
    assert "s3cret" not in said
    assert "password: {env: NAME}" in said


def test_a_literal_password_is_refused_and_not_shown() -> None:
    """Also in the key that is for it."""
    code, said = refusal(url="redis://h", password="s3cret")
    assert (code, "s3cret" in said) == ("literal-secret", False)


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"url": "lmdb:state", "password": {"env": "P"}}, "needs-redis"),
        ({"username": "u", "password": {"env": "P"}}, "needs-redis"),
        ({"url": "lmdb:state", "leases": True}, "needs-redis"),
        ({"url": "memory:", "leases": True}, "needs-redis"),
        ({"leases": True}, "needs-redis"),
        ({"url": "redis://h", "leases": "yes"}, "bool_type"),
        ({"url": "redis://h", "username": "u"}, "no-password"),
        ({"url": "redis://h", "tls": {"ca": "ca.crt"}}, "tls-unused"),
        ({"url": "rediss://h", "tls": {"certificate": "a.crt"}}, "bad-pair"),
        ({"url": "redis://h", "sentinel": {"password": {"env": "P"}}}, "sentinel-unused"),
        ({"url": "redis://h", "timeout": "1m"}, "bad-timeout"),
        ({"url": "redis://h", "timeout": "1ms"}, "bad-timeout"),
        ({"url": "redis://h", "on_failure": "pass"}, "literal_error"),
    ],
)
def test_parts_that_do_not_fit(keys: dict[str, Any], code: str) -> None:
    """What would have no effect, or could not work, is said when it is read."""
    assert refusal(**keys)[0] == code


def test_all_of_it() -> None:
    """A Redis behind sentinels, with TLS and users on both."""
    found = State.model_validate({
        "url": "rediss+sentinel://a,b,c/main", "username": "proxy", "password": {"env": "P"}, "timeout": "250ms", "leases": True,
        "tls": {"ca": "ca.crt", "server_name": "redis.test", "certificate": "a.crt", "private_key": "a.key"},
        "sentinel": {"username": "watch", "password": {"file": "s"}}, "on_failure": "allow_limits",
    })  # fmt: skip
    assert (found.username, found.timeout, found.on_failure) == ("proxy", 0.25, "allow_limits")
    assert found.leases
