"""How the files of the operator are checked for their shape: one base for their models, and one kind of error.

An error of a value says what is wrong and what to do; whoever read the file adds the place.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A mapping of a file: unknown keys are errors, a key has a value, and keeps its YAML type (`yes` is no boolean)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_empty_value(cls, value: Any) -> Any:
        # `deny:` with nothing behind it is null in YAML; taken for absent, it would allow (facts 36).
        if value is None:
            raise wrong(
                "empty-value", "stands here without a value", "write one, or remove the key"
            )
        return value


def wrong(code: str, text: str, remedy: str, offset: int = 0) -> PydanticCustomError:
    """The error of a value; `offset` (characters into it) is where it goes wrong."""
    # The text goes in as context: pydantic would read braces in a template as its own.
    context = {"text": text, "remedy": remedy, "offset": offset}
    return PydanticCustomError(code, "{text} — {remedy}", context)
