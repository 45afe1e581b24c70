"""How the files of the operator are checked for their shape: one base for their models, and one kind of error.

An error of a value says what is wrong and what to do; whoever read the file adds the place.
"""

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A mapping of a file: unknown keys are errors, values keep their YAML type (`yes` is no boolean)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def wrong(code: str, text: str, remedy: str, offset: int = 0) -> PydanticCustomError:
    """The error of a value; `offset` (characters into it) is where it goes wrong."""
    # The text goes in as context: pydantic would read braces in a template as its own.
    context = {"text": text, "remedy": remedy, "offset": offset}
    return PydanticCustomError(code, "{text} — {remedy}", context)
