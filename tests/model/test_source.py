"""Places in files: of a key, of a value, of what is around what is missing."""

from authproxy.model.source import Source
from tests.model.marks import at

SOURCE = Source(
    "f.yaml",
    values={(): at(1, 1), ("a",): at(2, 4), ("a", 0): at(2, 5), ("q",): at(3, 4), ("b",): at(4, 4)},
    keys={("a",): at(2, 1)},
    inside={("q",): 1, ("b",): None},
)


def test_a_place_is_that_of_the_value() -> None:
    """A path of keys and indices leads to line and column."""
    assert SOURCE.place(("a", 0)) == (2, 5)


def test_a_place_can_be_that_of_the_key() -> None:
    """What is wrong with a key points at the key; one that has no place of its own at its value."""
    assert SOURCE.place(("a",), key=True) == (2, 1)
    assert SOURCE.place(("a", 0), key=True) == (2, 5)


def test_what_is_missing_is_where_it_should_be() -> None:
    """The nearest thing around it is pointed at, at last the file."""
    assert SOURCE.place(("a", "x", 3)) == (2, 4)
    assert Source("g.yaml").place(("a",)) == (1, 1)


def test_an_offset_counts_in_the_text() -> None:
    """Behind a quote it is one further; in a block nobody can tell; without one the value itself is meant."""
    columns = [SOURCE.problem((p,), "c", "t", "r", offset=2).column for p in ("a", "q", "b")]
    assert columns == [6, 7, 4]
    assert SOURCE.problem(("q",), "c", "t", "r").column == 4


def test_a_problem_names_the_file() -> None:
    """File, place, code, text, remedy and severity are handed on."""
    found = SOURCE.problem(("a",), "c", "t", "r", severity="warning")
    assert str(found) == "f.yaml:2:4: warning: c: t — r"
