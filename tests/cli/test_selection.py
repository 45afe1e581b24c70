"""Which tests are wanted: pytest's words, files and lines; and nothing of it is code."""

from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from authproxy.cli.selection import ExpressionError, by_words, select, split_place
from authproxy.model.source import Source
from authproxy.policy.cases import Case
from authproxy.policy.document import CaseDocument
from tests.model.marks import at


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("ann", {"get ann", "put ann"}), ("ANN", {"get ann", "put ann"}), ("not ann", {"get bob"}), ("get and ann", {"get ann"}),
        ("get or ann", {"get ann", "get bob", "put ann"}), ("not get or bob", {"put ann", "get bob"}), ("not (get or bob)", {"put ann"}),
        ("put or get and bob", {"put ann", "get bob"}), ("(put or get) and bob", {"get bob"}), ("not not bob", {"get bob"}), ("x", set()),
    ],
)  # fmt: skip
def test_words_are_joined_as_in_pytest(expression: str, wanted: set[str]) -> None:
    """`not` before `and` before `or`; a word is found anywhere, in any case."""
    found = by_words(expression)
    assert {text for text in ("get ann", "get bob", "put ann") if found(text)} == wanted


@pytest.mark.parametrize(
    "expression", ["", "and", "a and", "not", "(a", "a)", "a b", "()", "or a", "(" * 100 + "a"]
)
def test_what_is_no_expression_is_refused(expression: str) -> None:
    """With a word why."""
    with pytest.raises(ExpressionError):
        by_words(expression)


@given(st.text(alphabet="ab() notrd", max_size=40))
def test_any_text_is_an_expression_or_an_error(expression: str) -> None:
    """And never anything that is run."""
    try:
        wanted = by_words(expression)
    except ExpressionError:
        return
    assert wanted("a") in {True, False}


def case(file: Path, line: int, *path: str | int) -> Case:
    """A test at this line."""
    wanted = CaseDocument.model_validate({"request": "GET https://a/1", "expect": "allow"})
    return Case(wanted, Source(str(file), {path: at(line, 5), ("tests", 1): at(7, 5)}), path)


def test_tests_are_found_by_file_and_line(tmp_path: Path) -> None:
    """A file, a directory, a line; the line of a table is all of its cases."""
    one, other = tmp_path / "a.yaml", tmp_path / "b" / "c.yaml"
    cases = [case(one, 3, "tests", 0), case(other, 8, "tests", 1, "cases", 0), case(other, 9, "tests", 1, "cases", 1)]  # fmt: skip
    for named, wanted in (
        ([], [0, 1, 2]), ([str(one)], [0]), ([str(tmp_path)], [0, 1, 2]), ([f"{tmp_path}/b"], [1, 2]),
        ([f"{other}:9"], [2]), ([f"{other}:9:5", f"{one}:3"], [0, 2]), ([f"{other}:7"], [1, 2]), ([f"{one}:4"], []),
    ):  # fmt: skip
        assert list(select(cases, named, None)) == [cases[n] for n in wanted], named
    assert list(select(cases, [], "c.yaml")) == cases[1:]
    with pytest.raises(typer.BadParameter):
        list(select(cases, [], "("))


def test_a_name_with_a_colon_is_a_file_where_there_is_one(tmp_path: Path) -> None:
    """What exists is what is meant."""
    odd = tmp_path / "a:3"
    assert split_place(str(odd)) == (tmp_path / "a", 3)
    odd.touch()
    assert split_place(str(odd)) == (odd, None)
