"""Who is removed from the users file is out, with all that is open by their sessions."""

import asyncio
from pathlib import Path

from tests.web.portal.browser import COOKIE, STAFF, Browser, office, users_text
from tests.wire import Link, Message, request, until

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


async def events(_request: Message, link: Link) -> None:
    """An event stream without an end."""
    await link.send(EVENTS + b"data: 1\n\n")
    await asyncio.sleep(30)


async def test_streams_end_with_the_user(tmp_path: Path) -> None:
    """Removed with the next reading of the file: the stream is cut within two seconds; another user's goes on."""
    async with office(tmp_path, routes=(STAFF,), play=events) as p:
        links = {}
        for name in ("ann", "bob"):
            browser = Browser(p)
            await browser.log_in(name)
            links[name] = await p.connect()
            cookie = ("Cookie", f"{COOKIE}={browser.cookies[COOKIE]}")
            await links[name].send(request("GET", "/staff/x", [cookie]))
            assert b"text/event-stream" in await links[name].head()
        (tmp_path / "users.yaml").write_text(users_text().replace("  ann:", "  other:"))
        p.worker.reload()
        async with asyncio.timeout(4):
            await links["ann"].rest()
        assert not links["bob"].reader.at_eof()
        await until(lambda: any(one["code"] == "token_revoked" for one in p.log()))
