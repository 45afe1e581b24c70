"""A rotation of the assertion's key under load: a backend that verifies by the published keys refuses nobody, ever."""

import http.client
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from authproxy.authn.issue import generate_key
from authproxy.authn.keyring import read_keyring
from authproxy.backend import Verifier
from authproxy.backend.wsgi import Verified
from tests.backend.proxy import parts
from tests.end_to_end.fleet import Fleet, fleet, guarded
from tests.end_to_end.served import free_port, run, wait_until

ISSUER = "https://proxy.test"
JWKS = "/.authproxy/jwks.json"


class Threading(ThreadingMixIn, WSGIServer):
    """A thread for each connection."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    """No line a request."""

    def log_message(self, *_: Any) -> None:
        """Nothing."""


class Kit:
    """A backend behind the kit. It does not ask for a key that it does not know: what it needs must be there before."""

    def __init__(self, keys: str) -> None:
        self.kids: Counter[str] = Counter()
        self.newest = ""
        verifier = Verifier(issuer=ISSUER, audience="app", keys=keys, refresh=0.3, cooldown=3600)
        guarded_app = Verified(self._app, verifier)
        self._server = make_server("127.0.0.1", 0, guarded_app, Threading, Quiet)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def _app(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.newest = parts(environ["HTTP_X_AUTHPROXY_ASSERTION"])[0]["kid"]
        self.kids[self.newest] += 1
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Callers:
    """Several that ask all the time, each with an identity of its own."""

    def __init__(self, made: Fleet, number: int = 4) -> None:
        self.statuses: Counter[int] = Counter()
        self._made = made
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(number)]
        for thread in self._threads:
            thread.start()

    def _ask(self, number: int) -> None:
        fields = {"Authorization": f"Bearer {self._made.issuer.token(f'caller-{number}')}"}
        while not self._over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._made.port, timeout=10)
            for _ in range(20):
                connection.request("GET", "/app", headers=fields)
                answer = connection.getresponse()
                answer.read()
                self.statuses[answer.status] += 1
                time.sleep(0.01)
            connection.close()

    def stop(self) -> None:
        """Until each has its last answer."""
        self._over.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def rotating(folder: Path) -> Iterator[tuple[Fleet, Kit]]:
    """Two workers that assert for two seconds, and the backend behind them."""
    port = free_port()
    kit = Kit(f"http://127.0.0.1:{port}{JWKS}")
    (folder / "assertion.pem").write_bytes(generate_key("ES256"))
    (folder / "assertion.pem").chmod(0o600)
    on = {"enabled": True, "issuer": ISSUER, "key": {"file": "assertion.pem"}, "ttl": "2s"}
    settings: dict[str, Any] = {
        "listeners": [{"address": f"127.0.0.1:{port}"}],
        "upstreams": {"app": {"servers": [f"http://127.0.0.1:{kit.port}"]}},
        "identity": {"assertion": on},
        "routes": [guarded("app")],
    }
    try:
        with fleet(folder, **settings) as made:
            yield made, kit
    finally:
        kit.stop()


def published(made: Fleet) -> set[str]:
    """What a worker publishes."""
    connection = http.client.HTTPConnection("127.0.0.1", made.port, timeout=10)
    connection.request("GET", JWKS)
    found = {key["kid"] for key in json.loads(connection.getresponse().read())["keys"]}
    connection.close()
    return found


def everywhere(made: Fleet, kids: set[str]) -> bool:
    """Do all workers come to publish these?"""
    return bool(wait_until(lambda: all(published(made) == kids for _ in range(16)), 8))


def rotate(made: Fleet) -> list[str]:
    """The step that is due; the keys in the file then."""
    told = run("keys", "rotate", "--config", str(made.file))
    assert told.returncode == 0, told.stderr
    return [key.kid for key in read_keyring((made.folder / "assertion.pem").read_bytes()).keys]


def later(made: Fleet) -> None:
    """As if the last step had been long ago."""
    file, new = made.folder / "assertion.pem", made.folder / "later.tmp"
    new.write_bytes(re.sub(rb"since 20\d\d", b"since 2001", file.read_bytes()))
    new.chmod(0o600)
    new.rename(file)


def test_a_rotation_under_load_fails_nobody(tmp_path: Path) -> None:
    """Published, then signing, then alone: thousands of requests over two workers, each verified by what was published."""
    with rotating(tmp_path) as (made, kit):
        callers = Callers(made)
        try:
            old = read_keyring((tmp_path / "assertion.pem").read_bytes()).current.kid
            assert wait_until(lambda: kit.newest == old)
            kept, new = rotate(made)
            assert kept == old
            assert everywhere(made, {old, new})
            early = run("keys", "rotate", "--config", str(made.file))
            assert (early.returncode, "nothing is due" in early.stderr) == (1, True)
            assert kit.kids[new] == 0
            time.sleep(1)  # the backend has asked again
            later(made)
            assert rotate(made) == [new, old]
            assert wait_until(lambda: kit.newest == new, 8)
            time.sleep(3)  # longer than the ttl
            later(made)
            assert rotate(made) == [new]
            assert everywhere(made, {new})
            time.sleep(1)
        finally:
            callers.stop()
        assert set(callers.statuses) == {200}
        assert set(kit.kids) == {old, new}
        assert kit.kids[old] > 50
        assert kit.kids[new] > 50
