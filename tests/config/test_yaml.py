"""YAML: plain data with places, within bounds, whatever the bytes."""

from typing import Any

import pytest
import yaml
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


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: &x {b: &y [1]}\nc: *x\nd: *y", {"a": {"b": [1]}, "c": {"b": [1]}, "d": [1]}),
        ("&k a: 1\n*k : 2\nb: *k", {"a": 1, "b": "a"}), ("&k a: 1\nb: {*k : 2}", {"a": 1, "b": {"a": 2}}),
        ("a: {x: 1, x: &y 2}\nb: *y", {"a": {"x": 1}, "b": 2}), ("? [&y 2]\n: 1\nb: *y", {"b": 2}), ("? &l [1]\n: 1\n? *l\n: 2\n", {}),
        ("[&a x, *a, &b [*a, *a], *b]", ["x", "x", ["x", "x"], ["x", "x"]]),
    ],
)  # fmt: skip
def test_an_alias_is_what_its_anchor_stands_for(text: str, value: Any) -> None:
    """Wherever the anchor is: within another, at a key, in what is passed over."""
    assert read_yaml(text.encode(), "f.yaml")[0] == value


def test_what_stands_behind_an_alias_has_the_place_of_its_anchor() -> None:
    """At every path that leads to it; what is wrong with it is said once."""
    _, source, problems = read_yaml(b"a: &x {b: 1, b: !t 2}\nc: *x\n", "f.yaml")
    assert source.place(("c", "b")) == source.place(("a", "b")) == (1, 11)
    assert [(p.code, p.line, p.column) for p in problems] == [
        ("duplicate-key", 1, 14), ("bad-tag", 1, 17),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["a: &x 1\nb: &x 2", "a: *x\nb: &x 1", "--- a\n--- b"])
def test_what_no_composer_takes_is_refused(text: str) -> None:
    """Two anchors of one name, an alias before its anchor, a second document."""
    assert refused(text.encode()).code == "yaml-syntax"


@given(st.lists(st.sampled_from(["a", ": ", "\n", "- ", "[", "]", "{", "}", "*x ", "&x ", "*y ", "&y ", "1", ", ", "? ", "'q'"]), max_size=14).map("".join))  # fmt: skip
def test_the_data_is_what_a_composer_makes_of_it(text: str) -> None:
    """Where PyYAML composes a document of text keys, this is the same data; where it does not, this is refused."""
    try:
        node = yaml.CSafeLoader(text.encode()).get_single_node()
        wanted = yaml.CBaseLoader(text.encode()).construct_document(node) if node else None
    except (yaml.YAMLError, TypeError, RecursionError):
        assert codes(text) != []
    else:
        found = codes(text)
        assert found or as_text(data(text)) == as_text(wanted)
        assert set(found) <= {"too-many-aliases", "duplicate-key", "bad-key"}


def codes(text: str) -> list[str]:
    """The codes of all problems, whether they keep the document from being read or not."""
    try:
        return [problem.code for problem in read_yaml(text.encode(), "f.yaml")[2]]
    except ConfigError as error:
        return [problem.code for problem in error.problems]


def as_text(value: Any) -> Any:
    """The data with its scalars as text, as PyYAML's base loader has them; nothing at all is empty text."""
    if isinstance(value, dict):
        return {key: as_text(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_text(inner) for inner in value]
    return "" if value is None else str(value)


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
