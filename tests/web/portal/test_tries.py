"""How often somebody may try: an account is one in every spelling, and what failed counts for it and for the address."""

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
