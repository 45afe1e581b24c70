"""The words of a verdict."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

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


def with_settings(folder: Path, **changes: Any) -> Verification:
    """The configuration, with other settings of its authenticator or with more authenticators."""
    file = folder / "authproxy.yaml"
    config = yaml.safe_load(file.read_text())
    config["authenticators"]["tokens"] |= changes.pop("tokens", {})
    config["authenticators"] |= changes
    file.write_text(yaml.safe_dump(config))
    return verification(load(file), os.environ)


def bound(folder: Path, **cnf: str) -> str:
    wanted = Wanted("ann", ttl=60, claims={"cnf": cnf})
    return mint(load(folder / "authproxy.yaml"), "tokens", wanted, time.time())


def test_what_a_token_is_bound_to(tmp_path: Path, decides: Verification) -> None:
    """Without the option it is refused, and told why; with it the verdict says what each request needs."""
    now, text = time.time(), bound(tmp_path, jkt="k" * 43)
    verdict = judge_token(decides, text, now)
    assert (verdict.code, verdict.reason[:14]) == ("token_invalid", "bound-to-key: ")
    able = with_settings(tmp_path, tokens={"dpop": "required"})
    lines = verdict_lines(judge_token(able, text, now), now)
    assert lines[-1] == f"bound to: the key {'k' * 43}: each request needs a DPoP proof by it"
    plain = judge_token(able, token(tmp_path, now), now)
    assert plain.reason.startswith("not-bound-to-key: ")
    assert judge_token(able, bound(tmp_path, kid="k"), now).reason.startswith("cnf: ")


def test_an_issuer_that_is_away(tmp_path: Path, decides: Verification) -> None:
    """`token verify` asks as the server does; no answer is told as such, and other tokens are not asked about."""
    (tmp_path / "secret").write_text("s")
    asks = {
        "type": "introspection",
        "url": "http://127.0.0.1:1/",
        "client_id": "c",
        "client_secret": {"file": "secret"},
    }
    both, now = with_settings(tmp_path, opaque=asks), time.time()
    verdict = judge_token(both, "opaque", now)
    assert (verdict.code, verdict.authenticator) == ("state_unavailable", "opaque")
    assert verdict.reason == "introspection: the issuer gave no answer that can be used"
    assert judge_token(both, token(tmp_path, now), now).authenticator == "tokens"
    assert judge_token(decides, "opaque", now).authenticator is None


def test_nobody_takes_anything(decides: Verification) -> None:
    """Without authenticators every token is nobody's."""
    verdict = judge_token(replace(decides, authenticators={}), "eyJhIjoxfQ.eyJpc3MiOiJhIn0.AAAA", 0)
    assert (verdict.code, verdict.authenticator) == ("token_invalid", None)
    assert verdict.reason == "issuer: its `iss` is 'a'; authenticators take none"
