"""Pages: everything put into one is escaped, every text is in the catalogue, an operator's own go first."""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError

from authproxy.web.portal.pages import SECURITY, Pages, moment, redirect
from authproxy.web.portal.texts import TEXTS

LOGIN: dict[str, Any] = {
    "host": "<i>", "next": '"><script>', "csrf": "c", "notice": "<b>", "password": True, "providers": [],
}  # fmt: skip


def body(pages: Pages, name: str, **values: Any) -> str:
    content = pages.page(name, **values).body
    assert isinstance(content, bytes)
    return content.decode()


def test_everything_is_escaped() -> None:
    """Host, return path and notice are data, whatever they hold."""
    page = body(Pages(), "login", **LOGIN)
    assert not re.search("<(i|b|script)>", page)
    assert "&lt;i&gt;" in page


def test_what_a_page_needs_must_be_there() -> None:
    """A name that is not given is an error, never an empty place."""
    with pytest.raises(UndefinedError):
        Pages().page("logout", csrf="c")


def test_an_operators_template_goes_first(tmp_path: Path) -> None:
    """Of the same name; the others stay ours."""
    (tmp_path / "logged_out.html").write_text("<p>{{ texts.logged_out_title }} of ours</p>")
    pages = Pages(tmp_path)
    assert body(pages, "logged_out") == f"<p>{TEXTS.logged_out_title} of ours</p>"
    assert "<form" in body(pages, "login", **LOGIN)


def test_templates_hold_no_text_of_their_own() -> None:
    """All of it stands in one catalogue, so that it can be read, mended and translated in one place."""
    folder = files("authproxy.web.portal").joinpath("templates")
    for file in folder.iterdir():
        bare = re.sub(r"(?s)<svg.*?</svg>|<[^>]*>|\{\{.*?\}\}|\{%.*?%\}", " ", file.read_text())
        assert not re.search(r"[A-Za-z]{2,}", bare), file.name


def test_every_text_is_used() -> None:
    """A text that no page and no module names is not there."""
    folder = Path(str(files("authproxy.web.portal").joinpath("")))
    source = "".join(p.read_text() for p in folder.rglob("*") if p.suffix in {".html", ".py"})
    unused = [
        name
        for name in vars(TEXTS)
        if f"texts.{name}" not in source and f"TEXTS.{name}" not in source
    ]
    assert unused == []


def test_redirects_and_times() -> None:
    """A redirect has the headers of a page; times are read by people."""
    answer = redirect("/a")
    assert (answer.status, answer.headers["Location"]) == (303, "/a")
    assert answer.headers["Cache-Control"] == SECURITY["Cache-Control"] == "no-store"
    assert moment(1_800_000_000) == "2027-01-15 08:00"
