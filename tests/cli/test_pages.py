"""What `--help` shows: lists whose lines are whole, examples that can be copied, names for what options take."""

import re

import pytest
from typer.testing import CliRunner

from authproxy.cli.main import app
from authproxy.cli.pages import line, page
from tests.cli.test_main import commands, leaves

NARROW = {"COLUMNS": "80"}


def shown(*words: str) -> str:
    """The page of a command, as a terminal of 80 columns shows it."""
    result = CliRunner().invoke(app, [*words, "--help"], env=NARROW)
    assert result.exit_code == 0
    return result.stdout


def test_a_line_ends_at_the_first_stop() -> None:
    """As one line, however it was broken; what only looks like a stop is none."""
    assert line("Say it\n    twice; then leave.\n\nMore.") == "Say it twice."
    assert line("Run the `tests:` of a.yaml, and others: all of them.") == (
        "Run the `tests:` of a.yaml, and others."
    )


def test_examples_stay_as_they_were_written() -> None:
    """Each under the other, where the docstring has several; all else is left to the width."""
    assert page("Do.\n\nExample: a b\nExample: c\n\nMore.") == (
        "Do.\n\n\b\nExample:\n  a b\n  c\n\nMore."
    )


@pytest.mark.parametrize("words", [w for w in commands() if w not in leaves()], ids=" ".join)
def test_no_line_of_a_list_is_cut(words: tuple[str, ...]) -> None:
    """Whatever is said of a command in a list is said whole."""
    assert "..." not in shown(*words).partition("\nCommands:\n")[2]


@pytest.mark.parametrize("words", leaves(), ids=" ".join)
def test_a_page_can_be_used_as_it_stands(words: tuple[str, ...]) -> None:
    """The example is on a line of its own, and no option shows a type of Python for what it takes."""
    text = shown(*words)
    assert re.search(rf"^  Example:\n    (.* \| )?authproxy {' '.join(words)}", text, re.MULTILINE)  # fmt: skip
    options = text.partition("\nOptions:\n")[2]
    assert not re.search(r"<(str|int|path|list|float)\b", options)
