"""Loading: every problem of every file at once, one for each mistake, and never an exception."""

import gc
import sys
from pathlib import Path
from types import FrameType

import pytest

from authproxy.config.load import fill, find_config, load, policy_paths, shown
from authproxy.model.errors import ConfigError
from tests.config.reading import CONFIG, POLICY, found, read

# 171 as measured (Python 3.11), with a tenth of slack.
CALLS_A_ROUTE_MOST = 188


def codes(folder: Path, config: str = CONFIG, policy: str = POLICY) -> list[str]:
    return [p.code for p in read(folder, config, p=policy).problems]


def test_a_good_configuration_is_usable(tmp_path: Path) -> None:
    """No problems, all routes, all tests, relative paths from the file's folder."""
    loaded = read(tmp_path)
    assert found(loaded) == []
    assert loaded.usable() is loaded.config
    assert [r.name for r in loaded.policies.table.routes] == ["orders", "open", "same"]
    assert [len(document.tests) for document, _ in loaded.policy_files] == [2]
    assert loaded.folder == tmp_path


def test_all_problems_of_all_files_are_found_at_once(tmp_path: Path) -> None:
    """The configuration's first, then each file's by line."""
    config = CONFIG.replace("workers: 1", "workers: many\nworkerz: 1").replace("5s", "5")
    one = POLICY.replace("mode: enforce", "mode: off").replace("upstream: secure", "upstream: none")
    other = "routes: [{name: orders, match: {paths: [/x*]}, upstream: orders, authenticate: none}]"
    problems = found(read(tmp_path, config, a=one, b=other))
    assert [p.split(" ")[1] for p in problems] == [
        "bad-workers", "unknown-key", "bad-duration", "unknown-value", "unknown-upstream", "duplicate-route", "bad-path",
    ]  # fmt: skip


def test_problems_are_written_with_place_severity_code_and_remedy(tmp_path: Path) -> None:
    """`file:line:column: severity: code: what is wrong — what to do`."""
    (problem,) = read(tmp_path, CONFIG.replace("30/minute", "30/fortnight")).problems
    line = CONFIG.split("\n").index("failed_authentications: 30/minute") + 1
    begin = f"{tmp_path}/authproxy.yaml:{line}:28: error: bad-rate: `failed_authentications`: "
    assert str(problem).startswith(begin)
    assert " — write N/second" in str(problem)


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ("", None), ("routes: [", "yaml-syntax"), ("routes: [null]", "wrong-type"), ("routes:", "empty-value"), ("route: []", "unknown-key"),
        ("routes: {}", "wrong-type"), ("- a", "wrong-type"), ("\x00", "yaml-syntax"), ("[" * 100_000, "too-deep"),
        ("routes: [{name: r, match: {hosts: [*.example], paths: [/a]}}]", "yaml-syntax"),
    ],
)  # fmt: skip
def test_a_policy_file_that_cannot_be_read_is_never_allow_all(
    tmp_path: Path, policy: str, code: str | None
) -> None:
    """It is a problem, and the configuration is not usable; no routes refuse everything."""
    loaded = read(tmp_path, p=policy)
    assert [p.code for p in loaded.problems] == ([code] if code else [])
    assert loaded.policies.table.routes == []
    if code:
        with pytest.raises(ConfigError):
            loaded.usable()


def test_trap_an_entry_with_an_empty_value_is_an_error(tmp_path: Path) -> None:
    """`groups:` with nothing behind it would have held for everyone."""
    assert codes(tmp_path, policy=POLICY.replace("groups: [eng, ops]", "groups: ")) == [
        "empty-value"
    ]
    assert codes(tmp_path, policy=POLICY.replace("[{groups: [suspended]}]", "")) == ["empty-value"]


def test_a_typo_is_one_problem(tmp_path: Path) -> None:
    """`allows:` is not a missing `allow` as well, and no tie appears where a pattern is broken."""
    policy = POLICY.replace("    allow:\n", "    allows:\n").replace("[POST]", "POST")
    assert codes(tmp_path, policy=policy) == ["unknown-key", "wrong-type"]
    assert codes(tmp_path, policy=POLICY.replace("[tokens, machines]", "[token, machines]")) == ["unknown-authenticator"]  # fmt: skip


def test_names_that_are_gone_are_dangling(tmp_path: Path) -> None:
    """A section that is there and broken has its names still; one without names has none."""
    assert set(codes(tmp_path, CONFIG.replace("  orders:\n", "  order:\n"))) == {"unknown-upstream"}
    assert codes(tmp_path, CONFIG.replace('["https://secure.test"]', "5")) == ["wrong-type"]


@pytest.mark.parametrize("named", ["nowhere", "a\\0b", "x" * 300, "authproxy.yaml/x"])
def test_policies_that_are_not_there_are_a_problem(tmp_path: Path, named: str) -> None:
    """Whatever the name: nothing is raised, and the place is where they were named."""
    config = CONFIG.replace("policies: [policies]", f'policies: ["{named}", policies]')
    (problem,) = read(tmp_path, config).problems
    assert (problem.code, problem.line) == ("no-such-file", len(CONFIG.splitlines()))


def test_a_folder_without_policies_is_a_problem(tmp_path: Path) -> None:
    """Everything would be refused, and nobody means that."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".hidden.yaml").write_text(POLICY)
    assert codes(tmp_path, CONFIG.replace("[policies]", "[empty]")) == ["no-policies"]


def test_what_is_no_file_in_a_folder_is_a_problem(tmp_path: Path) -> None:
    """A folder of that name, and a link that leads nowhere: either might have held a `deny`."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "gone.yaml").symlink_to("nowhere")
    (tmp_path / "policies" / "folder.yaml").mkdir()
    assert codes(tmp_path) == ["no-such-file", "no-such-file"]


def test_policy_files_are_those_of_a_folder_by_name(tmp_path: Path) -> None:
    """`*.yaml`, without what editors and Kubernetes leave there; a file may be named itself."""
    for name in ("b.yaml", "a.yaml", ".c.yaml", "d.yaml~", "e.txt"):
        (tmp_path / name).write_text("")
    listed = list(policy_paths(tmp_path, [".", "b.yaml"]))
    assert [(i, p.name) for i, p in listed] == [(0, "a.yaml"), (0, "b.yaml"), (1, "b.yaml")]


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    """Its routes are not in their own way."""
    assert codes(tmp_path, CONFIG.replace("[policies]", "[policies, policies/p.yaml]")) == []


def test_the_configuration_is_the_first_that_is_named_or_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--config`, then `$AUTHPROXY_CONFIG`, then `./authproxy.yaml`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "authproxy.yaml").write_text(CONFIG)
    (tmp_path / "other.yaml").write_text(CONFIG)
    assert find_config(None, {}) == Path("authproxy.yaml")
    assert find_config(None, {"AUTHPROXY_CONFIG": "other.yaml"}) == Path("other.yaml")
    assert find_config("other.yaml", {"AUTHPROXY_CONFIG": "none.yaml"}) == Path("other.yaml")


@pytest.mark.parametrize("named", ["none.yaml", "x" * 300, "a\0b"])
def test_a_named_configuration_that_does_not_exist_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """The next place is not looked at."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "authproxy.yaml").write_text(CONFIG)
    for option, environ in ((named, dict[str, str]()), (None, {"AUTHPROXY_CONFIG": named})):
        with pytest.raises(ConfigError) as caught:
            find_config(option, environ)
        assert caught.value.problems[0].code == "no-such-file"


@pytest.mark.parametrize("content", [b"", b"[]", b"text", b"\xff", b"a: [", b"listeners: []"])
def test_a_configuration_that_cannot_be_used_says_why(tmp_path: Path, content: bytes) -> None:
    """There is at least one problem, and `usable` raises them."""
    (tmp_path / "c.yaml").write_bytes(content)
    loaded = load(tmp_path / "c.yaml")
    assert loaded.problems
    with pytest.raises(ConfigError):
        loaded.usable()


def test_a_configuration_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    """A missing file and a folder are problems like others."""
    for path in (tmp_path / "none.yaml", tmp_path):
        assert [p.code for p in load(path).problems] == ["unreadable"]


def test_a_file_is_named_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an operator would type it; elsewhere by its whole path."""
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "a" / "b.yaml") == "a/b.yaml"
    assert shown(Path("/etc/a.yaml")) == "/etc/a.yaml"


def test_placeholders_are_for_routes_and_tests_only() -> None:
    """Nothing else of a policy file has one."""
    assert fill(("routes", 3, "name")) == "placeholder-3"
    assert fill(("routes", 3, "mode")) is None
    assert fill(("routes",)) is None
    assert fill(()) is None


def test_loading_is_cheap_however_many_routes_there_are(tmp_path: Path) -> None:
    """Python functions entered for each route, from bytes to a table: 10,000 routes must load in seconds.

    Counted, not timed. A thousand routes cost each what a hundred do.
    """

    def calls(count: int) -> int:
        one = "{{name: r{0}, match: {{hosts: [h{0}.test], paths: [/a/**]}}, upstream: orders, authenticate: [tokens], allow: [{{groups: [g{0}, x]}}, {{scopes: [s]}}]}}"
        text = "routes:\n" + "".join(f"  - {one.format(n)}\n" for n in range(count))
        entered = 0

        def count_calls(_frame: FrameType, event: str, _argument: object) -> None:
            nonlocal entered
            entered += event == "call"

        sys.setprofile(count_calls)
        try:
            loaded = read(tmp_path, p=text)
        finally:
            sys.setprofile(None)
        assert loaded.problems == []
        return entered

    calls(1)  # what is made once, is made
    few, many = (calls(101) - calls(1)) / 100, (calls(1001) - calls(1)) / 1000
    assert few == pytest.approx(many, rel=0.1)
    assert many < CALLS_A_ROUTE_MOST, many


def test_loading_leaves_the_collector_as_it_was(tmp_path: Path) -> None:
    """It is off while objects are made that stay, on again whatever happens, and stays off where it was off."""
    read(tmp_path)
    assert gc.isenabled()
    gc.disable()
    try:
        read(tmp_path)
        assert not gc.isenabled()
    finally:
        gc.enable()
