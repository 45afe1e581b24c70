"""Pages from templates: everything that is put in is escaped, nothing runs, nothing is kept by a cache or framed by others.

An operator may replace templates by files of the same name in a directory of their own.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PackageLoader, StrictUndefined

from authproxy.web.portal.texts import TEXTS

STYLE = files("authproxy.web.portal").joinpath("style.css").read_bytes()
SECURITY = {
    # No form-action: browsers hold every redirect after a form against it (CSP level 3, section 6.4.1). Ours lead on to
    # backends and providers, which lead on to where they like; under it their buttons did nothing at all.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Pages:
    """The templates; those in `folder` go before our own."""

    def __init__(self, folder: Path | None = None) -> None:
        own = PackageLoader("authproxy.web.portal")
        loaders = [own] if folder is None else [FileSystemLoader(folder), own]
        self._environment = Environment(
            loader=ChoiceLoader(loaders),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["moment"] = moment

    def page(self, name: str, status: int = 200, **values: Any) -> web.Response:
        """The page of a template."""
        text = self._environment.get_template(f"{name}.html").render(texts=TEXTS, **values)
        return answer(text.encode(), "text/html; charset=utf-8", status)


def answer(
    body: bytes, kind: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """An answer with the headers that all of ours have."""
    return web.Response(
        body=body, status=status, headers={**SECURITY, "Content-Type": kind, **(headers or {})}
    )


def redirect(location: str) -> web.Response:
    """To another page, with GET (RFC 9110 section 15.4.4)."""
    return web.Response(status=303, headers={**SECURITY, "Location": location})


def moment(seconds: float) -> str:
    """A time for people."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
