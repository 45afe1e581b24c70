"""The login: who gets in, what a browser is told, and what is refused before a password is even looked at."""

from pathlib import Path

import pytest

from authproxy.model.rate import parse_rate
from authproxy.policy.table import RouteLimit
from authproxy.web.portal import tries as module
from tests.playbook import playbook
from tests.web.portal.browser import (
    COOKIE,
    NAVIGATION,
    PASSWORD,
    SCRIPT,
    Browser,
    Form,
    office,
    users_text,
)
from tests.wire import until


async def test_a_login_leads_back_to_the_page(tmp_path: Path) -> None:
    """With a session whose cookie only this host gets, over TLS; the backend learns who it is and nothing of the cookie."""
    async with office(tmp_path) as p:
        browser = Browser(p)
        asked = await browser.go("/staff/x?a=1")
        assert (asked.status, asked.field("location")) == (
            302,
            "/.authproxy/login?next=/staff/x%3Fa%3D1",
        )
        answer = await browser.log_in(wanted="/staff/x?a=1")
        assert (answer.status, answer.field("location")) == (303, "/staff/x?a=1")
        cookie = next(c for c in answer.all("Set-Cookie") if c.startswith(f"{COOKIE}="))
        assert cookie.endswith("; Path=/; Secure; HttpOnly; SameSite=Lax")
        page = await browser.go("/staff/x")
        assert page.status == 200
        (seen,) = page.seen
        assert (seen.field("x-forwarded-user"), seen.field("x-forwarded-groups")) == ("ann", "eng")
        assert seen.field("cookie") is None
        line = next(one for one in p.log() if one["subject"])
        assert (line["subject"], line["authenticator"]) == ("ann", "staff")
        assert not any(browser.cookies[COOKIE] in str(one) for one in p.log())


async def test_only_who_navigates_is_sent_to_the_login(tmp_path: Path) -> None:
    """Scripts, sockets and forms get a 401 they can read; so do routes that nobody logs in to."""
    async with office(tmp_path) as p:
        browser = Browser(p)
        assert await browser.may() == 401
        assert (await browser.go("/staff/x", "POST")).status == 401
        assert (await browser.go("/guarded/x")).status == 401
        old = await browser.go("/staff/x", headers=[("Accept", "text/html")])
        assert old.status == 302


@pytest.mark.parametrize(
    ("username", "password"),
    [("ann", "wrong"), ("ann", ""), ("eve", PASSWORD), ("", ""), ("ann", PASSWORD + "\0"), ("\U0001f600" * 400, "x" * 4000)],
)  # fmt: skip
async def test_the_wrong_ones_are_told_nothing_more(
    tmp_path: Path, username: str, password: str
) -> None:
    """The same page and status for every reason; the log says that it was a login."""
    async with office(tmp_path) as p:
        browser = Browser(p)
        answer = await browser.log_in(username, password)
        assert answer.status == 401
        assert "is not right" in answer.body.decode()
        assert username not in answer.body.decode() or username in {"", "ann"}
        assert (COOKIE in browser.cookies, await browser.may()) == (False, 401)
        line = p.log()[1]
        assert (line["decision"], line["code"], line["reason"]) == (
            "refuse",
            "token_invalid",
            "login",
        )


async def test_any_spelling_of_a_name_is_that_user(tmp_path: Path) -> None:
    """And the identity has the file's own spelling."""
    async with office(tmp_path) as p:
        browser = Browser(p)
        assert (await browser.log_in("ANN")).status == 303
        assert (await browser.go("/staff/x")).seen[0].field("x-forwarded-user") == "ann"


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"csrf": ""}, 403), ({"csrf": "x" * 43}, 403)],
)  # fmt: skip
async def test_a_form_that_is_not_ours_logs_nobody_in(
    tmp_path: Path, changes: dict[str, str], status: int
) -> None:
    """Login CSRF: without this browser's own token, the right password is not looked at."""
    async with office(tmp_path) as p:
        browser = Browser(p)
        assert (await browser.log_in(**changes)).status == status
        assert COOKIE not in browser.cookies
        other = Form((await Browser(p).go("/.authproxy/login")).body.decode()).fields["csrf"]
        assert (await browser.log_in(csrf=other)).status == 403


async def test_a_form_from_another_site_is_refused(tmp_path: Path) -> None:
    """By Fetch Metadata, by Origin; also one that is too large, or of another kind."""
    async with office(tmp_path) as p:
        browser = Browser(p)
        form = Form((await browser.go("/.authproxy/login")).body.decode())
        fields = form.fields | {"username": "ann", "password": PASSWORD}
        crossed = [("Sec-Fetch-Site", "cross-site")]
        answer = await browser.go(form.action, "POST", headers=crossed, form=fields)
        assert (answer.status, answer.code) == (403, "cross_site")
        kind = "application/x-www-form-urlencoded"
        for headers, body, code in (
            ([("Origin", "https://evil.test"), ("Content-Type", kind)], b"a=b", "cross_site"),
            ([("Origin", "null"), ("Content-Type", kind)], b"a=b", "cross_site"),
            ([("Content-Type", "application/json")], b"{}", "bad_request"),
            ([("Content-Type", kind), ("Content-Encoding", "gzip")], b"a=b", "bad_request"),
            ([("Content-Type", kind)], b"a=" + b"b" * 20_000, "body_too_large"),
            ([("Content-Type", kind)], b"username=ann&username=bob", "bad_request"),
            ([("Content-Type", kind)], b"&".join([b"a=b"] * 40), "bad_request"),
            ([("Content-Type", kind)], b"\xff=b", "bad_request"),
        ):
            found = await p.request("POST", form.action, headers, body)
            assert found.code == code, (headers, body[:20])


async def test_tries_are_bounded_by_address(tmp_path: Path) -> None:
    """Past `failed_authentications` not even the right password is looked at; who is in stays in."""
    async with office(tmp_path, failed_authentications="3/hour") as p:
        inside = Browser(p)
        await inside.log_in()
        found = [(await Browser(p).log_in(password="wrong")).status for _ in range(4)]
        assert found == [401, 401, 401, 429]
        refused = await Browser(p).log_in()
        assert (refused.status, int(refused.field("retry-after") or 0) > 0) == (429, True)
        assert "Too many tries" in refused.body.decode()
        assert await inside.may() == 200


async def test_tries_are_bounded_by_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every spelling of its name, and no other account suffers; also where there is no such user."""
    limits = [RouteLimit("account", parse_rate("2/hour"), "account")]
    monkeypatch.setattr(module, "ACCOUNT_LIMITS", limits)
    async with office(tmp_path, failed_authentications="1000/minute") as p:
        for names in (("ann", "ANN", "Ann"), ("eve", "EVE", "eve")):
            found = [(await Browser(p).log_in(name, "wrong")).status for name in names]
            assert found == [401, 401, 429]
        assert (await Browser(p).log_in("bob")).status == 303


async def test_a_login_is_a_new_session_and_the_end_of_the_old_one(tmp_path: Path) -> None:
    """What a browser came with is neither kept nor used (CWE-384)."""
    async with office(tmp_path) as p:
        browser = Browser(p)
        browser.cookies[COOKIE] = "fixed-by-somebody"
        form = Form((await browser.go("/.authproxy/login")).body.decode())
        await browser.log_in()
        first, fields = (
            browser.cookies[COOKIE],
            form.fields | {"username": "ann", "password": PASSWORD},
        )
        assert first != "fixed-by-somebody"
        assert (await browser.go("/.authproxy/login?next=/staff/y")).field("location") == "/staff/y"
        assert (await browser.go(form.action, "POST", form=fields)).status == 303
        assert browser.cookies[COOKIE] != first
        assert await browser.may() == 200
        browser.cookies[COOKIE] = first
        assert await browser.may() == 401


async def test_a_user_who_is_gone_is_out(tmp_path: Path) -> None:
    """Removed, disabled, or with another password: the session is over; another group counts with the next request."""
    async with office(tmp_path) as p:
        ann, bob = Browser(p), Browser(p)
        await ann.log_in()
        await bob.log_in("bob")
        users = tmp_path / "users.yaml"

        async def becomes(text: str) -> None:
            users.write_text(text)
            before = p.worker._runtime
            p.worker.reload()
            await until(lambda: p.worker._runtime is not before)

        await becomes(users_text(ann=", disabled: true"))
        assert (await ann.may(), await bob.may()) == (401, 200)
        await becomes(users_text(ann=", changed: 2026-01-01T00:00:00Z", bob=", groups: [ops]"))
        assert (await ann.may(), await bob.may()) == (401, 200)
        assert (await bob.go("/staff/x")).seen[0].field("x-forwarded-groups") == "ops"
        await becomes(users_text().replace("bob", "rob"))
        assert await bob.may() == 401


async def test_pages_run_nothing_and_are_not_kept(tmp_path: Path) -> None:
    """A strict policy, no framing, no cache; what is asked for is escaped, and on hosts of ours alone."""
    async with office(tmp_path) as p:
        page = await Browser(p).go("/.authproxy/login?next=/%22%3E%3Cscript%3E")
        policy = page.field("content-security-policy") or ""
        assert policy.startswith("default-src 'none'; style-src 'self'")
        assert "frame-ancestors 'none'" in policy
        assert (page.field("cache-control"), page.field("x-frame-options")) == ("no-store", "DENY")
        assert "<script" not in page.body.decode().lower()
        style = await p.request("GET", "/.authproxy/style.css")
        assert (style.status, style.field("content-type")) == (200, "text/css; charset=utf-8")
        assert (await p.request("DELETE", "/.authproxy/login", NAVIGATION)).status == 405
        assert (await p.request("HEAD", "/.authproxy/login", NAVIGATION)).body == b""
        assert (await p.request("GET", "/.authproxy/nothing", NAVIGATION)).status == 404


async def test_without_logins_there_are_no_pages() -> None:
    """Nothing to log in to, nothing to attack."""
    async with playbook() as p:
        for name in ("login", "logout", "userinfo", "style.css"):
            assert (await p.request("GET", f"/.authproxy/{name}")).status == 404


async def test_no_other_cookie_can_be_taken_for_ours(tmp_path: Path) -> None:
    """What a sibling host sets for all hosts never passes for our `__Host-` cookies, by white space or by being there twice."""
    async with office(tmp_path) as p:
        ann, bob = Browser(p), Browser(p)
        await ann.log_in()
        await bob.log_in("bob")
        mine, theirs = (f"{COOKIE}={one.cookies[COOKIE]}" for one in (ann, bob))
        for tossed in (f"x=1 {theirs}", f"x=1\t{theirs}", f"x=1,{theirs}", f'x="{theirs}'):
            for line in (f"{mine}; {tossed}", f"{tossed}; {mine}"):
                found = await p.request("GET", "/.authproxy/userinfo", [*SCRIPT, ("Cookie", line)])
                assert b'"ann"' in found.body
            alone = await p.request("GET", "/.authproxy/userinfo", [*SCRIPT, ("Cookie", tossed)])
            assert alone.code == "unauthenticated"
        twice = await p.request(
            "GET", "/.authproxy/userinfo", [*SCRIPT, ("Cookie", f"{mine}; {theirs}")]
        )
        assert twice.code == "unauthenticated"
