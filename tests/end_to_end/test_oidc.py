"""People log in at a real provider that nobody here wrote: in, on, and out again, over several workers."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from authproxy.authn.issue import generate_key, public_jwks
from tests.end_to_end.credentials import Issuer
from tests.end_to_end.identity import Browser, IdentityProvider, Page
from tests.end_to_end.served import (
    Served,
    configuration,
    free_port,
    wait_until,
    write_configuration,
)
from tests.end_to_end.streams import WebSocketBackend
from tests.hostile.recorder import Recorder
from tests.web.portal.browser import Form

SECRET = "a secret of the client, long enough"
COOKIE = "__Host-authproxy"


class Company:
    """A provider, a proxy whose people log in there, and the backend behind it."""

    def __init__(self, folder: Path, *, lifetime: int = 600, workers: int = 1, how: str = "basic", algorithm: str = "RS256", backend: int = 0, **more: Any) -> None:  # fmt: skip
        self.folder, self.port = folder, free_port()
        self.portal = f"http://127.0.0.1:{self.port}"
        self.recorder = Recorder()
        pem = generate_key("ES256")
        (folder / "client.pem").write_bytes(pem)
        (folder / "client.pem").chmod(0o600)
        client = {
            "client_id": "proxy", "redirect_uris": [f"{self.portal}/.authproxy/callback/sso"],
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
            "id_token_signed_response_alg": algorithm, "scope": "openid profile email groups",
            "post_logout_redirect_uris": [f"{self.portal}/.authproxy/logout"],
            "backchannel_logout_uri": f"{self.portal}/.authproxy/backchannel-logout/sso",
            "backchannel_logout_session_required": True,
            "token_endpoint_auth_method": {"basic": "client_secret_basic", "post": "client_secret_post"}.get(how, how),
            **({"client_secret": SECRET} if how in {"basic", "post"} else {}),
            **({"jwks": public_jwks([pem])} if how == "private_key_jwt" else {}),
        }  # fmt: skip
        self.provider = IdentityProvider(folder, [client], lifetime)
        sso = {
            "type": "oidc", "issuer": self.provider.issuer, "client_id": "proxy", "client_authentication": how,
            "scopes": ["openid", "profile", "email", "groups"],
            **({"client_secret": {"env": "OIDC_SECRET"}} if how in {"basic", "post"} else {}),
            **({"private_key": {"file": "client.pem"}} if how == "private_key_jwt" else {}), **more,
        }  # fmt: skip
        config = configuration(
            {"backend": {"servers": [f"http://127.0.0.1:{backend or self.recorder.port}"]}},
            listeners=[{"address": f"127.0.0.1:{self.port}"}],
            portal={"url": self.portal},
            state={"url": "lmdb:state"},
            workers=workers,
        )
        config["authenticators"]["sso"] = sso
        route = {"name": "people", "match": {"paths": ["/**"]}, "upstream": "backend", "authenticate": ["sso"], "allow": [{"groups": ["eng"]}]}  # fmt: skip
        self.file = write_configuration(folder, Issuer(), config, [route])
        self.served = Served(self.file, OIDC_SECRET=SECRET)

    def log_in(self, browser: Browser, name: str = "ann", path: str = "/x?a=1") -> Page:
        """Go to a page, log in at the provider and consent there; the page that comes in the end."""
        page = browser.go(self.portal + path)
        assert page.url.startswith(self.provider.issuer), (page.url, page.text)
        page = browser.send(page, login=name, password="any")
        if page.url.startswith(self.provider.issuer):
            page = browser.send(page)
        return page

    def may(self, browser: Browser) -> int:
        """The status of a page, asked for by a script."""
        return browser.go(f"{self.portal}/x", navigate=False).status

    def stop(self) -> None:
        """All of it."""
        self.served.stop()
        self.provider.stop()
        self.recorder.close()


@contextmanager
def company(folder: Path, **settings: Any) -> Iterator[Company]:
    """The company, while it lasts."""
    found = Company(folder, **settings)
    try:
        yield found
    finally:
        found.stop()


@pytest.mark.parametrize(("how", "algorithm"), [("basic", "RS256"), ("post", "ES256"), ("private_key_jwt", "RS256"), ("none", "ES256")])  # fmt: skip
def test_somebody_logs_in(tmp_path: Path, how: str, algorithm: str) -> None:
    """From the page they wanted to the same page, whichever way we prove to be the client; the backend learns who it is."""
    with company(tmp_path, how=how, algorithm=algorithm) as c:
        browser = Browser()
        page = c.log_in(browser)
        assert (page.status, page.url) == (200, f"{c.portal}/x?a=1"), page.text
        head = c.recorder.seen[-1].head.lower()
        for line in (b"x-forwarded-user: ann\r\n", b"x-forwarded-groups: eng,ops\r\n", b"x-forwarded-email: ann@example.test\r\n"):  # fmt: skip
            assert line in head
        assert COOKIE.lower().encode() not in head
        written = c.served.output() + c.served.errors()
        assert browser.cookies["127.0.0.1", COOKIE] not in written
        assert SECRET not in written


def test_a_session_is_refreshed_once_over_all_workers(tmp_path: Path) -> None:
    """Its tokens live for two seconds; forty requests at once over four workers spend one refresh token each time.

    The provider rotates them and ends the grant where one comes twice: whoever is still in has spent each once.
    """
    with company(tmp_path, lifetime=2, workers=4) as c:
        browser = Browser()
        assert c.log_in(browser).status == 200
        for _ in range(3):
            time.sleep(2.2)
            with ThreadPoolExecutor(20) as pool:
                statuses = list(pool.map(lambda _: c.may(browser), range(40)))
            assert statuses == [200] * 40, c.served.errors()
        spent = wait_until(lambda: c.provider.said().count("refresh_token.consumed") == 3)
        assert spent, c.provider.said()
        assert "already used" not in c.provider.said()


def test_a_logout_here_is_one_there(tmp_path: Path) -> None:
    """Our own first, then the provider's, which asks and sends back to the portal; the way in asks for a password again."""
    with company(tmp_path) as c:
        browser = Browser()
        c.log_in(browser)
        old = browser.cookies["127.0.0.1", COOKIE]
        page = browser.go(f"{c.portal}/.authproxy/logout")
        asked = browser.send(page)
        assert asked.url.startswith(f"{c.provider.issuer}/session/end")
        assert ("127.0.0.1", COOKIE) not in browser.cookies
        done = browser.go(
            f"{c.provider.issuer}/session/end/confirm",
            {**_fields(asked), "logout": "yes"},
        )
        assert done.url.startswith(f"{c.portal}/.authproxy/logout?state=")
        assert "signed out" in done.text
        browser.cookies["127.0.0.1", COOKIE] = old
        assert c.may(browser) == 401
        del browser.cookies["127.0.0.1", COOKIE]
        assert 'name="login"' in browser.go(f"{c.portal}/x").text


def test_a_logout_there_is_one_here(tmp_path: Path) -> None:
    """Back-channel: the provider tells us, and every worker knows; the sessions of others go on."""
    with company(tmp_path, workers=4) as c:
        ann, bob = Browser(), Browser()
        c.log_in(ann)
        c.log_in(bob, "bob")
        assert [c.may(ann), c.may(bob)] == [200, 200]
        page = ann.go(f"{c.provider.issuer}/session/end")
        ann.go(f"{c.provider.issuer}/session/end/confirm", {**_fields(page), "logout": "yes"})
        assert wait_until(lambda: "backchannel.success" in c.provider.said()), c.provider.said()
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: c.may(ann), range(24))) == {401}
        assert c.may(bob) == 200
        assert wait_until(lambda: '"ended 1 sessions"' in c.served.output())


def test_what_a_session_opened_ends_with_it(tmp_path: Path) -> None:
    """WebSockets of somebody whom the provider logs out are closed with 1008 within two seconds, whichever worker holds them."""
    backend = WebSocketBackend()
    try:
        with company(tmp_path, workers=4, backend=backend.port) as c:
            browser = Browser()
            browser.go(f"{c.portal}/ws")
            c.log_in(browser, path="/ws")
            headers = {"Cookie": f"{COOKIE}={browser.cookies['127.0.0.1', COOKIE]}"}
            url = f"ws://127.0.0.1:{c.port}/ws"
            chat = [Subprotocol("chat")]
            with ExitStack() as held:
                sockets = [
                    held.enter_context(
                        connect(
                            url,
                            origin=Origin(c.portal),
                            additional_headers=headers,
                            subprotocols=chat,
                        )
                    )
                    for _ in range(8)
                ]
                for one in sockets:
                    one.send("who")
                    assert one.recv(5) == "ann"
                page = browser.go(f"{c.provider.issuer}/session/end")
                browser.go(f"{page.url}/confirm", {**_fields(page), "logout": "yes"})
                began = time.monotonic()
                for one in sockets:
                    with pytest.raises(ConnectionClosed) as closed:
                        one.recv(5)
                    assert closed.value.rcvd is not None
                    assert closed.value.rcvd.code == 1008
                assert time.monotonic() - began < 2.5
    finally:
        backend.stop()


def test_one_login_serves_several_hosts(tmp_path: Path) -> None:
    """The second host asks nobody for a password, nor the provider: the portal knows the browser, and each host has a cookie of its own."""
    with company(tmp_path) as c:
        policies = c.folder / "policies" / "routes.yaml"
        policies.write_text(policies.read_text().replace("match:", "match:\n    hosts: [localhost, 127.0.0.1]"))  # fmt: skip
        assert wait_until(lambda: "reloaded" in c.served.errors()), c.served.errors()
        browser = Browser()
        c.log_in(browser)
        page = browser.go(f"http://localhost:{c.port}/y")
        assert (page.status, page.url) == (200, f"http://localhost:{c.port}/y")
        ticket = f"http://localhost:{c.port}/.authproxy/ticket?ticket="
        assert any(url.startswith(ticket) for url in browser.way)
        one, other = (browser.cookies[host, COOKIE] for host in ("127.0.0.1", "localhost"))
        assert one != other


def test_sessions_go_on_while_the_provider_is_away(tmp_path: Path) -> None:
    """Also past the end of their tokens, for a while; the login page says who does not answer, until it is back."""
    with company(tmp_path, lifetime=2) as c:
        browser, other = Browser(), Browser()
        c.log_in(browser)
        c.provider.stop()
        time.sleep(2.2)
        assert [c.may(browser) for _ in range(3)] == [200] * 3
        assert "could not be refreshed" in c.served.errors()
        c.served.stop()
        c.served = Served(c.file, name="again", OIDC_SECRET=SECRET)
        page = other.go(f"{c.portal}/x")
        assert (page.status, "sso does not answer" in page.text) == (502, True)
        c.provider.start()
        assert wait_until(lambda: c.log_in(other).status == 200 if _back(c) else False, 15.0)


def _back(c: Company) -> bool:
    return Browser().go(f"{c.portal}/x").url.startswith(c.provider.issuer)


def _fields(page: Page) -> dict[str, str]:
    return Form(page.text).fields
