"""A WSGI application behind the verifier: who is calling is in its environment, or it is not asked at all."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from authproxy.backend.wsgi import Verified
from tests.backend.proxy import assertion, verifier


class Recorder:
    """An application that notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.asked.append(environ)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]


def ask(app: Any, value: str | None = None) -> tuple[int, dict[str, str], bytes]:
    """The answer; what PEP 3333 asks of both sides is looked at by the standard library."""
    environ: dict[str, Any] = {"QUERY_STRING": ""}
    setup_testing_defaults(environ)
    if value is not None:
        environ["HTTP_X_AUTHPROXY_ASSERTION"] = value
    told: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        told.extend((int(status[:3]), dict(headers)))
        return lambda _data: None

    result = validator(app)(environ, start_response)
    try:
        body = b"".join(result)
    finally:
        result.close()  # type: ignore[attr-defined]  # the validator's own iterator has it
    return told[0], told[1], body


def test_the_identity_is_in_the_environment(tmp_path: Path) -> None:
    """Frozen, under one name."""
    app = Recorder()
    assert ask(Verified(app, verifier(tmp_path)), assertion())[0] == 200
    assert app.asked[0]["authproxy.identity"].groups == ("eng", "ops")


@pytest.mark.parametrize("value", [None, "", "evil", "a,b"])
def test_nobody_else_gets_in(tmp_path: Path, value: str | None) -> None:
    """401 as problem+json; the application is not asked."""
    app = Recorder()
    status, headers, body = ask(Verified(app, verifier(tmp_path)), value)
    assert (status, app.asked) == (401, [])
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Content-Length"] == str(len(body))
    assert json.loads(body)["code"] == ("assertion_missing" if value is None else "assertion_invalid")  # fmt: skip


def test_two_good_ones_are_not_one(tmp_path: Path) -> None:
    """As servers join them."""
    app = Recorder()
    assert ask(Verified(app, verifier(tmp_path)), f"{assertion()},{assertion()}")[0] == 401
    assert app.asked == []


def test_where_it_is_not_required(tmp_path: Path) -> None:
    """Nobody is None; a bad one is refused all the same."""
    app = Recorder()
    guarded = Verified(app, verifier(tmp_path), required=False)
    assert ask(guarded)[0] == 200
    assert app.asked[0]["authproxy.identity"] is None
    assert ask(guarded, assertion(audience="billing"))[0] == 401
    assert len(app.asked) == 1
