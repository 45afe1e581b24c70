"""Refusals as they are told: problem+json for programs, a page for people, and never a byte of the request."""

import json
import re
from pathlib import Path

import pytest

from authproxy.model.errors import REFUSALS
from authproxy.web.answer import phrase, status_line
from tests.playbook import GUARDED, playbook, token
from tests.web.portal.browser import NAVIGATION, STAFF, Browser, office
from tests.wire import Answer, request


async def test_a_refusal_is_a_problem() -> None:
    """RFC 9457: type, title, status, code and request_id, not stored, and the same id in the header and in the log."""
    async with playbook() as p:
        answer = await p.request("GET", "/guarded/1?secret=1")
        problem = json.loads(answer.body)
        assert list(problem) == ["type", "title", "status", "code", "request_id"]
        assert (problem["status"], problem["code"]) == (401, "unauthenticated")
        assert problem["title"] == REFUSALS["unauthenticated"][1]
        assert answer.field("content-type") == "application/problem+json"
        assert answer.field("cache-control") == "no-store"
        assert answer.field("x-request-id") == problem["request_id"] == p.log()[0]["request_id"]
        assert re.fullmatch("[0-9a-f]{32}", problem["request_id"])


async def test_a_person_gets_a_page() -> None:
    """A browser that navigates gets HTML that may load nothing; a script's fetch gets the problem."""
    browser = {"Accept": "text/html,*/*", "Sec-Fetch-Mode": "navigate"}
    async with playbook() as p:
        page = await p.request("GET", "/guarded/1", browser)
        assert page.field("content-type") == "text/html; charset=utf-8"
        policy = page.field("content-security-policy") or ""
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert page.field("x-content-type-options") == "nosniff"
        assert b"Credentials are needed" in page.body
        script = await p.request("GET", "/guarded/1", browser | {"Sec-Fetch-Mode": "cors"})
        assert script.code == "unauthenticated"
        old = await p.request("GET", "/guarded/1", {"Accept": "text/html"})
        assert old.body.startswith(b"<!doctype html>")
        assert (await p.request("POST", "/guarded/1", {"Accept": "text/html"})).code != ""


async def test_who_is_logged_in_as_the_wrong_one_can_leave(tmp_path: Path) -> None:
    """A forbidden page leads to who one is; other refusals, and callers without a session, have nothing to leave."""
    closed = STAFF | {"match": {"paths": ["/staff/**"]}, "allow": [{"groups": ["ops"]}]}
    async with office(tmp_path, routes=(closed, GUARDED)) as p:
        browser, way = Browser(p), b'href="/.authproxy/userinfo"'
        await browser.log_in()
        page = await browser.go("/staff/x")
        assert (page.status, way in page.body) == (403, True)
        assert way not in (await browser.go("/nowhere")).body
        program = [*NAVIGATION, ("Authorization", f"Bearer {token('alice')}")]
        page = await Browser(p).go("/staff/x", headers=program)
        assert (page.status, way in page.body) == (403, False)


async def test_nothing_is_quoted() -> None:
    """CVE-2022-29266's class: no answer of ours holds a byte of the target, the headers or the token."""
    marks = {
        "X-Mark": "m4rk",
        "Cookie": "m4rk=1",
        "Referer": "https://m4rk.test/",
        "Authorization": "Bearer m4rk",
    }
    async with playbook(GUARDED) as p:
        for target in ("/guarded/m4rk", "/guarded/m4rk#x", "/<script>m4rk", "/guarded/%m4rk"):
            for accept in ("*/*", "text/html"):
                answer = await p.request("GET", target, marks | {"Accept": accept})
                assert answer.status in {400, 401, 404}
                assert b"m4rk" not in answer.head + answer.body


async def test_a_refused_head_has_no_body() -> None:
    """HEAD is refused by the head that GET would get, without its body, and the connection goes on."""
    async with playbook() as p:
        link = await p.connect()
        for _ in range(2):
            answer = await p.request("HEAD", "/guarded/1", link=link)
            assert (answer.status, answer.body) == (401, b"")
            assert int(answer.field("content-length") or 0) > 0


async def test_method_not_allowed_names_what_is() -> None:
    """RFC 9110 section 15.5.6: a 405 of a route says which methods there are."""
    route = GUARDED | {"match": {"paths": ["/only"], "methods": ["GET", "HEAD"]}}
    async with playbook(route) as p:
        answer = await p.request("DELETE", "/only")
        assert (answer.code, answer.field("allow")) == ("method_not_allowed", "GET, HEAD")


async def test_reserved_paths_are_never_forwarded() -> None:
    """/.authproxy/ is ours, whatever a `/**` says."""
    async with playbook() as p:
        for target in (
            "/.authproxy",
            "/.authproxy/",
            "/.authproxy/login",
            "/%2eauthproxy/x",
            "/.authproxy/healthz",
        ):
            answer = await p.request("GET", target)
            assert (answer.code, answer.seen) == ("no_route", [])


@pytest.mark.parametrize("refused", [True, False])
async def test_a_refusal_keeps_or_closes(refused: bool) -> None:
    """A refusal closes where the client asked for it, and only says so where it does."""
    fields = {"Connection": "close"} if refused else {}
    async with playbook() as p:
        link = await p.connect()
        await link.send(request("GET", "/guarded/1", fields) + request("GET", "/"))
        first: Answer = await link.answer()
        assert first.field("connection") == ("close" if refused else None)
        assert (await link.rest() == b"") if refused else ((await link.answer()).status == 200)


def test_phrases() -> None:
    """Every code has a phrase, also those that only the log knows."""
    assert phrase(404) == "Not Found"
    assert phrase(499)
    assert status_line(200, b"OK") == b"HTTP/1.1 200 OK\r\n"
