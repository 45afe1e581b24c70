"""How often somebody may try: an account is one in every spelling, and what failed counts for it and for the address."""

import asyncio
from pathlib import Path

import pytest

from authproxy.model.rate import parse_rate
from authproxy.policy.table import RouteLimit
from authproxy.web.portal import tries
from tests.web.portal.browser import Browser, office


async def test_spellings_are_one_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two wrong tries by different spellings leave none for a third; another account has its own."""
    monkeypatch.setattr(
        tries, "ACCOUNT_LIMITS", [RouteLimit("account", parse_rate("2/hour"), "account")]
    )
    async with office(tmp_path, failed_authentications="1000/minute") as p:
        for name in ("ANN", "\uff41nn"):
            assert (await Browser(p).log_in(name, "wrong")).status == 401
        assert (await Browser(p).log_in("ann")).status == 429
        assert (await Browser(p).log_in("bob")).status == 303


async def test_what_is_under_way_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tries at once get no further than as many in turn: only some are verified at a time, the others are told to wait."""
    monkeypatch.setattr(tries, "UNDER_WAY", {"account": 2, "address": 5})
    async with office(tmp_path, failed_authentications="1000/minute") as p:
        browsers = [Browser(p) for _ in range(6)]
        answers = await asyncio.gather(*(one.log_in("ann", "wrong") for one in browsers))
        statuses = [answer.status for answer in answers]
        assert statuses.count(401) == 2
        assert statuses.count(429) == 4
        assert not tries._under_way
        assert (await Browser(p).log_in("ann")).status == 303
