"""The examples of docs/backends.md as they stand there, behind a running proxy: ASGI, WSGI, aiohttp, and Node with jose."""

import asyncio
import http.client
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

import pytest
from aiohttp import web

from authproxy.model.identity import Identity
from tests.backend.proxy import ISSUER, PEM, assertion, forged
from tests.backend.test_assertion import public_pem
from tests.end_to_end.credentials import Issuer
from tests.end_to_end.load import Background
from tests.end_to_end.nginx import absent, need
from tests.end_to_end.served import (
    Served,
    configuration,
    free_port,
    wait_until,
    write_configuration,
)
from tests.end_to_end.test_rotation import Quiet

ROOT = Path(__file__).resolve().parent.parent.parent
KINDS = ("asgi", "wsgi", "aiohttp", "node")
NAME = "X-Authproxy-Assertion"
Answer = tuple[int, str]


def example(kind: str, port: int) -> str:
    """The text in the documentation; only names and addresses are those of the test."""
    language = "js" if kind == "node" else "python"
    blocks = re.findall(
        rf"```{language}\n(.*?)```", (ROOT / "docs/backends.md").read_text(), re.DOTALL
    )
    (text,) = [b for b in blocks if {"node": "jose", "asgi": "backend.asgi", "wsgi": "backend.wsgi", "aiohttp": "backend.aiohttp"}[kind] in b]  # fmt: skip
    url = "https://proxy.example.com"
    assert url in text
    text = text.replace(f"{url}/.authproxy", f"http://127.0.0.1:{port}/.authproxy")
    return str(re.sub(r"(['\"])orders\1", f"'{kind}'", text.replace(url, ISSUER)))


def run_example(kind: str, port: int) -> dict[str, Any]:
    """What a Python example defines."""
    defined: dict[str, Any] = {}
    exec(compile(example(kind, port), f"docs/backends.md ({kind})", "exec"), defined)
    return defined


@dataclass
class Stage:
    """The proxy, its issuer of tokens, and the ports of the backends."""

    served: Served
    issuer: Issuer
    ports: dict[str, int]
    seen: list[str]

    def through(self, kind: str) -> Answer:
        """What the caller gets through the proxy."""
        token = self.issuer.token("alice", groups=["eng", "ops"])
        return get(self.served.ports[0], f"/{kind}/x", [("Authorization", f"Bearer {token}")])

    def beside(self, kind: str, *values: str) -> Answer:
        """What whoever reaches the backend without the proxy gets, with these assertions."""
        if kind == "asgi":
            return call_asgi(run_example(kind, self.served.ports[0])["app"], values)
        return get(self.ports[kind], "/x", [(NAME, value) for value in values])


def get(port: int, path: str, fields: Sequence[tuple[str, str]] = ()) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.putrequest("GET", path)
        for name, value in fields:
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def call_asgi(app: Any, values: Sequence[str]) -> Answer:
    """The application itself, with nothing between."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    fields = [(NAME.lower().encode(), value.encode()) for value in values]
    asyncio.run(app({"type": "http", "headers": fields}, None, send))
    return sent[0]["status"], sent[1]["body"].decode()


def start_asgi(stack: ExitStack, proxy: int, port: int, seen: list[str], _folder: Path) -> None:
    """A server that hands the assertion of each request to the application."""
    app = run_example("asgi", proxy)["app"]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            values = self.headers.get_all(NAME, [])
            seen.extend(values)
            status, body = call_asgi(app, values)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    in_thread(stack, ThreadingHTTPServer(("127.0.0.1", port), Handler))


def start_wsgi(stack: ExitStack, proxy: int, port: int, _seen: list[str], _folder: Path) -> None:
    """The standard library's server."""
    app = run_example("wsgi", proxy)["application"]
    in_thread(stack, make_server("127.0.0.1", port, app, handler_class=Quiet))


def in_thread(stack: ExitStack, server: Any) -> None:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    for ending in (thread.join, server.server_close, server.shutdown):  # the last one first
        stack.callback(ending)


def start_aiohttp(stack: ExitStack, proxy: int, port: int, _seen: list[str], _folder: Path) -> None:
    """Aiohttp's own."""
    background = Background()
    stack.callback(background.stop)

    async def start() -> web.AppRunner:
        runner = web.AppRunner(run_example("aiohttp", proxy)["app"])
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return runner

    runner = background.do(start())
    stack.callback(lambda: background.do(runner.cleanup()))


def start_node(stack: ExitStack, proxy: int, port: int, _seen: list[str], folder: Path) -> None:
    """Node and jose, which nobody here wrote."""
    modules = ROOT / "build" / "node" / "node_modules"
    node = need("node")
    if not (modules / "jose").is_dir():
        absent("jose")
    (folder / "node_modules").symlink_to(modules)
    text = example("node", proxy).replace("listen(3000", f"listen({port}")
    (folder / "backend.mjs").write_text(text)
    process = subprocess.Popen([node, str(folder / "backend.mjs")], stdin=subprocess.DEVNULL)
    stack.callback(process.wait, 10)
    stack.callback(process.terminate)
    assert wait_until(lambda: answers(port), 10), f"node does not start: {process.poll()}"


def answers(port: int) -> bool:
    try:
        return get(port, "/")[0] == 401
    except OSError:
        return False


STARTS: dict[str, Callable[[ExitStack, int, int, list[str], Path], None]] = {
    "asgi": start_asgi,
    "wsgi": start_wsgi,
    "aiohttp": start_aiohttp,
    "node": start_node,
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The proxy that asserts; the backends are started by the tests that need them."""
    folder, issuer = tmp_path_factory.mktemp("backends"), Issuer()
    ports = {kind: free_port() for kind in KINDS}
    (folder / "assertion.pem").write_bytes(PEM)
    (folder / "assertion.pem").chmod(0o600)
    on = {"enabled": True, "issuer": ISSUER, "key": {"file": "assertion.pem"}}
    upstreams = {kind: {"servers": [f"http://127.0.0.1:{port}"]} for kind, port in ports.items()}
    routes = [
        {"name": kind, "match": {"paths": [f"/{kind}/**"]}, "upstream": kind, "authenticate": ["tokens"], "allow": "authenticated"}
        for kind in KINDS
    ]  # fmt: skip
    config = configuration(upstreams, identity={"assertion": on})
    served = Served(write_configuration(folder, issuer, config, routes))
    yield Stage(served, issuer, ports, [])
    assert served.stop() == 0


@pytest.fixture(params=KINDS, scope="module")
def kind(
    request: pytest.FixtureRequest, stage: Stage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """One of the examples, running."""
    name: str = request.param
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp(name)
        STARTS[name](stack, stage.served.ports[0], stage.ports[name], stage.seen, folder)
        yield name


def test_through_the_proxy_it_is_known_who_calls(stage: Stage, kind: str) -> None:
    """The example as it is printed serves the caller that the proxy verified."""
    assert stage.through(kind) == (200, "alice eng,ops")
    assert stage.through(kind) == (200, "alice eng,ops")


def test_beside_the_proxy_nobody_is(stage: Stage, kind: str) -> None:
    """Whoever reaches the backend itself and brings nothing, or something that the proxy did not sign for it."""
    now = time.time()
    good = assertion(Identity("tokens", "alice"), audience=kind)
    own = {"aud": kind}
    refused = {
        "nothing": [],
        "for another upstream": [assertion(audience="billing")],
        "for another example": [assertion(audience=next(k for k in KINDS if k != kind))],
        "expired": [assertion(audience=kind, now=now - 120)],
        "a test token": [stage.issuer.token("alice", aud=kind)],
        "a test token of this key": [forged({"typ": "JWT"}, {**own, "iss": "https://issuer.test"})],
        "another typ": [forged({"typ": "JWT"}, own)],
        "alg none": [unsigned(kind)],
        "HS256 with the public key": [forged({"alg": "HS256"}, own, "HS256", public_pem())],
        "another issuer": [assertion(audience=kind, issuer="https://other.test")],
        "another key": [assertion(audience=kind, number=2)],
        "tampered": [f"{good[:-8]}{'A' * 8}"],
        "junk": ["junk"],
        "two": [good, good],
    }
    found = {what: stage.beside(kind, *values)[0] for what, values in refused.items()}
    assert found == dict.fromkeys(refused, 401)
    assert stage.beside(kind, good) == (200, "alice ")


def unsigned(audience: str) -> str:
    """A good one but for its signature, which it says it has not."""
    text = forged({"alg": "none"}, {"aud": audience})
    return text[: text.rindex(".") + 1]


def test_what_the_proxy_sent_is_refused_elsewhere(stage: Stage) -> None:
    """The very assertion that the running proxy made for one upstream opens no other."""
    sent = stage.seen[-1]
    assert stage.beside("asgi", sent)[0] == 200
    text = run_example("asgi", stage.served.ports[0])["app"]
    assert call_asgi(text, [sent])[0] == 200
    defined: dict[str, Any] = {}
    exec(example("asgi", stage.served.ports[0]).replace("'asgi'", "'wsgi'"), defined)
    status, body = call_asgi(defined["app"], [sent])
    assert (status, json.loads(body)["code"]) == (401, "assertion_invalid")
