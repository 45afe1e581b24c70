"""`authproxy token`."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import Result

from tests.cli.program import run, succeed


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """What `init` writes, with claims in other places and a second authenticator."""
    succeed("init", tmp_path)
    file = tmp_path / "authproxy.yaml"
    settings = yaml.safe_load(file.read_text())
    tokens = settings["authenticators"]["tokens"]
    tokens["claims"] = {"groups": "realm.roles", "scopes": "realm.scope"}
    other = {**tokens, "issuer": "https://other.test"}
    del other["issue_with"]
    settings["authenticators"] = {
        "others": other,
        "tokens": tokens,
        "staff": settings["authenticators"]["staff"],
    }
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    return file


def issue(config: Path, *args: str) -> str:
    return succeed("token", "issue", "--subject", "ann", *args, "--config", config)


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(succeed("token", "inspect", token.strip()))["claims"]
    return claims


def verify(config: Path, token: str) -> Result:
    return run("token", "verify", "-", "--config", config, given=token)


def test_prints_the_token_and_nothing_else(config: Path) -> None:
    """Stdout is one line with one token; it has jti, iat and exp."""
    out = issue(config)
    assert out.count("\n") == 1
    assert out.count(".") == 2
    assert {"jti", "iat", "exp", "iss", "aud", "sub"} <= claims_of(out).keys()


def test_claims_stand_where_they_are_configured(config: Path) -> None:
    """Groups and scopes go under their configured names, dotted paths too."""
    claims = claims_of(
        issue(config, "--group", "a", "--group", "b c", "--scope", "r", "--scope", "w")
    )
    assert claims["realm"] == {"roles": ["a", "b c"], "scope": "r w"}


def test_any_claim(config: Path) -> None:
    """--claim takes any JSON, and may replace what would be there."""
    claims = claims_of(issue(config, "--claim", "level=3", "--claim", 'aud=["x", null]'))
    assert (claims["level"], claims["aud"]) == (3, ["x", None])


def test_how_long_and_for_whom(config: Path) -> None:
    """--ttl says when it ends, --audience for whom it is."""
    claims = claims_of(issue(config, "--ttl", "10m", "--audience", "other"))
    assert (claims["exp"] - claims["iat"], claims["aud"]) == (600, "other")


def test_the_first_that_can_issue(config: Path) -> None:
    """Without --authenticator the first one with a signing key is taken."""
    assert claims_of(issue(config))["iss"] == "https://issuer.test"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--claim", "tenant=acme"], """'tenant="acme"'"""),
        (["--claim", "tenant"], "NAME=JSON"),
        (["--claim", "=1"], "NAME=JSON"),
        (["--claim", "n=NaN"], "no JSON"),
        (["--claim", "n=1e400"], "no JSON"),
        (["--claim", 'n="\\ud800"'], "no JSON"),
        (["--claim", "n=" + "[" * 100_000], "no JSON"),
        (["--ttl", "10"], "5m"),
        (["--subject", ""], "--subject"),
        (["--group", "a\nb"], "--group"),
        (["--subject", "\udcff"], "--subject"),
        (["--audience", ""], "--audience"),
        (["--authenticator", "nobody"], "tokens can be made for: tokens"),
        (["--authenticator", "others"], "`others` has no `issue_with`"),
    ],
)
def test_wrong_usage(config: Path, args: list[str], words: str) -> None:
    """What makes no token is wrong usage: exit 2, what is wrong, and no token."""
    result = run("token", "issue", "--subject", "ann", *args, "--config", config)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_nobody_can_issue(tmp_path: Path) -> None:
    """Without any signing key: exit 1, and what to add."""
    succeed("init", tmp_path)
    config = tmp_path / "authproxy.yaml"
    config.write_text(config.read_text().replace("    issue_with: {file: certs/", "    # {"))
    result = run("token", "issue", "--subject", "ann", "--config", config)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "issue_with" in result.stderr


def test_inspect_believes_nothing(config: Path) -> None:
    """A forged token is shown, and said to be unverified in the JSON and beside it."""
    result = run("token", "inspect", issue(config).strip()[:-4] + "AAAA")
    assert json.loads(result.stdout)["verified"] is False
    assert "unverified" in result.stderr


def test_inspect_does_not_steer_the_terminal(config: Path) -> None:
    """Control characters in claims come out as JSON escapes; other alphabets as they are."""
    token = issue(config, "--claim", 'x="\\u009b31m\\u202e\\u007f Jürgen"')
    out = succeed("token", "inspect", "-", given=token)
    assert "\\u009b31m\\u202e\\u007f Jürgen" in out
    assert json.loads(out)["claims"]["x"] == "\x9b31m\u202e\x7f Jürgen"


@pytest.mark.parametrize("token", ["hello", "a.b.c", "ü.ü.ü", "a.b.c.d.e"])
def test_inspect_what_is_no_token(token: str) -> None:
    """What is no token is named as such: exit 1."""
    result = run("token", "inspect", token)
    assert result.exit_code == 1
    assert "no signed JWT" in result.stderr


def test_verify_a_good_token(config: Path) -> None:
    """Exit 0, who it is, and by whom."""
    result = verify(config, issue(config, "--group", "eng"))
    assert result.exit_code == 0
    lines = ["verdict: good", "authenticator: tokens", "subject: ann", "groups: eng"]
    assert result.stdout.splitlines()[:4] == lines


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--ttl", "0s", "--claim", "iat=1", "--claim", "exp=100"], "token_expired", "1970-01-01"),
        (["--audience", "else"], "token_invalid", "'else'"),
        (["--claim", 'iss="https://evil.test"'], "token_invalid", "https://evil.test"),
        (["--claim", "nbf=99999999999"], "token_invalid", "nbf"),
        (["--claim", 'realm={"roles": 3}'], "token_invalid", "claim"),
        (["--claim", 'exp="soon"'], "token_invalid", "'soon'"),
        (["--claim", f'pad="{"x" * 9000}"'], "token_invalid", "token_bytes"),
    ],
)
def test_verify_says_why_not(config: Path, args: list[str], code: str, words: str) -> None:
    """A token that would be refused: exit 1, the code of the refusal, and what is wrong with it."""
    result = verify(config, issue(config, *args))
    assert result.exit_code == 1
    assert result.stdout.startswith(f"verdict: {code}\n")
    assert words in result.stdout


def test_verify_a_forged_token(config: Path) -> None:
    """Another signature: exit 1 for that reason."""
    head, payload, signature = issue(config).strip().split(".")
    forged = ".".join([head, payload, signature[::-1].replace("=", "")[:84] + "AA"])
    result = verify(config, forged)
    assert result.exit_code == 1
    assert "token_invalid" in result.stdout


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_nothing_on_stdin_is_wrong_usage(config: Path, command: str) -> None:
    """Without a token there is nothing to say: exit 2."""
    more = ["--config", str(config)] if command == "verify" else []
    assert run("token", command, *more, given="\n").exit_code == 2


def test_a_terminal_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument on a terminal the command says what it needs, and reads nothing: exit 2."""
    monkeypatch.setattr("authproxy.cli.token._stdin_is_terminal", lambda: True)
    assert run("token", "inspect").exit_code == 2


def test_a_token_from_a_pipe(config: Path) -> None:
    """`issue | verify` works without an argument."""
    out = succeed("token", "verify", "--config", config, given=issue(config))
    assert "subject: ann" in out


def test_alone_it_shows_its_commands() -> None:
    """`authproxy token` is wrong usage."""
    assert run("token").exit_code == 2
