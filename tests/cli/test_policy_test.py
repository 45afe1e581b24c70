"""`authproxy policy test`: which tests are run, what is said of those that fail, what is not covered, and the exit code."""

import json
from pathlib import Path
from typing import Any

import pytest

from authproxy.model.errors import ConfigError
from tests.cli.program import run, succeed
from tests.end_to_end.credentials import Issuer
from tests.end_to_end.served import configuration, write_configuration

UPSTREAMS = {"app": {"servers": ["http://127.0.0.1:1"]}}
ROUTES: list[dict[str, Any]] = [
    {"name": "eng", "match": {"paths": ["/g/**"], "methods": ["GET"]}, "upstream": "app", "authenticate": ["tokens"], "allow": [{"groups": ["eng"]}]},
    {"name": "open", "match": {"paths": ["/o/**"]}, "upstream": "app", "authenticate": "none"},
]  # fmt: skip
ENG = {"subject": "a", "groups": ["eng"], "authenticator": "tokens"}
GOOD: list[dict[str, Any]] = [
    {"request": "GET https://app.test/g/1", "identity": ENG, "expect": "allow", "route": "eng"},
    {"request": "GET https://app.test/g/1", "identity": {"subject": "a"}, "expect": "forbidden"},
    {"request": "GET https://app.test/g/1", "expect": "unauthenticated"},
    {"request": "POST https://app.test/g/1", "expect": "method_not_allowed"},
    {"request": "GET https://app.test/none", "expect": "no_route"},
    {"request": "GET https://app.test/o/1", "expect": "allow", "route": "open"},
]
BAD: list[dict[str, Any]] = [
    {"request": "GET https://app.test/g/2", "identity": {"subject": "a"}, "expect": "allow"},
    {"request": "GET https://app.test/o/2", "expect": "forbidden"},
]
BESIDE = "tests:\n  - {name: beside, request: GET https://app.test/o/9, expect: allow}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of its own: files are named from it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTHPROXY_CONFIG", raising=False)
    return tmp_path


def write(folder: Path, *tests: dict[str, Any], **more: Any) -> None:
    """The routes with these tests, in `policies/routes.yaml`."""
    write_configuration(folder, Issuer(), configuration(UPSTREAMS, **more), ROUTES, tests)


def line_of(folder: Path, index: int) -> int:
    """The line of a test in the policy file."""
    lines = (folder / "policies" / "routes.yaml").read_text().splitlines()
    return [n for n, text in enumerate(lines, 1) if text.startswith("- request")][index]


def test_tests_that_hold_are_counted(folder: Path) -> None:
    """All hold: exit 0 and their number, a mark each; with `-q` the number alone, with `-v` a line each."""
    write(folder, *GOOD)
    assert succeed("policy", "test") == "policies/routes.yaml ......\n6 passed, 0 failed\n"
    assert succeed("policy", "test", "-q") == "6 passed, 0 failed\n"
    told = succeed("policy", "test", "-v").splitlines()
    assert len(told) == 7
    assert (
        told[0]
        == f"policies/routes.yaml:{line_of(folder, 0)}:3: PASSED GET https://app.test/g/1 by a"
    )


@pytest.mark.parametrize(
    "wrong",
    [*BAD, {"request": "GET https://app.test/o/1", "expect": "allow", "route": "eng"}],
    ids=["verdict", "open", "route"],
)
def test_a_test_that_fails_is_named(folder: Path, wrong: dict[str, Any]) -> None:
    """One fails: exit 1, its file and line, and no other's; expected and found beside each other."""
    write(folder, *GOOD, wrong)
    result = run("policy", "test")
    named = [line for line in result.stdout.splitlines() if "FAILED" in line]
    assert result.exit_code == 1
    assert [line.split(":")[:2] for line in named] == [
        ["policies/routes.yaml", str(line_of(folder, -1))]
    ]
    assert "\n    - " in result.stdout
    assert "\n    + " in result.stdout
    assert result.stdout.endswith("6 passed, 1 failed\n")


def test_why_is_told_by_the_conditions(folder: Path) -> None:
    """Which were looked at, and what they came to."""
    write(folder, BAD[0])
    told = run("policy", "test").stdout
    assert "      allow[0] groups: [eng]: does not hold\n" in told
    assert "- expect: allow\n    + expect: forbidden (no entry of allow holds)\n" in told


def test_no_tests_are_said(folder: Path) -> None:
    """Without tests it says that there are none, and how to have some."""
    write(folder)
    assert "no tests" in succeed("policy", "test")


def test_tests_are_selected_as_in_pytest(folder: Path) -> None:
    """By words, by file, by line; what is left out is counted, and nothing at all is no success."""
    write(folder, *GOOD)
    assert "1 passed, 0 failed, 5 deselected" in succeed("policy", "test", "-k", "POST")
    assert "2 passed, 0 failed, 4 deselected" in succeed("policy", "test", "-k", "g/1 and not (post or by)" , "-k", "open or eng")  # fmt: skip
    at = f"policies/routes.yaml:{line_of(folder, 2)}"
    assert "1 passed, 0 failed, 5 deselected" in succeed("policy", "test", at)
    assert "6 passed" in succeed("policy", "test", "policies")
    nothing = run("policy", "test", "-k", "nowhere")
    assert (nothing.exit_code, nothing.stdout) == (1, "no test was selected\n")
    assert run("policy", "test", "-k", "a and").exit_code == 2


def test_it_stops_when_it_is_told_to(folder: Path) -> None:
    """At the first failure, or after some."""
    write(folder, *BAD, *BAD, *GOOD)
    assert "0 passed, 1 failed" in run("policy", "test", "-x").stdout
    assert "0 passed, 3 failed" in run("policy", "test", "--maxfail", "3").stdout
    assert "6 passed, 4 failed" in run("policy", "test").stdout


def test_tests_can_be_named_without_being_run(folder: Path) -> None:
    """Place and title of each, whatever would come of it."""
    write(folder, *BAD)
    told = succeed("policy", "test", "--collect-only").splitlines()
    assert told[1] == f"policies/routes.yaml:{line_of(folder, 1)}:3: GET https://app.test/o/2"


def test_files_beside_the_policies_are_run(folder: Path) -> None:
    """Those that the configuration names with all others; those of the command line alone."""
    (folder / "checks").mkdir()
    (folder / "checks" / "a.yaml").write_text(BESIDE)
    write(folder, *GOOD, policy_tests=["checks"])
    assert "7 passed" in succeed("policy", "test")
    assert "1 passed, 0 failed, 6 deselected" in succeed("policy", "test", "checks/a.yaml:2")
    (folder / "more.yaml").write_text(BESIDE.replace("allow", "forbidden"))
    result = run("policy", "test", "more.yaml")
    assert (result.exit_code, "more.yaml:2:5: FAILED beside: " in result.stdout) == (1, True)
    for wrong in ("gone.yaml", "authproxy.yaml"):
        assert isinstance(run("policy", "test", wrong).exception, ConfigError)


def test_coverage_is_told_and_held_to(folder: Path) -> None:
    """What was not exercised with its place; below the least it is a failure, though every test passes."""
    write(folder, *GOOD[1:])
    told = succeed("policy", "test", "--coverage")
    assert "coverage: 66.6% (2 of 3)" in told
    assert "policies/routes.yaml:12:5: the route `eng`: allow[0] never decided\n" in told
    assert run("policy", "test", "--min-coverage", "66").exit_code == 0
    short = run("policy", "test", "--min-coverage", "100")
    assert (short.exit_code, short.stderr) == (1, "coverage 66.6% is below 100%\n")
    write(folder, *GOOD)
    assert "coverage: 100% (3 of 3)" in succeed("policy", "test", "--min-coverage", "100")
    assert run("policy", "test", "--min-coverage", "101").exit_code == 2


@pytest.mark.parametrize("form", ["json", "junit", "github"])
def test_programs_get_a_form_of_their_own(folder: Path, form: str) -> None:
    """On stdout nothing else; the numbers are told on stderr."""
    write(folder, *GOOD, *BAD)
    result = run("policy", "test", "--format", form, "--coverage")
    assert (result.exit_code, result.stderr) == (1, "6 passed, 2 failed\n")
    assert result.stdout.startswith({"json": "{\n", "junit": "<?xml ", "github": "::error "}[form])
    if form == "json":
        found = json.loads(result.stdout)
        assert (found["passed"], found["failed"], len(found["tests"])) == (6, 2, 8)
        assert found["coverage"]["percent"] == 100


def test_no_key_is_needed(folder: Path) -> None:
    """Where the policies are tested nobody has keys or secrets."""
    write(folder, *GOOD)
    (folder / "jwks.json").unlink()
    (folder / "signing.pem").unlink()
    assert "6 passed" in succeed("policy", "test")
