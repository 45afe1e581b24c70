"""What stands before a backend, for the tests of its kit: the product's own signer, and a server of its public keys."""

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from authproxy.authn.assertion import Assertions
from authproxy.authn.keyring import Keyring, read_keyring
from authproxy.backend import Verifier
from authproxy.model.identity import Identity
from tests.authn.tokens import pem_of, sign

ISSUER, AUDIENCE = "https://proxy.test", "orders"
ALICE = Identity("tokens", "alice", groups=("eng", "ops"), email="alice@a.test")
PEM = pem_of("ES256", 1)


def keyring(*numbers: int) -> Keyring:
    """Keys by number; the first signs."""
    return read_keyring(b"".join(pem_of("ES256", number) for number in numbers))


def assertion(
    identity: Identity = ALICE,
    *,
    issuer: str = ISSUER,
    audience: str = AUDIENCE,
    number: int = 1,
    now: float | None = None,
    ttl: float = 60,
) -> str:
    """As the proxy signs it."""
    line = Assertions(issuer, keyring(number), ttl).towards(audience)(identity, now or time.time())
    assert line is not None
    return line.decode().partition(": ")[2].strip()


def parts(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims."""
    header, claims, _ = text.split(".")
    found = [json.loads(base64.urlsafe_b64decode(part + "==")) for part in (header, claims)]
    return found[0], found[1]


def forged(
    header: dict[str, Any] | None = None, claims: dict[str, Any] | None = None, algorithm: str = "ES256", pem: bytes = PEM
) -> str:  # fmt: skip
    """A good assertion but for these members; None takes one away. Rightly signed, whatever it says."""
    good_header, good_claims = parts(assertion())
    made = [
        {name: value for name, value in {**good, **(changed or {})}.items() if value is not None}
        for good, changed in ((good_header, header), (good_claims, claims))
    ]
    return sign(made[0], made[1], algorithm, pem)


def key_file(folder: Path, *numbers: int) -> str:
    """A file with the public keys."""
    file = folder / "assertion-jwks.json"
    file.write_bytes(keyring(*(numbers or (1,))).jwks)
    return str(file)


def verifier(folder: Path, **changes: Any) -> Verifier:
    """What a backend makes, with the keys in a file."""
    settings = {"issuer": ISSUER, "audience": AUDIENCE, "keys": key_file(folder), **changes}
    return Verifier(**settings)


class KeyServer:
    """Serves a key set; what it answers can be changed, and what was asked is counted."""

    def __init__(self, jwks: bytes, tls: ssl.SSLContext | None = None) -> None:
        self.body: bytes | None = jwks  # None: 500
        self.status, self.delay, self.asked = 200, 0.0, 0
        self.location = ""
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                served.asked += 1
                time.sleep(served.delay)
                self.send_response(served.status if served.body is not None else 500)
                if served.location:
                    self.send_header("Location", served.location)
                self.send_header("Content-Length", str(len(served.body or b"")))
                self.end_headers()
                self.wfile.write(served.body or b"")

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()
        self.url = (
            f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_port}/.authproxy/jwks.json"
        )

    def redirect(self) -> None:
        """From now on lead elsewhere: to itself, so that a redirect that is followed shows."""
        self.status, self.location = 302, self.url

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def key_server(*numbers: int, tls: ssl.SSLContext | None = None) -> Iterator[KeyServer]:
    """A key server with these keys."""
    server = KeyServer(keyring(*(numbers or (1,))).jwks, tls)
    try:
        yield server
    finally:
        server.stop()
