"""YAML: plain data with places, within bounds, whatever the bytes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.config.yaml import DEPTH_MOST, SIZE_MOST, read_yaml
from authproxy.model.errors import ConfigError, Problem


def data(text: str) -> Any:
    """The document; it must be without problems."""
    found, _, problems = read_yaml(text.encode(), "f.yaml")
    assert problems == []
    return found


def refused(text: bytes) -> Problem:
    """Why the document cannot be read."""
    with pytest.raises(ConfigError) as caught:
        read_yaml(text, "f.yaml")
    return caught.value.problems[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("false", False), ("null", None), ("~", None), ("", None), ("# only", None),
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("True", "True"), ("FALSE", "FALSE"), ("y", "y"),
        ("1", 1), ("-7", -7), ("010", 10), ("0x1F", "0x1F"), ("1_000", "1_000"), ("12:30:00", "12:30:00"),
        ("1.5", 1.5), ("1e3", 1000.0), ("1e99999", "1e99999"), (".inf", ".inf"), (".nan", ".nan"),
        ("2001-01-01", "2001-01-01"), ("'1'", "1"), ('"true"', "true"), ("|\n 1\n", "1\n"), ("a: b", {"a": "b"}),
        ("[1, a]", [1, "a"]), ("1: x\ntrue: y", {"1": "x", "true": "y"}), ("<<: a", {"<<": "a"}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
    ],
)  # fmt: skip
def test_scalars_are_those_of_the_core_schema(text: str, value: Any) -> None:
    """Only `true` and `false` are booleans; dates, sexagesimals and `yes` are text."""
    found = data(text)
    assert (found, type(found)) == (value, type(value))


def test_every_key_and_value_has_a_place() -> None:
    """Lines and columns from 1."""
    _, source, _ = read_yaml(b"a:\n  - b: 1\n    c: 'x'\n", "f.yaml")
    assert source.place(("a", 0, "c")) == (3, 8)
    assert source.place(("a", 0, "c"), key=True) == (3, 5)
    assert source.inside == {("a", 0, "c"): 1}


def test_duplicate_keys_are_problems_all_at_once() -> None:
    """The first one counts, the others are pointed at."""
    found, _, problems = read_yaml(b"a: 1\nb: {x: 1, x: 2}\na: 2\n", "f.yaml")
    assert found == {"a": 1, "b": {"x": 1}}
    assert [(p.code, p.line, p.column) for p in problems] == [
        ("duplicate-key", 2, 11),
        ("duplicate-key", 3, 1),
    ]


@pytest.mark.parametrize(
    "text", ["hosts: [*.example]", "hosts:\n  - *.example.test", "a: *", "a: *unknown"]
)
def test_an_unquoted_star_says_quote_it(text: str) -> None:
    """YAML takes it for an alias; the operator meant a host."""
    problem = refused(text.encode())
    assert problem.code == "yaml-syntax"
    assert "quote it" in problem.remedy


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: b: c",
        "a:\n\tb",
        "'",
        "{a",
        "a: !!int x y: z",
        "--- a\n--- b",
        "@",
        "a: \x00",
        "%YAML 9",
    ],
)
def test_what_is_no_yaml_is_a_problem_with_a_place(text: str) -> None:
    """One problem, in one line, in the file."""
    problem = refused(text.encode())
    assert problem.file == "f.yaml"
    assert problem.line >= 1
    assert "\n" not in str(problem)


@pytest.mark.parametrize(
    "text",
    [
        "a: !!str 5",
        "a: !mine {}",
        "!!map {a: 1}",
        "a: !!python/object/apply:os.system [x]",
        "a: !!binary aGk=",
    ],
)
def test_tags_are_problems(text: str) -> None:
    """Nothing is made of a tag, least of all an object."""
    _, _, problems = read_yaml(text.encode(), "f.yaml")
    assert [p.code for p in problems] == ["bad-tag"]


def test_keys_are_text() -> None:
    """A key that is a list or a mapping is a problem."""
    _, _, problems = read_yaml(b"{a: 1, [b]: 2, {c: d}: 3}", "f.yaml")
    assert [p.code for p in problems] == ["bad-key", "bad-key"]


@pytest.mark.parametrize("opening", [b"[", b"{a: ", b"- ", b"? ", b"{"])
def test_deep_yaml_does_not_end_the_process(opening: bytes) -> None:
    """A hundred thousand brackets are one problem."""
    assert refused(opening * 100_000).code in {"too-deep", "yaml-syntax"}


def test_the_depth_is_bounded_exactly() -> None:
    """As deep as allowed is fine, one more is not."""
    assert data("[" * DEPTH_MOST + "]" * DEPTH_MOST)
    assert refused(b"[" * (DEPTH_MOST + 1) + b"]" * (DEPTH_MOST + 1)).code == "too-deep"


def test_aliases_do_not_expand_without_bound() -> None:
    """The billion laughs and a node within itself are refused."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    assert refused("\n".join(lines).encode()).code == "too-many-aliases"
    assert refused(b"a: &a [*a]").code == "too-many-aliases"


def test_a_file_over_the_bound_is_not_read() -> None:
    """It is refused before it is parsed."""
    assert refused(b" " * (SIZE_MOST + 1)).code == "too-large"


@given(
    st.binary(max_size=60)
    | st.text(max_size=40).map(lambda t: t.encode("utf-8", "surrogatepass"))
    | st.lists(st.sampled_from(["a", ":", " ", "\n", "- ", "[", "]", "{", "}", "'", '"', "*", "&", "!", "|", ">", "#", "1", ",", "?", "%", "\t"]), max_size=20).map(lambda x: "".join(x).encode())
)  # fmt: skip
def test_any_bytes_are_data_or_a_config_error(text: bytes) -> None:
    """Nothing else is raised, and every problem has a place."""
    try:
        _, _, problems = read_yaml(text, "f.yaml")
    except ConfigError as error:
        problems = list(error.problems)
    assert all(p.line >= 1 and p.column >= 1 for p in problems)
