"""The words of a verdict."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from authproxy.cli.signing import Wanted, mint
from authproxy.cli.token_verdict import GOOD, judge_token, verdict_lines
from authproxy.config.load import load
from authproxy.runtime import Verification, verification
from tests.cli.program import succeed


@pytest.fixture
def decides(tmp_path: Path) -> Verification:
    succeed("init", tmp_path)
    return verification(load(tmp_path / "authproxy.yaml"), os.environ)


def token(folder: Path, now: float, ttl: float = 60) -> str:
    return mint(load(folder / "authproxy.yaml"), "tokens", Wanted("ann", ttl=ttl), now)


def test_within_the_leeway_is_good(tmp_path: Path, decides: Verification) -> None:
    """A token just past its end is good, and the lines say that it is the leeway that keeps it."""
    now = time.time()
    verdict = judge_token(decides, token(tmp_path, now - 70), now)
    assert verdict.code == GOOD
    assert "ago, within the leeway" in verdict_lines(verdict, now)[-1]


def test_past_the_leeway_is_expired(tmp_path: Path, decides: Verification) -> None:
    """Past the leeway the code is token_expired, and both times are told."""
    verdict = judge_token(decides, token(tmp_path, 0), 200)
    assert verdict.code == "token_expired"
    assert "1970-01-01T00:01:00Z, now is 1970-01-01T00:03:20Z, the leeway 30 s" in verdict.reason


def test_another_key(tmp_path: Path, decides: Verification) -> None:
    """A token of another key says which `kid` was looked for."""
    (tmp_path / "certs" / "token-signing.pem").unlink()
    succeed("keys", "generate", "--out", tmp_path / "certs" / "token-signing.pem")
    verdict = judge_token(decides, token(tmp_path, time.time()), time.time())
    assert verdict.reason.startswith(
        "unknown-key: no key of `keys` has its `alg` 'ES256' and `kid` '"
    )


def test_a_long_value_is_cut(tmp_path: Path, decides: Verification) -> None:
    """What a token says is quoted, and never at length."""
    wanted = Wanted("ann", audience="x" * 5000)
    text = mint(load(tmp_path / "authproxy.yaml"), "tokens", wanted, time.time())
    verdict = judge_token(decides, text, time.time())
    assert verdict.reason.startswith("audience: ")
    assert len(verdict.reason) < 300


def test_nobody_takes_anything(decides: Verification) -> None:
    """Without authenticators every token is nobody's."""
    verdict = judge_token(replace(decides, authenticators={}), "eyJhIjoxfQ.eyJpc3MiOiJhIn0.AAAA", 0)
    assert (verdict.code, verdict.authenticator) == ("token_invalid", None)
    assert verdict.reason == "issuer: its `iss` is 'a'; authenticators take none"
