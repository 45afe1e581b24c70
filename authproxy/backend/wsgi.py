"""WSGI (Django, Flask, Bottle): an application that is asked only when it is known who is calling.

The identity is in the environment, as `environ["authproxy.identity"]` (Django: `request.META`, Flask: `request.environ`).
Nothing is judged here.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from authproxy.backend.assertion import (
    ANSWER_HEADERS,
    HEADER,
    IDENTITY,
    AssertionRefused,
    Verifier,
    problem,
)

Environment = dict[str, Any]
Application = Callable[[Environment, Any], Iterable[bytes]]

# Two fields are joined with a comma (PEP 3333, CGI), which no assertion has: they are refused as one that is malformed.
_NAME = f"HTTP_{HEADER.upper().replace('-', '_')}"


class Verified:
    """The application behind the verifier: requests without a good assertion are answered here.

    `required` False lets requests without one through, with None as their identity; a bad one is refused all the same.
    """

    def __init__(self, app: Application, verifier: Verifier, *, required: bool = True) -> None:
        self._app = app
        self._verifier = verifier
        self._required = required

    def __call__(self, environ: Environment, start_response: Any) -> Iterable[bytes]:
        """Serve one request."""
        values = [environ[_NAME]] if _NAME in environ else []
        try:
            known = values or self._required
            environ[IDENTITY] = self._verifier.verify(values) if known else None
        except AssertionRefused as refused:
            return _refuse(start_response, refused)
        return self._app(environ, start_response)


def _refuse(start_response: Any, refused: AssertionRefused) -> Iterable[bytes]:
    body = problem(refused)
    headers = [*ANSWER_HEADERS, ("Content-Length", str(len(body)))]
    start_response(f"{refused.status} {HTTPStatus(refused.status).phrase}", headers)
    return [body]
