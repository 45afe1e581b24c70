"""A real `authproxy serve` in a process of its own, in a folder of its own, with loopback ports that the system chose."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from tests.end_to_end.credentials import AUDIENCE, ISSUER, Issuer

PROGRAM = (sys.executable, "-m", "authproxy.cli.main")
READY = re.compile(r"^authproxy ready pid=(\d+) listen=(\S+)$", re.MULTILINE)
START_MOST = 20.0


def free_port() -> int:
    """A port that nobody listens on, outside of those that the system gives to outgoing connections: it stays free."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(seen: Callable[[], Any], seconds: float = 5.0) -> Any:
    """What `seen` returns once it is true; its last value after this long."""
    end = time.monotonic() + seconds
    while not (found := seen()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def configuration(upstreams: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A configuration with one authenticator and a plain listener, but for what is asked for."""
    return {
        "listeners": [{"address": "127.0.0.1:0"}],
        "admin": False,
        "state": {"url": "memory:"},
        "authenticators": {
            "tokens": {
                "type": "jwt",
                "issuer": ISSUER,
                "audiences": [AUDIENCE],
                "algorithms": ["RS256", "ES256"],
                "keys": {"file": "jwks.json"},
                "issue_with": {"file": "signing.pem"},
            }
        },
        "upstreams": dict(upstreams),
        "failed_authentications": "1000000/minute",
        **more,
    }


def write_configuration(
    folder: Path,
    issuer: Issuer,
    config: Mapping[str, Any],
    routes: Sequence[Mapping[str, Any]],
    tests: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Write the configuration, its keys and one policy file; the path of the first."""
    (folder / "policies").mkdir(parents=True, exist_ok=True)
    (folder / "jwks.json").write_text(json.dumps(issuer.jwks()))
    (folder / "signing.pem").write_bytes(issuer.private_pem())
    (folder / "signing.pem").chmod(0o600)
    policies: dict[str, Any] = {"routes": list(routes)}
    if tests:
        policies["tests"] = list(tests)
    (folder / "policies" / "routes.yaml").write_text(yaml.safe_dump(policies, sort_keys=False))
    file = folder / "authproxy.yaml"
    file.write_text(yaml.safe_dump(dict(config), sort_keys=False))
    return file


def environment(**more: str) -> dict[str, str]:
    """The environment without what would lead the program, or a client, elsewhere."""
    clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    clean.pop("AUTHPROXY_CONFIG", None)
    return {**clean, **more}


def run(
    *arguments: str, cwd: Path | None = None, stdin: str = "", seconds: float = 30, **env: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command of the program to its end."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        cwd=cwd, input=stdin, env=environment(**env), capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip


class Served:
    """The running server. `ports` are those of its TCP listeners, in the configuration's order."""

    def __init__(
        self,
        config: Path,
        *arguments: str,
        program: Sequence[str] = PROGRAM,
        inherited: Sequence[int] = (),
        name: str = "serve",
        **env: str,
    ) -> None:
        self.folder = config.parent
        self._out = self.folder / f"{name}.out"
        self._err = self.folder / f"{name}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*program, "serve", "--config", str(config), *arguments],
                cwd=self.folder, env=environment(**env), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                pass_fds=inherited,
            )  # fmt: skip
        ready = wait_until(lambda: READY.search(self.errors()) or self.process.poll(), START_MOST)
        if not isinstance(ready, re.Match):
            self.stop()
            raise RuntimeError(  # noqa: TRY004  # the type only says which of two came first
                f"serve is not ready ({ready}): {self.errors()}"
            )
        self.pid = int(ready[1])
        self.listen = ready[2].split(",")
        self.ports = [int(one.rpartition(":")[2]) for one in self.listen if "unix:" not in one]

    def errors(self) -> str:
        """All that it wrote to stderr."""
        return self._err.read_text(errors="replace")

    def output(self) -> str:
        """All that it wrote to stdout: the access log."""
        return self._out.read_text(errors="replace")

    def log(self) -> list[dict[str, Any]]:
        """The access log's lines so far, each of which must be JSON."""
        return [json.loads(line) for line in self.output().splitlines()]

    def log_of(self, request_id: str) -> dict[str, Any]:
        """The line of one request, waited for (the log is flushed by time)."""
        found = wait_until(lambda: [x for x in self.log() if x["request_id"] == request_id])
        assert len(found) == 1, f"{len(found)} log lines for {request_id}"
        return dict(found[0])

    def peak(self) -> int:
        """The most memory that it ever held, in bytes (VmHWM)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def ended(self, seconds: float = 10) -> int:
        """Its exit status, waited for."""
        return self.process.wait(seconds)

    def stop(self) -> int:
        """Ask it to end, and make it end where it does not; its exit status."""
        if self.process.poll() is None:
            self.signal()
            try:
                return self.ended()
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()
