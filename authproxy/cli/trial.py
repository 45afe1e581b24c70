"""A trial of policies: the real `serve` with them on a free port, in front of a backend that tells what reached it.

Policies, limits and identity headers are the configuration's. Who verifies is not: each authenticator is replaced by one of
its name that takes test tokens, signed by a key that lives as long as the trial. Nothing outlives `serve_trial`.
"""

import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from authproxy.authn.issue import generate_key, public_jwks, sign_test_token
from authproxy.config.authenticators import JwtAuthenticator
from authproxy.config.load import Loaded, find_config, load, read_file
from authproxy.policy.cases import named_identities
from authproxy.policy.document import CaseIdentity

PATIENCE = 30.0
ENDING = 10.0
AUDIENCE = "authproxy-trial"
MARK = "X-Trial-Backend"
_READY = re.compile(r"authproxy ready pid=\d+ listen=127\.0\.0\.1:(\d+)")
# Theirs would change what the proxy does: another configuration, another state, another's readiness.
_NOT_OURS = frozenset({"AUTHPROXY_CONFIG", "STATE_DIRECTORY", "NOTIFY_SOCKET", "LISTEN_FDS"})
# Sections that hold in a trial as they are written.
_KEPT = ("session", "bounds", "rate_limits")


@dataclass(frozen=True, slots=True)
class TrialAnswer:
    """What came back. `code` is that of a refusal, `allow` where the backend answered; `backend` is what that got:
    `method`, `target` and `headers` (names in lower case), None where nothing reached it.
    """

    status: int
    code: str
    headers: Mapping[str, str]
    body: bytes
    backend: Mapping[str, Any] | None


class TrialServer:
    """The running proxy. `url` is where it listens; `identities` are those that the policy files name."""

    def __init__(self, port: int, key: bytes, loaded: Loaded) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.identities = named_identities(loaded.policy_files)
        self._key = key
        self._authenticators = tuple(loaded.usable().authenticators)

    def token(self, identity: str | Mapping[str, Any], ttl: float = 3600) -> str:
        """A token of this identity (a name, or what stands under one), good for `ttl` seconds.

        Raises:
            KeyError: nobody has this name, or no authenticator has the one that is asked for.
            ValueError: the mapping is no identity.
        """
        who = (
            self.identities[identity]
            if isinstance(identity, str)
            else CaseIdentity.model_validate(dict(identity))
        )
        name = who.authenticator or self._authenticators[0]
        if name not in self._authenticators:
            raise KeyError(name)
        told = {"email": who.email, "preferred_username": who.username, "name": who.name}
        claims = {key: value for key, value in told.items() if value is not None}
        return sign_test_token(
            JwtAuthenticator.model_validate(_tokens_of(name)), self._key,
            subject=who.subject, groups=who.groups, scopes=who.scopes,
            claims=claims | who.claims, ttl=ttl, now=time.time(),
        )  # fmt: skip

    def request(
        self,
        method: str,
        url: str,
        *,
        identity: str | Mapping[str, Any] | None = None,
        client: str = "127.0.0.1",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> TrialAnswer:
        """Send a request for this URL, as its identity from this address, and wait for the answer."""
        scheme, _, rest = url.partition("://")
        host, slash, path = rest.partition("/")
        told = {"Host": host, "X-Forwarded-For": client, "X-Forwarded-Proto": scheme}
        if identity is not None:
            told["Authorization"] = f"Bearer {self.token(identity)}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, slash + path or "/", body, {**told, **(headers or {})})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return _read(answer.status, found, content)


def _read(status: int, headers: Mapping[str, str], body: bytes) -> TrialAnswer:
    if MARK.lower() in headers:
        return TrialAnswer(status, "allow", headers, body, json.loads(headers[MARK.lower()]))
    problem = headers.get("content-type", "").startswith("application/problem+json") and body
    code = json.loads(problem)["code"] if problem else ""
    return TrialAnswer(status, code, headers, body, None)


class _Backend(BaseHTTPRequestHandler):
    """Answers everything, and says what it was asked in a field of the answer's head: a HEAD has no body."""

    protocol_version = "HTTP/1.1"

    def _tell(self) -> None:
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            key = name.lower()
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
        told = {"method": self.command, "target": self.path, "headers": headers}
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header(MARK, json.dumps(told))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):  # how http.server asks for a method, whichever it is
            return self._tell
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: it would be among the lines of the tests."""


def _tokens_of(name: str) -> dict[str, Any]:
    return {
        "type": "jwt", "issuer": f"https://trial.test/{name}", "audiences": [AUDIENCE], "algorithms": ["ES256"],
        "keys": {"file": "jwks.json"},
    }  # fmt: skip


def _configuration(loaded: Loaded, backend: str) -> dict[str, Any]:
    """The configuration of the trial, from that of the policies."""
    config = loaded.usable()
    written, _, _ = read_file(loaded.file)
    identity = {k: v for k, v in written.get("identity", {}).items() if k in {"profile", "strip"}}
    return {
        "listeners": [{"address": "127.0.0.1:0"}],
        "admin": False,
        "state": {"url": "memory:"},
        "trusted_proxies": {"networks": ["127.0.0.1/32"]},
        "failed_authentications": "1000000/minute",
        "authenticators": {name: _tokens_of(name) for name in config.authenticators},
        "upstreams": {n: {"servers": [backend], "host": u.host} for n, u in config.upstreams.items()},
        "identity": identity,
        "policies": [str(Path(source.file).absolute()) for _, source in loaded.policy_files],
        **{section: written[section] for section in _KEPT if section in written},
    }  # fmt: skip


@contextmanager
def serve_trial(file: str | os.PathLike[str] | None = None) -> Iterator[TrialServer]:
    """The proxy with the policies of this configuration (None: the one that the commands would find), until the end.

    Raises:
        ConfigError: the configuration cannot be used.
        RuntimeError: the proxy does not start; the text is what it said.
    """
    loaded = load(find_config(None if file is None else os.fspath(file), os.environ))
    key = generate_key("ES256")
    backend = ThreadingHTTPServer(("127.0.0.1", 0), _Backend)
    serving = threading.Thread(target=backend.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)  # fmt: skip
    with TemporaryDirectory(prefix="authproxy-trial-") as name, backend:
        folder = Path(name)
        settings = _configuration(loaded, f"http://127.0.0.1:{backend.server_port}")
        (folder / "authproxy.yaml").write_text(yaml.safe_dump(settings))
        (folder / "jwks.json").write_text(json.dumps(public_jwks([key], ["ES256"])))
        serving.start()
        try:
            with _proxy(folder) as port:
                yield TrialServer(port, key, loaded)
        finally:
            backend.shutdown()
            serving.join()


@contextmanager
def _proxy(folder: Path) -> Iterator[int]:
    """`authproxy serve` as a process of its own; gives its port."""
    said = folder / "serve.err"
    with said.open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603  # ourselves, with arguments of our own
            [sys.executable, "-m", "authproxy.cli.main", "serve", "--config", str(folder / "authproxy.yaml")],
            env={n: v for n, v in os.environ.items() if n not in _NOT_OURS},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
        )  # fmt: skip
    try:
        end = time.monotonic() + PATIENCE
        while not (ready := _READY.search(said.read_text(errors="replace"))):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the proxy did not start: {said.read_text(errors='replace')}")
            time.sleep(0.02)
        yield int(ready[1])
    finally:
        process.terminate()
        try:
            process.wait(ENDING)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
