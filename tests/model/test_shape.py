"""Sections of files: unknown keys, empty values and other types are errors."""

from typing import Any

import pytest
from pydantic import ValidationError

from authproxy.model.shape import Section, wrong


class Example(Section):
    flag: bool = False
    names: list[str] | None = None


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"flagg": True}, "extra_forbidden"),
        ({"flag": "yes"}, "bool_type"),
        ({"flag": 1}, "bool_type"),
        ({"names": "a"}, "list_type"),
        ({"flag": None}, "empty-value"),
    ],
)
def test_a_section_takes_only_what_it_names(data: dict[str, Any], kind: str) -> None:
    """Keys and types are exact: nothing is converted, nothing is ignored."""
    with pytest.raises(ValidationError) as caught:
        Example.model_validate(data)
    assert [e["type"] for e in caught.value.errors()] == [kind]


def test_trap_a_key_without_a_value_is_not_an_absent_key() -> None:
    """`names:` with nothing behind it is null in YAML; read as absent it could allow what it was to deny."""
    with pytest.raises(ValidationError):
        Example.model_validate({"names": None})
    assert Example.model_validate({}).names is None


def test_a_wrong_value_says_what_and_what_to_do() -> None:
    """Braces in a text are text; the offset says where in the value."""
    error = wrong("code", "not {this}", "write {that}", 4)
    assert error.type == "code"
    assert error.context == {"text": "not {this}", "remedy": "write {that}", "offset": 4}
    assert str(error.message()) == "not {this} — write {that}"
