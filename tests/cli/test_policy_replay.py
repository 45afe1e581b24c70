"""`policy replay` and `policy shadow-report` as they are called: which policies, which exit status, which words."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from authproxy.model.errors import ConfigError
from tests.cli.program import run
from tests.end_to_end.credentials import Issuer
from tests.end_to_end.served import configuration, write_configuration

UPSTREAMS = {"app": {"servers": ["http://127.0.0.1:1"]}}
ROUTE: dict[str, Any] = {
    "name": "r",
    "match": {"paths": ["/a/**"]},
    "upstream": "app",
    "authenticate": ["tokens"],
}
LINE: dict[str, Any] = {
    "time": "2027-01-15T08:00:00.250Z", "request_id": "id-1", "client": "192.0.2.1", "method": "GET", "host": "h.test",
    "path": "/a/1", "route": "r", "decision": "allow", "code": None, "reason": None, "shadow": None, "policies": "x",
    "asked": ["tokens"], "reads": ["groups"], "subject": "ann", "authenticator": "tokens", "credentials": {"scheme:bearer": True},
    "groups": ["eng"],
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration; `next` holds policies for eng, `strict` for ops alone."""
    found = write_configuration(
        tmp_path, Issuer(), configuration(UPSTREAMS), [ROUTE | {"allow": "authenticated"}]
    )
    for name, group in (("next", "eng"), ("strict", "ops")):
        (tmp_path / name).mkdir()
        routes = [ROUTE | {"allow": [{"groups": [group]}]}]
        (tmp_path / name / "p.yaml").write_text(json.dumps({"routes": routes}))
    return found


def log(file: Path, *changes: dict[str, Any]) -> Path:
    """A log of lines that differ so."""
    found = file.parent / "decisions.log"
    found.write_text("".join(json.dumps(LINE | change) + "\n" for change in changes))
    return found


def replay(file: Path, logs: Path | str, against: str, *more: str) -> Any:
    """The command."""
    return run(
        "policy", "replay", logs, "--against", file.parent / against, "--config", file, *more
    )


def test_a_change_is_a_line_and_exit_1(file: Path) -> None:
    """With request id, path, the old and the new verdict, who it was, and why; then groups and numbers."""
    result = replay(file, log(file, {}, {"request_id": "id-2", "groups": ["ops"]}), "strict")
    assert result.exit_code == 1
    first, *_, last = result.stdout.splitlines()
    assert (
        first
        == "allow -> forbidden  id-1  GET h.test/a/1  route r, by ann: no entry of allow holds"
    )
    assert "      1  allow -> forbidden, route r: no entry of allow holds" in result.stdout
    assert (
        last
        == "2 lines: 1 would change (1 allow-to-refuse), 1 would not, 0 undecidable, 0 damaged, 0 about no target"
    )
    assert "id-2" not in result.stdout


def test_nothing_changes(file: Path) -> None:
    """Exit 0; a directory, a file and the folder of a configuration are policies."""
    found = log(file, {})
    for against in ("next", "next/p.yaml", "."):
        result = replay(file, found, against)
        assert (result.exit_code, "id-1" in result.stdout) == (0, False), result.output


@pytest.mark.parametrize(
    ("fail_on", "status"),
    [(["allow-to-refuse"], 1), (["refuse-to-allow"], 0), (["any"], 1), (["none"], 0), (["never"], 0), (["other-route", "allow-to-refuse"], 1), (["undecidable"], 1)],
)  # fmt: skip
def test_what_ends_with_exit_1(file: Path, fail_on: list[str], status: int) -> None:
    """Any change, unless it is said which; undecidable ones only where they are asked for."""
    found = log(file, {}, {"reads": []})
    options = [word for one in fail_on for word in ("--fail-on", one)]
    assert replay(file, found, "strict", *options).exit_code == status


def test_undecidable_lines_are_named_and_no_change(file: Path) -> None:
    """What is missing is said; but where nothing could be decided, that is no proof, and exit 1."""
    result = replay(file, log(file, {"reads": []}, {}), "next")
    assert "route r: groups was not recorded" in result.stdout
    assert result.exit_code == 0
    result = replay(file, log(file, {"reads": []}), "next")
    assert result.exit_code == 1
    assert "nothing could be decided" in result.stdout
    for word in ("none", "never"):
        result = replay(file, log(file, {"reads": []}), "next", "--fail-on", word)
        assert result.exit_code == 0


def test_json_tells_the_same(file: Path) -> None:
    """One document: every change, groups, counts, damaged lines."""
    found = log(file, {}, {"reads": []}, {"time": "x"})
    told = json.loads(replay(file, found, "strict", "--format", "json").stdout)
    assert [(one["request_id"], one["old"]["verdict"], one["new"]["verdict"]) for one in told["changes"]] == [
        ("id-1", "allow", "forbidden")
    ]  # fmt: skip
    assert told["changed"] == {"allow-to-refuse": 1}
    assert told["groups"][0]["subjects"] == {"ann": 1}
    assert told["undecidable"][0]["why"] == "groups was not recorded"
    assert told["damaged_lines"] == [{"file": str(found), "line": 3, "what": "`time` is no time"}]
    assert json.loads(replay(file, log(file), "strict", "--format", "json").stdout)["changes"] == []


def test_a_log_is_shown_escaped(file: Path) -> None:
    """What callers chose is no command of a terminal, and no line of its own."""
    forged = {
        "path": "/a/x\u009b2J",
        "subject": "a\u202eb\nallow -> allow  forged",
        "request_id": "i\r\nd",
    }
    found = log(file, forged, forged | {"shadow": "forbidden", "reason": "x\nallow"})
    for result in (replay(file, found, "strict"), run("policy", "shadow-report", found)):
        assert not {"\u009b", "\u202e", "\r"} & set(result.stdout)
        assert not any(line.startswith("allow -> allow") for line in result.stdout.splitlines())


def test_standard_input_compressed(file: Path) -> None:
    """`-` is standard input; the program itself, as a pipeline calls it."""
    found = subprocess.run(
        [sys.executable, "-m", "authproxy.cli.main", "policy", "replay", "-", "--against", "strict", "--config", file],
        input=gzip.compress(log(file, {}).read_bytes()), capture_output=True, cwd=file.parent, check=False,
    )  # fmt: skip
    assert found.returncode == 1
    assert found.stdout.startswith(b"allow -> forbidden  id-1")
    assert found.stderr == b""


def test_what_cannot_be_used_is_said(file: Path) -> None:
    """No such policies (wrong usage, by the option: no line of the configuration has a part in it), broken ones, no such log."""
    gone = replay(file, log(file, {}), "nowhere")
    assert (gone.exit_code, "--against" in gone.stderr) == (2, True)
    (file.parent / "next" / "p.yaml").write_text("routes: [{}]\n")
    assert isinstance(replay(file, log(file, {}), "next").exception, ConfigError)
    assert isinstance(replay(file, file.parent / "gone.log", "strict").exception, OSError)


def test_the_shadow_report(file: Path) -> None:
    """Who would have been refused, since when; text and JSON."""
    shadow = {"shadow": "forbidden", "reason": "deny[0]"}
    found = log(file, {}, shadow, shadow | {"subject": "bob", "time": "2027-01-15T09:00:00.000Z"})
    assert run("policy", "shadow-report", found).stdout.splitlines() == [
        "2 of 3 requests of route r: forbidden, deny[0]",
        "           since 2027-01-15T08:00:00.250Z, last 2027-01-15T09:00:00.000Z",
        "           by ann 1, bob 1",
        "           such as GET h.test/a/1 (id-1)",
        "           such as GET h.test/a/1 (id-1)",
        "",
        "2 of 3 requests from 2027-01-15T08:00:00.250Z to 2027-01-15T09:00:00.000Z would have been refused without shadow mode",
    ]
    told = json.loads(run("policy", "shadow-report", found, "--format", "json").stdout)
    assert (told["requests"], told["withheld"], told["groups"][0]["subjects"]) == (
        3,
        2,
        {"ann": 1, "bob": 1},
    )


def test_a_shadow_report_of_nothing(file: Path) -> None:
    """An empty log is reported so; one in which nothing can be read is a failure."""
    assert "0 of 0 requests" in run("policy", "shadow-report", log(file)).stdout
    (file.parent / "decisions.log").write_text("127.0.0.1 - - combined\n")
    result = run("policy", "shadow-report", file.parent / "decisions.log")
    assert result.exit_code == 1
    assert "decisions.log:1: no JSON" in result.stdout
