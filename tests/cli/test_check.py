"""`authproxy check`: everything at once, in every format, and nothing that an operator can write breaks it."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from authproxy.cli.check import examine
from tests.cli.program import run
from tests.end_to_end.credentials import Issuer
from tests.end_to_end.served import configuration, write_configuration

ROUTE = {"name": "app", "match": {"paths": ["/**"]}, "upstream": "app", "authenticate": ["tokens"], "allow": "authenticated"}  # fmt: skip
ISSUER = Issuer()


def write(folder: Path, *routes: dict[str, Any], **more: Any) -> Path:
    """A configuration of one upstream with these routes (one good route, where none is given)."""
    config = {**configuration({"app": {"servers": ["http://127.0.0.1:1"]}}), **more}
    return write_configuration(folder, ISSUER, config, routes or (ROUTE,))


def codes(file: Path) -> list[tuple[str, str]]:
    """Severity and code of all problems."""
    return [(p.severity, p.code) for p in examine(str(file))]


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """A configuration with an error in each of its files, and two warnings."""
    routes = [
        {**ROUTE, "upstream": "nowhere", "allows": "authenticated"},
        {
            "name": "open",
            "match": {"paths": ["/o%, p:"]},
            "upstream": "app",
            "authenticate": "none",
        },
    ]
    return write(tmp_path, *routes, identity={"profil": "remote"}, admin={"address": 5})


def test_what_is_right_is_silent(tmp_path: Path) -> None:
    """A configuration in order: nothing on stdout, exit 0, also with --strict; with --format json an empty list."""
    file = write(tmp_path)
    result = run("check", "--config", file, "--strict")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no problems found\n")
    assert json.loads(run("check", "--config", file, "--format", "json").stdout) == []


def test_all_problems_come_at_once(wrong: Path) -> None:
    """Errors of the configuration and of the policies stand in one list, each with file, line, column, code and remedy."""
    result = run("check", "--config", wrong)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    for code in ("unknown-key", "wrong-type", "unknown-upstream"):
        assert any(f": error: {code}: " in line for line in lines), (code, lines)
    assert {Path(line.partition(":")[0]).name for line in lines} == {
        "authproxy.yaml",
        "routes.yaml",
    }
    assert all(" — " in line for line in lines)
    assert len(lines) >= 5


def test_every_format_says_the_same(wrong: Path) -> None:
    """text, json, github and sarif name the same problems at the same places."""
    text = run("check", "--config", wrong).stdout.splitlines()
    as_json = json.loads(run("check", "--config", wrong, "--format", "json").stdout)
    github = run("check", "--config", wrong, "--format", "github").stdout.splitlines()
    sarif = json.loads(run("check", "--config", wrong, "--format", "sarif").stdout)
    assert [
        f"{p['file']}:{p['line']}:{p['column']}: {p['severity']}: {p['code']}: {p['text']} — {p['remedy']}"
        for p in as_json
    ] == text
    assert len(github) == len(text)
    for line, problem in zip(github, as_json, strict=True):
        assert line.startswith(f"::{problem['severity']} file=")
        assert f",line={problem['line']},col={problem['column']},title={problem['code']}::" in line
    results = sarif["runs"][0]["results"]
    assert sarif["version"] == "2.1.0"
    assert [r["ruleId"] for r in results] == [p["code"] for p in as_json]
    regions = [r["locations"][0]["physicalLocation"]["region"] for r in results]
    assert [(r["startLine"], r["startColumn"]) for r in regions] == [
        (p["line"], p["column"]) for p in as_json
    ]
    assert {r["id"] for r in sarif["runs"][0]["tool"]["driver"]["rules"]} == {
        p["code"] for p in as_json
    }


LINTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "open-route": ({**{k: v for k, v in ROUTE.items() if k != "allow"}, "authenticate": "none"}, {}),
    "shadow-mode": ({**ROUTE, "mode": "shadow"}, {}),
    "unreachable-entry": ({**ROUTE, "allow": [{"groups": ["a"]}, {"groups": ["a"], "scopes": ["x"]}]}, {}),
    "unused-upstream": (ROUTE, {"upstreams": {"app": {"servers": ["http://127.0.0.1:1"]}, "other": {"servers": ["http://127.0.0.1:2"]}}}),
}  # fmt: skip


@pytest.mark.parametrize("code", LINTS)
def test_lints_are_warnings(tmp_path: Path, code: str) -> None:
    """What is allowed but hardly meant is a warning: exit 0, and 1 with --strict."""
    route, more = LINTS[code]
    file = write(tmp_path, route, **more)
    found = codes(file)
    assert ("warning", code) in found
    assert [c for severity, c in found if severity == "error"] == []
    assert run("check", "--config", file).exit_code == 0
    assert run("check", "--config", file, "--strict").exit_code == 1


def test_an_authenticator_that_nobody_uses_and_one_name_for_two_people(tmp_path: Path) -> None:
    """Unused authenticators are named; so is a `subjects` that two authenticators could mean differently."""
    config = configuration({"app": {"servers": ["http://127.0.0.1:1"]}})
    one = config["authenticators"]["tokens"]
    config["authenticators"] |= {
        n: {**one, "issuer": f"https://{n}.test"} for n in ("second", "unused")
    }
    route = {**ROUTE, "authenticate": ["tokens", "second"], "allow": [{"subjects": ["bob"]}]}
    found = codes(write_configuration(tmp_path, ISSUER, config, [route]))
    assert sorted(found) == [("warning", "ambiguous-subjects"), ("warning", "unused-authenticator")]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_that_others_can_read_is_named(tmp_path: Path, mode: int) -> None:
    """A private key whose file others can read is a warning with the command that mends it."""
    file = write(tmp_path)
    (tmp_path / "signing.pem").chmod(mode)
    problem = examine(str(file))[0]
    assert (problem.severity, problem.code, problem.remedy) == (
        "warning",
        "key-file-mode",
        "chmod 600 signing.pem",
    )
    assert (problem.file, problem.line > 1) == (str(file), True)


def test_a_literal_secret_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """A password in a URL is an error whose text does not hold it."""
    file = write(tmp_path, upstreams={"app": {"servers": ["http://user:hunter2@127.0.0.1:1"]}})
    result = run("check", "--config", file)
    assert result.exit_code == 1
    assert "hunter2" not in result.output


def test_what_is_not_part_of_this_version_says_so(tmp_path: Path) -> None:
    """A part of the contract that does not exist yet is an error that says that, not an unknown key."""
    listener = {"address": "127.0.0.1:0", "forward_auth": ["nginx"]}
    file = write(tmp_path, session={"idle_timeout": "30m"}, listeners=[listener])
    lines = run("check", "--config", file).stdout
    assert "forward_auth" in lines
    assert "not part of this version" in lines


def test_a_login_at_a_provider_is_checked(tmp_path: Path) -> None:
    """What it lacks, at its place and with what to do; the provider itself is not asked here."""
    secret = {"env": "NOT_SET_ANYWHERE"}
    sso = {"type": "oidc", "issuer": "https://id.test", "client_id": "c", "client_secret": secret}
    for name, portal in (("one", {}), ("two", {"portal": {"url": "https://login.test"}})):
        (tmp_path / name).mkdir()
        file = write(tmp_path / name, authenticators={"tokens": sso}, **portal)
        lines = run("check", "--config", file).stdout
        assert ("missing-portal" in lines) == (name == "one")
        assert ("`tokens`: the environment variable it names is not set" in lines) == (
            name == "two"
        )
        assert "NOT_SET_ANYWHERE" not in lines


def test_nothing_that_can_be_written_breaks_it(tmp_path: Path) -> None:
    """Whatever value stands wherever, `check` finds problems or none: it never fails over them."""
    chance = random.Random(7)
    base = configuration(
        {"app": {"servers": ["http://127.0.0.1:1"]}},
        identity={"profile": "remote", "strip": ["X-A"]},
        bounds={"drain": "1s"},
        rate_limits=[{"limit": "1/second", "per": "address"}],
    )
    odd: list[Any] = [None, True, 0, -1, 1.5, 10**30, "", "x", "*", "\x00", "é" * 300, [], [[]], {}, {"file": 1}, {"x": {}}, [None], ["a", {}], {"": ""}, "!!x", "${X}", {1: 2}]  # fmt: skip
    route = {
        **ROUTE,
        "allow": [{"groups": ["a"]}, {"claims": {"x": [1]}}],
        "rate_limits": [{"limit": "1/second", "per": "subject"}],
        "headers": {"set": {"X-A": "claims.a"}},
    }
    (tmp_path / "policies").mkdir()
    write(tmp_path, route)
    for _ in range(300):
        documents = [json.loads(json.dumps(base)), json.loads(json.dumps({"routes": [route]}))]
        for _ in range(chance.randint(1, 2)):
            _spoil(chance.choice(documents), chance, chance.choice(odd))
        for name, document in zip(
            ("authproxy.yaml", "policies/routes.yaml"), documents, strict=True
        ):
            (tmp_path / name).write_text(yaml.safe_dump(document))
        for problem in examine(str(tmp_path / "authproxy.yaml")):
            assert problem.line > 0
            assert problem.code
            assert problem.remedy


def _spoil(document: Any, chance: random.Random, value: Any) -> None:
    """Put the value somewhere in the document."""
    keys = list(document) if isinstance(document, dict) else list(range(len(document)))
    if not keys:
        return
    key = chance.choice(keys)
    if isinstance(document[key], dict | list) and document[key] and chance.random() < 0.8:
        _spoil(document[key], chance, value)
    elif isinstance(document, dict) and chance.random() < 0.3:
        document[chance.choice(["x", "match", "file", "allow", "tls", "url", "secret"])] = value
    else:
        document[key] = value


REMOTE = """
authenticators:
  sso:
    type: jwt
    issuer: https://id.test
    audiences: [api]
    algorithms: [RS256]
    keys: {%s}
"""


@pytest.mark.parametrize(
    ("keys", "code", "said"),
    [
        ("url: http://id.test/jwks", "bad-url", ":7:17: error: bad-url: "),
        ("url: https://u:p@id.test/jwks", "literal-secret", ":7:17: error: literal-secret: "),
        ("url: https://id.test/jwks, file: jwks.json", "bad-keys", "keys come from one place"),
        ("file: jwks.json, ca: ca.crt", "bad-keys", "`ca` is for keys that are fetched"),
        ("discovery: true, ca: no.crt", "unreadable", ":7:33: error: unreadable: "),
        ("discovery: true, ca: jwks.json", "bad-ca", "holds no certificate of an authority"),
        ("discovery: true, refresh: 0s", "bad-refresh", "`refresh` must be at least 1s"),
    ],
)
def test_keys_elsewhere(tmp_path: Path, keys: str, code: str, said: str) -> None:
    """What is wrong with them has its place and a remedy; the issuer is not asked."""
    file = write(tmp_path, {**ROUTE, "authenticate": ["sso"]})
    config = {k: v for k, v in yaml.safe_load(file.read_text()).items() if k != "authenticators"}
    file.write_text(REMOTE.lstrip() % keys + yaml.safe_dump(config))
    result = run("check", "--config", file)
    assert result.exit_code == 1
    assert [found for _, found in codes(file)] == [code]
    assert said in result.stdout
    assert "u:p" not in result.stdout
