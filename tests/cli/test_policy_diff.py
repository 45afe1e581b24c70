"""`authproxy policy diff`: what changes, told to people and programs, with an exit code for CI."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import run, succeed
from tests.cli.test_policy import ISSUER, ROUTES, UPSTREAMS
from tests.end_to_end.served import configuration, write_configuration

OLD = "routes: [{name: r, match: {paths: [/a/**]}, upstream: app, authenticate: [tokens], allow: [{groups: [eng]}]}]\n"
NEW = OLD.replace("[eng]", "[eng, ops]")


def folders(folder: Path, old: str = OLD, new: str = NEW) -> tuple[Path, Path]:
    """Two directories of policies."""
    for name, text in (("old", old), ("new", new)):
        (folder / name).mkdir()
        (folder / name / "routes.yaml").write_text(text)
    return folder / "old", folder / "new"


def test_a_difference_is_told(tmp_path: Path) -> None:
    """Kind, requests, who, both verdicts with the place of the route, and a command that shows it; exit 1."""
    old, new = folders(tmp_path)
    result = run("policy", "diff", old, new)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "opens: was refused, is allowed",
        "  requests: any */a/**",
        "  who:      by tokens, group ops",
        "  and not:  group eng",
        f"  was:      forbidden by r ({old}/routes.yaml:1)",
        f"  now:      allow by r ({new}/routes.yaml:1)",
        "  witness:  authproxy policy explain GET https://x/a --subject someone --authenticator tokens --group ops",
        "",
        "1 difference: 1 opens",
    ]


def test_no_difference_is_success(tmp_path: Path) -> None:
    """Policies that mean the same: exit 0."""
    old, new = folders(tmp_path, new=OLD.replace("[{groups: [eng]}]", "[{groups: [eng]}, {groups: [eng]}]"))  # fmt: skip
    assert succeed("policy", "diff", old, new) == "no differences\n"


@pytest.mark.parametrize(
    ("fail_on", "code"), [("opens", 1), ("closes", 0), ("none", 0), ("never", 0), ("any", 1)]
)
def test_fail_on(tmp_path: Path, fail_on: str, code: int) -> None:
    """Only differences of the kinds that were named make it fail; all are told."""
    result = run("policy", "diff", *folders(tmp_path), "--fail-on", fail_on)
    assert (result.exit_code, "1 difference: 1 opens" in result.stdout) == (code, True)


def test_a_new_name_is_told_and_no_failure(tmp_path: Path) -> None:
    """A route of another name is told; it fails only where that was asked for."""
    old, new = folders(tmp_path, new=OLD.replace("name: r", "name: s"))
    assert "1 difference: 1 renamed" in succeed("policy", "diff", old, new)
    assert run("policy", "diff", old, new, "--fail-on", "renamed").exit_code == 1


def test_a_witness_is_what_explain_says(tmp_path: Path) -> None:
    """Over two whole configurations, `explain` confirms both verdicts of every witness."""
    changed: list[dict[str, Any]] = [
        {**ROUTES[0], "allow": [{"claims": {"tenant": "acme"}, "networks": ["10.0.0.0/8"]}]},
        {**ROUTES[1], "match": {"paths": ["/o/*"]}},
    ]
    files = []
    for name, routes in (("old", ROUTES), ("new", changed)):
        (tmp_path / name).mkdir()
        files.append(write_configuration(tmp_path / name, ISSUER, configuration(UPSTREAMS), routes))
    told = json.loads(run("policy", "diff", *files, "--format", "json").stdout)
    assert {d["kind"] for d in told["differences"]} >= {"opens", "closes", "refusal"}
    for difference in told["differences"]:
        assert difference["confirmed"]
        for file, side in zip(files, ("was", "now"), strict=True):
            words = difference["witness"]["explain"]
            explained = json.loads(succeed("policy", "explain", *words, "--config", file, "--format", "json"))  # fmt: skip
            wanted = difference[side]
            assert (explained["verdict"], explained["route"]) == (
                wanted["verdict"],
                wanted["route"],
            )


def test_what_git_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """REVISION:DIRECTORY is what git has there; its files are named so."""
    old, new = folders(tmp_path)
    monkeypatch.chdir(tmp_path)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.test"]
    for words in (["init", "-q"], ["add", "old"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *words], check=True)
    told = json.loads(run("policy", "diff", "HEAD:old", new, "--format", "json").stdout)
    assert told["differences"][0]["was"]["place"] == "HEAD:old/routes.yaml:1"
    gone = run("policy", "diff", "HEAD:nowhere", new)
    assert (gone.exit_code, "from the top of the" in gone.stderr) == (2, True)
    monkeypatch.chdir(old)
    for named in ("HEAD:old", "HEAD:./", "HEAD:../old"):
        assert run("policy", "diff", named, old).stdout == "no differences\n"
    assert run("policy", "diff", "--", "-x:old", old).exit_code == 2
    # A disk that is full: whatever git still has to say, it is said and nobody waits.
    broken = tmp_path / "bin" / "tar"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho 'no space left' >&2; exit 2\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(broken.parent), prepend=":")
    full = run("policy", "diff", "HEAD:old", old)
    assert (full.exit_code, "no space left" in full.stderr) == (2, True)


def test_the_page_is_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first example of the page, word for word: its policies in git, then with the group that it adds."""
    page = (Path(__file__).parents[2] / "docs" / "policy-diff.md").read_text()
    policies = page.split('orders.yaml"\n')[1].split("```")[0]
    told = page.split("HEAD~1:policies policies\n")[1].split("```")[0]
    (tmp_path / "policies").mkdir()
    file = tmp_path / "policies" / "orders.yaml"
    monkeypatch.chdir(tmp_path)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.test"]
    subprocess.run([*git, "init", "-q"], check=True)
    for text in (policies, policies.replace("eng, ops", "eng, ops, qa")):
        file.write_text(text)
        subprocess.run([*git, "add", "policies"], check=True)
        subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    result = run("policy", "diff", "HEAD~1:policies", "policies")
    assert (result.exit_code, result.stdout) == (1, told)


def test_policies_with_errors_are_not_compared(tmp_path: Path) -> None:
    """Errors are raised for `main` to print, and end with 78; so does a directory that is not there."""
    old, new = folders(tmp_path, new="routes: [{name: r}]\n")
    assert "ConfigError" in repr(run("policy", "diff", old, new).exception)
    assert "ConfigError" in repr(run("policy", "diff", old, tmp_path / "none").exception)
