"""Annotations of GitHub's workflows: a line on stdout that shows at its place in a pull request's files."""

from authproxy.model.errors import Severity


def annotation(severity: Severity, file: str, line: int, column: int, title: str, text: str) -> str:
    """One workflow command with its line end; `%`, line ends, and in properties `:` and `,` are escaped.

    So nothing of the text can be a command of its own, whatever a file names its things.
    """
    place = f"file={_property(file)},line={line},col={column},title={_property(title)}"
    return f"::{severity} {place}::{_data(text)}\n"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
