"""What the demo shows, and how it judges what came of it."""

import shlex
from pathlib import Path

import pytest

from authproxy.cli.demo_lines import DemoLine, demo_lines, tried


def lines(folder: str = "/tmp/demo", **environ: str) -> list[DemoLine]:
    authority = Path(folder) / "ca.crt"
    return demo_lines("127.0.0.1:4711", authority, "TOKEN", Path(folder) / "token", environ)


def test_each_is_one_line_of_curl() -> None:
    """Every command is one line that a shell takes, is curl's, and verifies the server's certificate."""
    for line in lines():
        words = shlex.split(line.command)
        assert "\n" not in line.command
        assert words[:3] == ["curl", "--cacert", "/tmp/demo/ca.crt"]
        assert any(word.startswith("https://localhost:4711/") for word in words)


def test_the_token_itself_is_shown_once() -> None:
    """One line holds the token; the others read it from its file or do without."""
    assert sum("Bearer TOKEN" in line.command for line in lines()) == 1


def test_odd_directories_are_quoted() -> None:
    """A directory with a space stays one word."""
    assert "/odd dir/ca.crt" in shlex.split(lines("/odd dir")[1].command)


def test_past_a_web_proxy() -> None:
    """Where the environment names a web proxy, curl is told to go past it; else nothing is added."""
    assert "--noproxy localhost" in lines(HTTPS_PROXY="http://proxy.test")[0].command
    assert "--noproxy" not in lines(HTTPS_PROXY="", http_proxy="x")[0].command


@pytest.mark.parametrize(
    ("output", "misses"), [("a\nb", 0), ("b", 1), ("a\nc", 1), ("c", 2), (" a", 1)]
)
def test_what_an_output_misses(output: str, misses: int) -> None:
    """A pattern that is missing is named, and one that must not be there."""
    line = DemoLine("", "", ("^a",), "c")
    assert len(line.misses(output)) == misses


async def test_runs_the_very_text() -> None:
    """The command goes through a shell, and what it prints on either stream is judged."""
    line = DemoLine("", "echo $((40 + 2)); echo trouble >&2", ("^42$", "^trouble$"))
    assert await tried(line) == ("42\ntrouble\n", [])


async def test_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that does not end is ended, with what it started, and counts as failed."""
    monkeypatch.setattr("authproxy.cli.demo_lines.PATIENCE", 0.2)
    output, missing = await tried(DemoLine("", "sleep 60 & sleep 60", ()))
    assert output == ""
    assert missing == ["no end within 0.2 s"]
