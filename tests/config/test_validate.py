"""Validation: every problem at once, each at its place, none that only follows from another, never a secret."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.config.schema import Config
from authproxy.config.validate import Fill, validate
from authproxy.config.yaml import read_yaml
from authproxy.model.shape import Section
from authproxy.model.source import Path
from tests.config.reading import CONFIG


class Inner(Section):
    name: str
    size: int = 1


class Outer(Section):
    inner: Inner | None = None
    many: list[Inner] = []
    named: dict[str, Inner] = {}
    flag: bool = False


def outcome(text: str, model: type[Any] = Outer, fill: Fill | None = None) -> tuple[Any, list[str]]:
    data, source, problems = read_yaml(text.encode(), "f.yaml")
    assert problems == []
    found, _, more = validate(model, data, source, fill)
    return found, [
        f"{p.line}:{p.column} {p.code}" for p in sorted(more, key=lambda p: (p.line, p.column))
    ]


def test_what_is_right_is_the_model() -> None:
    """No problems, nothing cut; an empty file is an empty mapping."""
    assert outcome("flag: true") == (Outer(flag=True), [])
    assert outcome("") == (Outer(), [])


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("flag: 1", ["1:7 wrong-type"]),
        ("flag:", ["1:6 empty-value"]),
        ("flga: true", ["1:1 unknown-key"]),
        ("inner: {size: 2}", ["1:8 missing-key"]),
        ("inner: {nam: x}", ["1:9 unknown-key"]),
        ("many: [{name: a}, 5, {name: c}]", ["1:19 wrong-type"]),
        ("many: [5]", ["1:8 wrong-type"]),
        ("named: {a: {name: 1, size: x}}", ["1:19 wrong-type", "1:28 wrong-type"]),
        ("flag: 1\ninner: {size: x}", ["1:7 wrong-type", "2:8 missing-key", "2:15 wrong-type"]),
        ("[]", ["1:1 wrong-type"]),
        ("text", ["1:1 wrong-type"]),
    ],
)
def test_each_mistake_is_one_problem_at_its_place(text: str, problems: list[str]) -> None:
    """What was probably meant by an unknown key is not missing as well."""
    assert outcome(text)[1] == problems


def test_what_is_right_beside_a_mistake_is_kept() -> None:
    """Later checks see it; a good neighbour stands in for a broken item, so that places stay."""
    found, _ = outcome("flag: true\nmany: [{name: a}, 5, {name: c}]\ninner: {size: 1}\nx: 1")
    assert (found.flag, found.inner) == (True, None)
    assert [item.name for item in found.many] == ["a", "a", "c"]


def test_a_placeholder_is_taken_where_there_is_one() -> None:
    """For what is missing, and for what is broken."""
    placeholders: dict[Path, Any] = {("inner", "name"): "x", ("many", 0): {"name": "y"}}

    def stand_in(path: Path) -> Any:
        return placeholders.get(path)

    found, problems = outcome("inner: {size: 2}\nmany: [5]", fill=stand_in)
    assert (found.inner, found.many) == (Inner(name="x", size=2), [Inner(name="y")])
    assert problems == ["1:8 missing-key", "2:8 wrong-type"]


def test_an_unknown_key_says_what_was_meant() -> None:
    """Or which there are."""
    data, source, _ = read_yaml(b"flagg: true\nzzz: 1", "f.yaml")
    _, _, problems = validate(Outer, data, source)
    assert [p.remedy for p in problems] == [
        "did you mean `flag`?",
        "known keys: inner, many, named, flag",
    ]


def test_a_union_complains_once() -> None:
    """With all that it would take."""
    data, source, _ = read_yaml(b"listeners: [{address: 'a:1'}]\nadmin: 5", "f.yaml")
    _, _, (problem,) = validate(Config, data, source)
    assert (problem.line, problem.code) == (2, "wrong-type")
    assert "False" in problem.remedy or "false" in problem.remedy


@pytest.mark.parametrize(
    "secret",
    [
        "authenticators: {t: {type: jwt, keys: {secret: hunter2}}}",
        "authenticators: {t: {type: jwt, keys: {secret: {hunter2}}}}",
        "authenticators: {t: {type: jwt, keys: {secret: {file: [hunter2]}}}}",
        "authenticators: {t: {type: jwt, issuer: 'https://a:hunter2@i.test'}}",
        "upstreams: {u: {servers: ['http://a:hunter2@h']}}",
        "state: {url: 'redis://:hunter2@h'}",
        "state: {password: hunter2}",
        "session: {cookie: hunter2}",
        "workers: hunter2",
    ],
)
def test_a_problem_never_quotes_the_value(secret: str) -> None:
    """It might be a secret, also where none is wanted."""
    data, source, _ = read_yaml(secret.encode(), "f.yaml")
    _, _, problems = validate(Config, data, source)
    assert problems
    assert not any("hunter2" in str(p) for p in problems)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab1 -", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "size", "inner", "many", "named", "flag", "x"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(VALUES)
def test_any_data_is_a_model_or_problems(data: Any) -> None:
    """Never both nothing and silence, never another exception."""
    # JSON is YAML: this gives any data its places.
    read, source, _ = read_yaml(json.dumps(data).encode(), "f.yaml")
    found, _, problems = validate(Outer, read, source)
    assert found is not None or problems
    assert len(problems) == len(set(problems))


def test_the_whole_example_is_right() -> None:
    """What the other tests break is good before."""
    assert outcome(CONFIG, Config)[1] == []
