"""What another site makes a browser send is refused where it could change something, and for every WebSocket."""

from pathlib import Path

import pytest

from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.fields import Fields
from authproxy.web.own_site import check_own_site, check_session_use, is_own_origin, own_origin
from tests.web.portal.browser import SCRIPT, Browser, office


def asked(
    method: str = "POST",
    host: str = "app.test",
    scheme: str = "https",
    upgrade: bytes | None = None,
    **fields: str,
) -> Exchange:
    exchange = Exchange("id", 0.0, 0.0)
    exchange.method, exchange.host_field, exchange.scheme, exchange.upgrade = (
        method,
        host,
        scheme,
        upgrade,
    )
    exchange.fields = Fields((n.replace("_", "-").encode(), v.encode()) for n, v in fields.items())
    return exchange


@pytest.mark.parametrize(
    ("origin", "own"),
    [
        ("https://app.test", True), ("https://app.test:443", True), ("https://APP.test", True), ("http://app.test", False),
        ("https://app.test:8443", False), ("https://app.test.evil.test", False), ("https://evil.test", False), ("null", False),
        ("", False), ("https://u@app.test", False), ("https://app.test/x", False), ("https://app.test:x", False),
        ("https://[::1", False), ("app.test", False),
    ],
)  # fmt: skip
def test_an_origin_is_scheme_host_and_port(origin: str, own: bool) -> None:
    """All three, with the default port said or not; what is none is not ours."""
    assert is_own_origin(asked(), origin) is own
    assert is_own_origin(asked(host="app.test:8443"), "https://app.test:8443")


@pytest.mark.parametrize(
    ("scheme", "host", "origin"),
    [
        ("https", "App.test", "https://app.test"), ("https", "app.test:443", "https://app.test"),
        ("https", "app.test:80", "https://app.test:80"), ("http", "app.test:80", "http://app.test"),
        ("https", "[::1]:8443", "https://[::1]:8443"),
    ],
)  # fmt: skip
def test_our_own_origin_has_one_spelling(scheme: str, host: str, origin: str) -> None:
    """The configuration's, so that they can be compared."""
    assert own_origin(asked(host=host, scheme=scheme)) == origin


@pytest.mark.parametrize(
    ("fields", "passes"),
    [
        ({}, True), ({"Origin": "https://app.test"}, True), ({"Origin": "https://evil.test"}, False),
        ({"Sec_Fetch_Site": "same-origin"}, True), ({"Sec_Fetch_Site": "none"}, True), ({"Sec_Fetch_Site": "same-site"}, False),
        ({"Sec_Fetch_Site": "cross-site"}, False), ({"Sec_Fetch_Site": "cross-site", "Origin": "https://app.test"}, False),
        ({"Origin": "null"}, False),
    ],
)  # fmt: skip
def test_what_changes_something_comes_from_our_own_pages(
    fields: dict[str, str], passes: bool
) -> None:
    """Reading is not asked; what says nothing is no browser."""
    check_session_use(asked("GET", "app.test", "https", None, **fields))
    if passes:
        check_own_site(asked("POST", "app.test", "https", None, **fields))
        check_session_use(asked("DELETE", "app.test", "https", None, **fields))
        return
    for method in ("POST", "PUT", "DELETE", "PATCH", "QUERY"):
        with pytest.raises(Refusal) as refused:
            check_session_use(asked(method, "app.test", "https", None, **fields))
        assert refused.value.code == "cross_site"


def test_a_websocket_needs_our_own_origin() -> None:
    """Said, and the right one (cross-site WebSocket hijacking, facts 104)."""
    check_session_use(asked("GET", upgrade=b"websocket", Origin="https://app.test"))
    for fields in ({}, {"Origin": "https://evil.test"}, {"Origin": "null"}):
        with pytest.raises(Refusal):
            check_session_use(asked("GET", "app.test", "https", b"websocket", **fields))


async def test_it_holds_for_sessions_and_not_for_tokens(tmp_path: Path) -> None:
    """A token is put there by a program on purpose; a cookie goes along by itself."""
    from tests.playbook import token

    crossed = [(n, "cross-site" if n == "Sec-Fetch-Site" else v) for n, v in SCRIPT]
    async with office(tmp_path) as p:
        browser = Browser(p)
        await browser.log_in()
        assert (await browser.go("/staff/x", "POST", crossed)).code == "cross_site"
        assert (await browser.go("/staff/x", "GET", crossed)).status == 200
        assert (await browser.go("/staff/x", "POST", SCRIPT)).status == 200
        assert (await p.request("POST", "/staff/x", crossed, token=token())).status == 200
