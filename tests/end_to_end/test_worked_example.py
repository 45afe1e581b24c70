"""The worked example of the documentation: every command on the page is run, and prints what the page says."""

import os
from pathlib import Path

from tests.end_to_end.nginx import need
from tests.end_to_end.pages import commands, replayed, without_what_varies
from tests.end_to_end.served import free_port

PAGE = Path(__file__).parents[2] / "docs" / "worked-example.md"


def test_the_page_says_what_happens(tmp_path: Path) -> None:
    """Word for word, but for ids, times and ports. With AUTHPROXY_REWRITE_PAGES=1 the page is written anew: read it."""
    need("curl")
    page = PAGE.read_text()
    ports = {port: str(free_port()) for port in ("8080", "9000")}
    found = replayed(page, tmp_path, ports)
    if os.environ.get("AUTHPROXY_REWRITE_PAGES"):
        PAGE.write_text(found)
    assert without_what_varies(found) == without_what_varies(page)


def test_a_page_is_taken_apart() -> None:
    """A command is what follows `$ `, to the end of its line; all else is what it prints."""
    first, second = commands("$ a b\nx\n\ny\n$ c\n")
    assert (first.text, first.wanted, second.text, second.wanted) == ("a b", "x\n\ny\n", "c", "")
