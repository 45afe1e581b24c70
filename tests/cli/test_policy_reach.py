"""`authproxy policy who` and `policy what`: who can reach a target and what somebody can, told to people and programs."""

import json
from pathlib import Path

import pytest

from tests.cli.program import run, succeed
from tests.cli.test_policy import ISSUER, ROUTES, UPSTREAMS
from tests.end_to_end.served import configuration, write_configuration


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    return write_configuration(tmp_path, ISSUER, configuration(UPSTREAMS), ROUTES)


def test_who_is_told(file: Path) -> None:
    """The route with its place, the entries that let in, and the limits."""
    lines = succeed("policy", "who", "GET", "https://a.test/g/1", "--config", file).splitlines()
    assert lines[0] == "request:  GET a.test /g/1"
    assert lines[1].startswith("route:    eng (")
    assert lines[2:] == [
        "who:      those with a credential of tokens",
        "  who     allow[0]  groups: [eng]",
        "limit:    fair: 5/minute per subject",
    ]


def test_public_and_nobody_are_said(file: Path) -> None:
    """An open route is public; where there is no route nobody gets through, with the code."""
    public = succeed("policy", "who", "GET", "https://a.test/o/1", "--config", file)
    assert "who:      anybody at all (public: no credential is needed)" in public
    nobody = succeed("policy", "who", "POST", "https://a.test/g/1", "--config", file)
    assert "who:      nobody: method_not_allowed" in nobody
    assert run("policy", "who", "GET", "/g/1", "--config", file).exit_code == 2


def test_who_for_programs(file: Path) -> None:
    """JSON tells the same."""
    told = json.loads(succeed("policy", "who", "GET", "https://a.test/w/1", "--config", file, "--format", "json"))  # fmt: skip
    assert (told["route"], told["allow"], told["shadow"]) == ("watched", {"allow[0]": ["groups: [eng]"]}, ["route"])  # fmt: skip


def test_what_is_told(file: Path) -> None:
    """A line for each route: the verdict, methods, targets, and the route."""
    lines = succeed("policy", "what", "--group", "ops", "--config", file).splitlines()
    assert lines == [
        "forbidden        GET */g/**  [eng]",
        "allow            any */o/**  [open]",
        "allow            any */w/**  [watched]  (shadow: a refusal is withheld)",
    ]
    nobody = json.loads(succeed("policy", "what", "--config", file, "--format", "json"))
    assert [one["verdict"] for one in nobody] == ["unauthenticated", "allow", "unauthenticated"]


@pytest.mark.parametrize("words", [("--client", "here"), ("--claim", "tenant=acme")])
def test_wrong_usage_of_what(file: Path, words: tuple[str, str]) -> None:
    """What is no address, and no JSON, is wrong usage."""
    assert run("policy", "what", *words, "--config", file).exit_code == 2
