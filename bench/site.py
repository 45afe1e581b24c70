"""The site that every proxy stands before: a backend, an issuer with its keys and tokens, and a certificate."""

import json
import subprocess
import sys
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization as form

from authproxy.authn.issue import generate_key, public_jwks
from bench.processes import PATIENCE, Program

ISSUER, AUDIENCE = "https://issuer.test", "api"
USUAL = [
    "Host: app.example.test",
    "User-Agent: bench/1.0",
    "Accept: application/json",
    "Accept-Encoding: gzip, deflate",
    "Accept-Language: en",
]


class Site:
    """Made once a run, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started = 0
        pems = {name: generate_key(name) for name in ("RS256", "EdDSA")}
        sets = {name: public_jwks([pem]) for name, pem in pems.items()}
        self._keys: dict[str, tuple[Any, str]] = {
            name: (form.load_pem_private_key(pem, None), sets[name]["keys"][0]["kid"])
            for name, pem in pems.items()
        }
        self.jwks = folder / "jwks.json"
        self.jwks.write_text(
            json.dumps({"keys": [key for s in sets.values() for key in s["keys"]]})
        )
        self.public_key = folder / "issuer.pem"  # RS256 alone, for those that read no JWKS
        self.public_key.write_bytes(
            self._keys["RS256"][0]
            .public_key()
            .public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
        )
        self._certificate()
        self.backend_program = Program(
            [sys.executable, "-m", "bench.backend", str(folder / "backend.port")],
            folder / "backend.out",
        )

    def _certificate(self) -> None:
        command = [sys.executable, "-m", "authproxy.cli.main", "certs", "create"]
        command += ["--name", "app.example.test", str(self.folder / "certs")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        self.authority = self.folder / "certs" / "ca.crt"
        self.certificate = self.folder / "certs" / "server.crt"
        self.private_key = self.folder / "certs" / "server.key"

    @cached_property
    def backend(self) -> int:
        """The backend's port, once it listens."""
        said, until = self.folder / "backend.port", time.monotonic() + PATIENCE
        while not (said.exists() and said.read_text().endswith("\n")):
            if time.monotonic() > until or self.backend_program.failed():
                raise SystemExit("the backend did not start")
            time.sleep(0.02)
        return int(said.read_text())

    def room(self, name: str) -> Path:
        """A new folder for a program that is to be started."""
        self.started += 1
        room = self.folder / f"{self.started:03}-{name}"
        room.mkdir()
        return room

    def token(self, subject: str = "alice", algorithm: str = "RS256", **more: str) -> str:
        """A token of a user with groups, good for an hour; further claims make it another one."""
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 3600}
        claims |= {"email": f"{subject}@example.test", "groups": ["eng", "ops"], **more}
        key, kid = self._keys[algorithm]
        return jwt.encode(claims, key, algorithm, headers={"kid": kid})

    def end(self) -> None:
        """End the backend."""
        self.backend_program.end()


def request(path: str, token: str | None, *more: str, method: str = "GET") -> bytes:
    """The head of a request."""
    lines = [f"{method} {path} HTTP/1.1", *USUAL, *more]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode()
