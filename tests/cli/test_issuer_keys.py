"""Keys of issuers elsewhere, in commands: fetched for tokens of theirs, said so, and no verdict where they cannot be had."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from tests.cli.program import run
from tests.issuer import JWKS, CountingIssuer, issuing, says
from tests.playbook import GUARDED, OPEN, authenticator, configuration, token, write_files


@pytest.fixture
async def issuer() -> AsyncIterator[CountingIssuer]:
    async with issuing() as made:
        yield made


@pytest.fixture
def file(issuer: CountingIssuer, tmp_path: Path) -> Path:
    """A configuration whose route takes the issuer's tokens, and those of keys in a file."""
    both = {"tokens": authenticator(), "sso": issuer.authenticator(discovery=True)}
    route = GUARDED | {"authenticate": ["tokens", "sso"]}
    config = configuration("http://127.0.0.1:9", authenticators=both)
    return write_files(tmp_path, config, [OPEN, route]).file


async def command(*arguments: str | Path, given: str | None = None) -> Result:
    """A command, while the issuer goes on in this loop."""
    return await asyncio.to_thread(run, *arguments, given=given)


async def verify(file: Path, credential: str) -> Result:
    """`token verify`."""
    return await command("token", "verify", "-", "--config", file, given=credential)


async def explain(file: Path, path: str, *more: str) -> Result:
    """`policy explain` of a GET."""
    return await command("policy", "explain", "GET", f"https://a.test{path}", "--config", file, *more)  # fmt: skip


async def test_a_verdict_has_the_keys_fetched(issuer: CountingIssuer, file: Path) -> None:
    """Once for a token of theirs, said on stderr and nowhere else; the verdict is the server's."""
    good = await verify(file, issuer.token())
    assert (good.exit_code, issuer.fetches) == (0, 1)
    assert good.stdout.startswith("verdict: good\nauthenticator: sso\n")
    assert "fetching the keys of `sso` from http://127.0.0.1:" in good.stderr
    forged = await verify(file, CountingIssuer(issuer.url).token())
    assert (forged.exit_code, issuer.fetches) == (1, 2)
    assert "token_invalid" in forged.stdout
    told = await explain(file, "/guarded/1", "--token", issuer.token())
    assert told.stdout.endswith("verdict: allow\n")
    assert issuer.fetches == 3


async def test_nobody_is_asked_in_vain(issuer: CountingIssuer, file: Path) -> None:
    """Not for another's token, not where the route asks for none, not for a described identity, and not by `check`."""
    assert (await verify(file, token())).exit_code == 0
    assert (await verify(file, "junk")).exit_code == 1
    assert (await explain(file, "/open", "--token", issuer.token())).exit_code == 0
    assert (await explain(file, "/guarded/1", "--token", token())).exit_code == 0
    assert (await explain(file, "/guarded/1", "--subject", "ann")).exit_code == 0
    assert (await explain(file, "/guarded/1", "--header", "Authorization: Bearer a", "--header", "Authorization: b")).exit_code == 0  # fmt: skip
    assert (await command("check", "--config", file)).exit_code == 0
    assert issuer.asked == {}


@pytest.mark.parametrize("answer", [says(b"", 500), says(b"junk")])
async def test_keys_that_cannot_be_had(issuer: CountingIssuer, file: Path, answer: Any) -> None:
    """It says why on stderr, the verdict is that nobody can tell, and that is no `good`."""
    issuer.answers[JWKS] = answer
    refused = await verify(file, issuer.token())
    assert refused.exit_code == 1
    assert "cannot fetch the keys of `sso`" in refused.stderr
    assert refused.stdout.startswith("verdict: state_unavailable\nauthenticator: sso\n")
    assert "no-keys: the keys of its issuer cannot be had" in refused.stdout
    told = await explain(file, "/guarded/1", "--token", issuer.token())
    assert told.stdout.endswith("verdict: state_unavailable\n")
