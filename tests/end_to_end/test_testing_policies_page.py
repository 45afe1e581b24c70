"""The page about testing policies: its example is loaded, its commands are run, and they print what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.program import run
from tests.end_to_end.credentials import Issuer
from tests.end_to_end.served import configuration, write_configuration

PAGE = (Path(__file__).parents[2] / "docs" / "testing-policies.md").read_text()


def blocks(kind: str) -> list[str]:
    """The code blocks of a kind."""
    return [
        found[1]
        for found in re.finditer(rf"^```{kind}[^\n]*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    ]


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's policy file in a working directory of its own."""
    upstreams = {"app": {"servers": ["http://127.0.0.1:1"]}}
    write_configuration(tmp_path, Issuer(), configuration(upstreams), [])
    (tmp_path / "policies" / "routes.yaml").unlink()
    file = tmp_path / "policies" / "orders.yaml"
    file.write_text(blocks("yaml")[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTHPROXY_CONFIG", raising=False)
    return file


@pytest.mark.parametrize(("index", "code"), [(0, 0), (1, 1), (2, 1)])
def test_the_commands_print_what_the_page_says(example: Path, index: int, code: int) -> None:
    """Word for word; the second of them with the change that the page describes."""
    command, _, wanted = blocks("console")[index].partition("\n")
    if index == 1:
        example.write_text(example.read_text().replace("[eng, ops]", "[ops]"))
    result = run(*command.removeprefix("$ authproxy ").split())
    assert result.output == wanted
    assert result.exit_code == code


def test_the_lines_of_python_hold(example: Path) -> None:
    """As they stand on the page, in the directory of the example."""
    program = blocks("python")[0]
    subprocess.run([sys.executable, "-c", program], cwd=example.parents[1], check=True)


def test_the_tests_for_pytest_pass(example: Path) -> None:
    """As they stand on the page."""
    folder = example.parents[1]
    (folder / "test_page.py").write_text(blocks("python")[1])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert "2 passed" in done.stdout, done.stdout
