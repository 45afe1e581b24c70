"""What stands around the proxies of a long run: the backend's process, keys, users, certificates, routes.

The routes are few, and each kind of trial (trials.py) knows what they may answer it.
"""

import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.end_to_end.credentials import Authority
from tests.end_to_end.served import environment, free_port, wait_until
from tests.web.portal.browser import users_text

HOST = "app.test"
LIMIT = 20  # of a subject at /limited, in any minute
ENG = [{"groups": ["eng"]}]


def route(name: str, **more: Any) -> dict[str, Any]:
    """A route for what is below /NAME/."""
    return {
        "name": name,
        "match": {"hosts": [HOST], "paths": [f"/{name}/**"]},
        "upstream": "app",
        "authenticate": ["tokens"],
        "allow": ENG,
        **more,
    }


ROUTES: list[dict[str, Any]] = [
    {"name": "open", "match": {"hosts": [HOST], "paths": ["/open/**"]}, "upstream": "app", "authenticate": "none"},
    route("api", deny=[{"groups": ["suspended"]}]),
    route("staff", authenticate=["staff"], allow="authenticated"),
    route("ops", allow=[{"groups": ["ops"]}]),
    route("limited", rate_limits=[{"limit": f"{LIMIT}/minute", "per": "subject", "strategy": "moving-window"}]),
]  # fmt: skip


class Backend:
    """The backend's process, which can be ended, stopped and started again."""

    def __init__(self, folder: Path, name: str = "backend") -> None:
        self.port, self.notes = free_port(), folder / f"{name}.jsonl"
        self._said = folder / f"{name}.err"
        self.start()

    def start(self) -> None:
        """Start it; until it listens."""
        command = [sys.executable, "-m", "tests.endurance.backend", str(self.port), str(self.notes)]
        with self._said.open("ab") as said:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment(),
                cwd=Path(__file__).resolve().parents[2],
            )  # fmt: skip
        if not wait_until(lambda: listens(self.port), 20):
            raise RuntimeError(f"the backend did not start: {self._said.read_text()}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal: SIGSTOP, SIGCONT; SIGUSR1 has it reset connections."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once: its connections are reset or cut."""
        self.process.kill()
        self.process.wait()


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Does somebody take connections there?"""
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


def users_file(folder: Path) -> Path:
    """Ann and bob, whose password is the tests' own."""
    file = folder / "users.yaml"
    file.write_text(users_text())
    return file


def authenticators(folder: Path) -> dict[str, Any]:
    """People's part of the configuration: `configuration` has that of tokens."""
    return {"staff": {"type": "password", "users": {"file": str(users_file(folder))}}}


def certificates(authority: Authority) -> list[dict[str, str]]:
    """One for the host."""
    pair = authority.issue(HOST, "localhost", "127.0.0.1")
    return [{"certificate": str(pair.certificate), "private_key": str(pair.private_key)}]
