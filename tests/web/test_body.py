"""A replaced body: what aiohttp then gives, and that the connection serves on."""

import pytest

from authproxy.web import relay
from authproxy.web.body import replace_body
from authproxy.web.compat import Request
from authproxy.web.portal.forms import read_body
from tests.playbook import playbook


async def test_a_replaced_body_is_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """By everybody who asks the request for it, once; the next request on the connection has its own."""
    seen: list[bool] = []
    upload = relay._upload

    async def replacing(request: Request, *rest: object) -> None:
        assert await read_body(request, 100) == b"hello"
        if not seen:
            replace_body(request, b"other")
            assert (request.content.is_eof(), request.content.at_eof()) == (True, False)
        seen.append(request.can_read_body)
        await upload(request, *rest)  # type: ignore[arg-type]  # what relay gives is passed on

    monkeypatch.setattr(relay, "_upload", replacing)
    async with playbook() as p:
        link = await p.connect()
        answer = await p.request("POST", "/a", (), b"hello", link=link)
        assert (answer.status, answer.seen[0].body, seen) == (200, b"other", [True])
        monkeypatch.setattr(relay, "_upload", upload)
        assert (await p.request("POST", "/b", (), b"next", link=link)).seen[0].body == b"next"
