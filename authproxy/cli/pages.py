"""What `--help` shows: the docstring of each command, with its examples as they are typed.

A line of a list says the first thing of the docstring, whole. An example is never broken, so that it can be copied.
"""

import inspect
import re

import typer

ENDS = re.compile(r"[.:;](?=\s|$)")
EXAMPLE = re.compile(r"(?m)^Example: ")
UNBROKEN = "\b\n"  # typer leaves the lines of a paragraph that begins so as they are


def dress(app: typer.Typer) -> None:
    """Give every command of the program, and of its groups, its page and its line in the list."""
    for command in app.registered_commands:
        doc = inspect.getdoc(command.callback) or ""
        command.help, command.short_help = page(doc), line(doc)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            dress(group.typer_instance)


def page(doc: str) -> str:
    """The whole text; each paragraph of examples stays as it was written."""
    return "\n\n".join(
        UNBROKEN + EXAMPLE.sub("  ", "Example:\n" + part) if EXAMPLE.match(part) else part
        for part in doc.split("\n\n")
    )


def line(doc: str) -> str:
    """What the docstring says first, up to its first stop, as one line."""
    return ENDS.split(" ".join(doc.split("\n\n", maxsplit=1)[0].split()), maxsplit=1)[0] + "."
