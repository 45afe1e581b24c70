"""Two machines on one Redis: what is used at one is used at the other."""

from pathlib import Path
from typing import Any

from tests.redis_server import emptied
from tests.web.portal.browser import COOKIE, Browser, office, users_text
from tests.web.portal.test_second_factor import TOTP, answered, code


async def test_a_code_and_a_session_are_one_over_machines(tmp_path: Path) -> None:
    """A one-time code that let somebody in here lets nobody in there; the session is known there, until it ends here."""
    state: dict[str, Any] = {"url": emptied().url, "timeout": "5s"}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "users.yaml").write_text(users_text(ann=TOTP))
    async with (
        office(tmp_path / "one", state=state) as one,
        office(tmp_path / "two", state=state) as two,
    ):
        ann, thief = Browser(one), Browser(two)
        shown = code()
        page = await ann.log_in()
        assert (await answered(ann, page, shown)).status == 303
        stolen = await answered(thief, await thief.log_in(), shown)
        assert (stolen.status, COOKIE in thief.cookies) == (401, False)
        there = Browser(two)
        there.cookies = dict(ann.cookies)
        assert await there.may() == 200
        session = next(iter(await one.runtime.sessions.every(0.0)))
        await one.runtime.sessions.end(session, session.created)
        assert await there.may() == 401
