"""An aiohttp application behind the verifier: who is calling is in its request, or its handlers are not asked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from authproxy.backend.aiohttp import IDENTITY, verified
from tests.backend.proxy import assertion, verifier

NAME = "X-Authproxy-Assertion"
Client = TestClient[web.Request, web.Application]


@asynccontextmanager
async def running(folder: Path, *, required: bool = True) -> AsyncIterator[Client]:
    """An application that says who is calling, and a client of it."""

    async def whoami(request: web.Request) -> web.Response:
        identity = request[IDENTITY]
        return web.Response(text=identity.subject if identity else "nobody")

    app = web.Application(middlewares=[verified(verifier(folder), required=required)])
    app.router.add_get("/", whoami)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_the_identity_is_in_the_request(tmp_path: Path) -> None:
    """Under one name."""
    async with running(tmp_path) as client, client.get("/", headers={NAME: assertion()}) as answer:
        assert (answer.status, await answer.text()) == (200, "alice")


@pytest.mark.parametrize("path", ["/", "/nowhere"])
async def test_nobody_else_gets_in(tmp_path: Path, path: str) -> None:
    """401 as problem+json, also where there would be a 404."""
    async with running(tmp_path) as client:
        for headers in ([], [(NAME, "evil")], [(NAME, assertion()), (NAME, assertion())]):
            async with client.get(path, headers=headers) as answer:
                assert answer.status == 401
                assert answer.content_type == "application/problem+json"
                assert (await answer.json(content_type=None))["status"] == 401


async def test_where_it_is_not_required(tmp_path: Path) -> None:
    """Nobody is None; a bad one is refused all the same."""
    async with running(tmp_path, required=False) as client:
        async with client.get("/") as answer:
            assert (answer.status, await answer.text()) == (200, "nobody")
        async with client.get("/", headers={NAME: assertion(audience="billing")}) as answer:
            assert answer.status == 401
