"""A proxy in one process, on real loopback sockets: a request in, what the backend saw, the answer out.

The product's own load, compile_runtime and Worker; the backend is raw and says exactly what it is told. Leaving a
playbook holds the proxy to what is true of every request: nothing escaped a callback, nothing was logged as an error,
no task is left behind.
"""

import asyncio
import gc
import json
import logging
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from authproxy.authn.issue import generate_key, public_jwks, sign_test_token
from authproxy.config.authenticators import JwtAuthenticator
from authproxy.config.load import Loaded, load
from authproxy.runtime import Runtime, compile_runtime
from authproxy.server.listeners import Listening
from authproxy.server.reload import prepare
from authproxy.server.sockets import listen
from authproxy.server.tls import read_certificates
from authproxy.server.worker import Worker
from authproxy.telemetry.metrics import Pages
from authproxy.web.status import Facts
from tests.telemetry.counted import outcome
from tests.wire import (
    HELLO,
    LINE_MOST,
    Answer,
    Backend,
    Headers,
    Json,
    Link,
    Play,
    answering,
    request,
    until,
)

LONGEST = 20.0  # seconds for one playbook: a test that hangs is a test that fails
ISSUER = "https://issuer.test"
NO_ENVIRONMENT: Mapping[str, str] = MappingProxyType({})
OPEN: Json = {
    "name": "open", "match": {"paths": ["/**"]}, "upstream": "backend", "authenticate": "none",
}  # fmt: skip
GUARDED: Json = {
    "name": "guarded", "match": {"paths": ["/guarded/**"]}, "upstream": "backend",
    "authenticate": ["tokens"], "allow": "authenticated",
}  # fmt: skip


@cache
def signing_key() -> bytes:
    """The key of every token, made once a session."""
    return generate_key("ES256")


def token(subject: str = "alice", *, key: bytes | None = None, **wishes: Any) -> str:
    """A token that the playbook's authenticator takes; `wishes` are those of `sign_test_token`."""
    settings = JwtAuthenticator.model_validate(authenticator())
    pem = key or signing_key()
    return sign_test_token(settings, pem, subject=subject, **{"now": time.time(), **wishes})


def authenticator() -> Json:
    """The settings of `tokens`."""
    keys = {"file": "jwks.json"}
    return {
        "type": "jwt", "issuer": ISSUER, "audiences": ["api"], "algorithms": ["ES256"], "keys": keys,
    }  # fmt: skip


@dataclass(slots=True)
class Proxy:
    """A running proxy, its backend, and a client."""

    worker: Worker
    runtime: Runtime
    loaded: Loaded
    backend: Backend
    addresses: list[tuple[str, int]]
    serving: "asyncio.Task[None]"
    errors: list[str] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    async def connect(self, listener: int = 0, tls: ssl.SSLContext | None = None) -> Link:
        """A new connection of a client."""
        host, port = self.addresses[listener]
        name = "localhost" if tls else None
        link = Link(*await asyncio.open_connection(host, port, ssl=tls, server_hostname=name))
        self.links.append(link)
        return link

    async def request(
        self,
        method: str,
        target: str,
        headers: Headers = (),
        body: bytes = b"",
        token: str | None = None,
        link: Link | None = None,
    ) -> Answer:
        """One request, on a connection of its own unless there is one; the answer, with what the backend saw."""
        before = len(self.backend.seen)
        on = link or await self.connect()
        await on.send(request(method, target, headers, body, token))
        answer = await on.answer(method)
        answer.seen = self.backend.seen[before:]
        if link is None:
            on.close()
        return answer

    async def raw(self, data: bytes) -> bytes:
        """Everything that is answered to these bytes until the proxy closes."""
        link = await self.connect()
        await link.send(data)
        return await link.rest()

    def log(self) -> list[Json]:
        """The access log so far."""
        self.runtime.access_log.flush()
        text = (self.loaded.folder / "access.log").read_text()
        return [json.loads(line) for line in text.splitlines()]

    async def logged(self, count: int = 1) -> list[Json]:
        """The access log once it has so many lines."""
        await until(lambda: len(self.log()) >= count)
        return self.log()

    def facts(self) -> Facts:
        """What `/status` is made of, at once."""
        return outcome(self.worker._facts())

    async def canary(self) -> None:
        """Whatever happened before, the next one is served."""
        answer = await self.request("GET", "/canary")
        assert (answer.status, len(answer.seen)) == (200, 1)


def write_files(folder: Path, config: Json, routes: Sequence[Json]) -> Loaded:
    """A configuration in a folder; JSON is YAML."""
    (folder / "policies").mkdir()
    (folder / "jwks.json").write_text(json.dumps(public_jwks([signing_key()], ["ES256"])))
    (folder / "policies" / "routes.yaml").write_text(json.dumps({"routes": list(routes)}))
    (folder / "authproxy.yaml").write_text(json.dumps(config))
    return load(folder / "authproxy.yaml")


def configuration(server: str, **changes: Any) -> Json:
    """A whole configuration; `changes` replace its parts, `timeouts` and `upstream` are the upstream's own."""
    upstream = {"servers": [server], "timeouts": changes.pop("timeouts", {})}
    upstream |= changes.pop("upstream", {})
    return {
        "listeners": [{"address": "127.0.0.1:0"}],
        "admin": False,
        "state": {"url": "memory:"},
        "authenticators": {"tokens": authenticator()},
        "upstreams": {"backend": upstream},
        "logging": {"access": {"path": "access.log"}},
        **changes,
    }


def listening(loaded: Loaded) -> list[Listening]:
    """The listeners of a configuration, bound."""
    found = []
    for index, one in enumerate(loaded.usable().listeners):
        certificates = read_certificates(loaded, index, one.tls) if one.tls else None
        sock = listen(one.address)
        found.append(Listening(sock, str(one.address), one, certificates))
    return found


class Errors(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self, kept: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        """One more."""
        self._kept.append(record.getMessage())


@asynccontextmanager
async def playbook(
    *routes: Json,
    play: Play | bytes = HELLO,
    folder: Path | None = None,
    spoil: Callable[[Path], None] = lambda _folder: None,
    environ: Mapping[str, str] = NO_ENVIRONMENT,
    **config: Any,
) -> AsyncIterator[Proxy]:
    """A proxy with these routes (by default `OPEN` and `GUARDED`) in front of a backend that plays `play`.

    `spoil` is called with its folder before it starts.
    """
    backend = Backend(play if callable(play) else answering(play))
    server = await asyncio.start_server(backend.serve, "127.0.0.1", 0, limit=LINE_MOST)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            loaded = write_files(
                Path(place), configuration(url, **config), routes or (OPEN, GUARDED)
            )
            spoil(loaded.folder)
            async with serving(loaded, backend, environ) as proxy:
                yield proxy
    finally:
        server.close()
        await backend.end()


@asynccontextmanager
async def serving(
    loaded: Loaded, backend: Backend, environ: Mapping[str, str] = NO_ENVIRONMENT
) -> AsyncIterator[Proxy]:
    """The proxy itself, until the end of the playbook."""
    runtime, sockets = compile_runtime(loaded, environ), listening(loaded)
    reloads = partial(prepare, loaded.file, environ)
    worker = Worker(runtime, sockets, None, reloads=reloads, pages=Pages(1))
    ready = asyncio.Event()
    addresses = [one.sock.getsockname() for one in sockets]
    running = asyncio.get_running_loop().create_task(worker.run(ready.set))
    proxy = Proxy(worker, runtime, loaded, backend, addresses, running)
    async with held_to_its_word(proxy):
        try:
            async with asyncio.timeout(LONGEST):
                await ready.wait()
                yield proxy
        finally:
            await end(proxy)


async def end(proxy: Proxy) -> None:
    """Everybody leaves; the proxy drains, and at once where the test failed."""
    for link in proxy.links:
        link.close()
    proxy.worker.stop()
    if sys.exc_info()[0] is not None:
        proxy.worker.stop()
    await proxy.serving
    await proxy.backend.end()


@asynccontextmanager
async def held_to_its_word(proxy: Proxy) -> AsyncIterator[None]:
    """Fails where anything escaped, was logged as an error or is still running in the end."""
    loop, handler = asyncio.get_running_loop(), Errors(proxy.errors)
    escaped: list[Json] = []
    tasks = asyncio.all_tasks()
    loop.set_exception_handler(lambda _loop, context: escaped.append(context))
    loggers = [logging.getLogger(name) for name in ("authproxy", "aiohttp")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
        await asyncio.sleep(0)
        gc.collect()  # what nobody awaited complains when it is collected
        left = {task for task in asyncio.all_tasks() - tasks if not task.done()}
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        loop.set_exception_handler(None)
    assert (escaped, proxy.errors, proxy.backend.complaints, left) == ([], [], [], set())
