"""Files of tests beside the policies: read whole, every problem with its place, never by a server."""

from pathlib import Path

from authproxy.config.case_files import CaseFiles, read_case_files
from tests.config.reading import CONFIG, POLICY, read

TESTS = """\
identities:
  ann: {subject: ann, groups: [eng]}
tests:
  - {request: GET https://orders.test/orders/1, identity: ann, expect: allow}
  - {request: GET https://orders.test/orders/1, identity: shared, expect: forbidden}
"""
NAMED = CONFIG + "policy_tests: [checks, more.yaml]\n"


def read_beside(folder: Path, *paths: Path, **files: str) -> CaseFiles:
    """The tests of a configuration that names `checks/` and `more.yaml`; `files` are those of `checks/`."""
    (folder / "checks").mkdir()
    for name, text in files.items():
        (folder / "checks" / f"{name}.yaml").write_text(text)
    loaded = read(folder, NAMED, p=POLICY + "identities:\n  shared: {subject: sue}\n")
    assert loaded.problems == []
    return read_case_files(loaded, paths)


def test_files_and_directories_are_read(tmp_path: Path) -> None:
    """Those that are named, once each, and a policy file not again; names of identities are those of all."""
    (tmp_path / "more.yaml").write_text("tests: []\n")
    policy = tmp_path / "policies" / "p.yaml"
    found = read_beside(tmp_path, tmp_path / "more.yaml", policy, a=TESTS, b="tests: []\n")
    assert found.problems == []
    assert [Path(source.file).name for _, source in found.files] == [
        "a.yaml",
        "b.yaml",
        "more.yaml",
    ]
    assert [len(document.tests) for document, _ in found.files] == [2, 0, 0]


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    """At its name in the configuration; one that the command line names by itself."""
    found = read_beside(tmp_path, tmp_path / "gone.yaml", a=TESTS)
    line = NAMED.splitlines().index("policy_tests: [checks, more.yaml]") + 1
    assert [(Path(p.file).name, p.line, p.code) for p in found.problems] == [
        ("authproxy.yaml", line, "no-such-file"), ("gone.yaml", 1, "no-such-file"),
    ]  # fmt: skip


def test_what_is_wrong_in_a_file_has_its_place(tmp_path: Path) -> None:
    """Shape, names, and routes that nobody would serve."""
    (tmp_path / "more.yaml").write_text("routes: []\n")
    wrong = TESTS.replace("expect: allow", "expect: yes").replace("shared", "nobody")
    found = read_beside(tmp_path, a=wrong, b="tests: [\n", c=TESTS)
    assert sorted((Path(p.file).name, p.line, p.code) for p in found.problems) == [
        ("a.yaml", 4, "bad-expectation"), ("a.yaml", 5, "unknown-identity"),
        ("b.yaml", 2, "yaml-syntax"), ("c.yaml", 2, "duplicate-identity"), ("more.yaml", 1, "misplaced-routes"),
    ]  # fmt: skip
