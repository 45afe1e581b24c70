"""A server of several workers, all that stands around it, and what an operator sees of it."""

import http.client
import os
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.end_to_end.credentials import Issuer
from tests.end_to_end.load import Background, QuickBackend
from tests.end_to_end.served import (
    Served,
    configuration,
    free_port,
    wait_until,
    write_configuration,
)

Route = dict[str, Any]
OPEN: Route = {
    "name": "all", "match": {"paths": ["/**"]}, "upstream": "app", "authenticate": "none",
}  # fmt: skip
RELOADED = "authproxy_config_reload_success"


def guarded(name: str, **more: Any) -> Route:
    """A route at /NAME for every identity."""
    return {
        "name": name,
        "match": {"paths": [f"/{name}"]},
        "upstream": "app",
        "authenticate": ["tokens"],
        "allow": "authenticated",
        **more,
    }


class Fleet:
    """The running server; `folder` holds what it was started with."""

    def __init__(self, folder: Path, background: Background, **settings: Any) -> None:
        self.folder, self.background, self.issuer = folder, background, Issuer()
        self.backend = QuickBackend(background)
        self.admin = free_port()
        routes, environ = settings.pop("routes", [OPEN]), settings.pop("environ", {})
        upstreams = {"app": {"servers": [f"http://127.0.0.1:{self.backend.port}"]}}
        self.config = configuration(
            settings.pop("upstreams", upstreams),
            **{
                "admin": {"address": f"127.0.0.1:{self.admin}"},
                "state": {"url": "lmdb:state"},
                "bounds": {"drain": "5s"},
                "workers": 2,
                **settings,
            },
        )
        self.file = write_configuration(folder, self.issuer, self.config, routes)
        self.served = Served(self.file, **environ)

    @property
    def port(self) -> int:
        """Of the first listener."""
        return self.served.ports[0]

    def workers(self) -> list[int]:
        """The processes of the workers."""
        pid = self.served.pid
        try:
            return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except FileNotFoundError:
            return []

    def ask(self, path: str = "/", token: str = "", port: int = 0) -> int:
        """The status of a request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=10)
        try:
            connection.request(
                "GET", path, headers={"Authorization": f"Bearer {token}"} if token else {}
            )
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def scrape(self) -> str:
        """The metrics, as they are scraped."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=10)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        total = 0.0
        for line in self.scrape().splitlines():
            found = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
            if found and all(f'{k}="{v}"' in (found[1] or "") for k, v in labels.items()):
                total += float(found[2])
        return total

    def everywhere(self, path: str, token: str = "", times: int = 16) -> set[int]:
        """The statuses of so many requests, each on a connection of its own, so that all workers are asked."""
        return {self.ask(path, token) for _ in range(times)}

    def becomes(self, path: str, status: int, seconds: float = 6.0, token: str = "") -> bool:
        """Do all workers come to answer like this?"""
        return bool(wait_until(lambda: self.everywhere(path, token) == {status}, seconds))

    def write_routes(self, routes: Sequence[Route], name: str = "routes.yaml") -> Path:
        """Replace a policy file, all at once."""
        path, new = self.folder / "policies" / name, self.folder / "new.tmp"
        new.write_text(yaml.safe_dump({"routes": list(routes)}))
        new.rename(path)
        return path

    def write_config(self, **changes: Any) -> None:
        """Replace the configuration, all at once."""
        new = self.folder / "new.tmp"
        new.write_text(yaml.safe_dump({**self.config, **changes}))
        new.rename(self.file)

    def says(self, text: str, count: int = 1, seconds: float = 6.0) -> bool:
        """Does it come to say this on stderr, so often?"""
        return bool(wait_until(lambda: self.served.errors().count(text) >= count, seconds))

    def reload(self) -> None:
        """SIGHUP, until all have taken it over."""
        before, workers = self.served.errors().count("reloaded "), max(1, len(self.workers()))
        self.served.signal(signal.SIGHUP)
        assert self.says("reloaded ", before + workers)


@contextmanager
def fleet(folder: Path, **settings: Any) -> Iterator[Fleet]:
    """A server that must end with 0, within its drain, without a traceback and without a process left behind."""
    background = Background()
    made = Fleet(folder, background, **settings)
    try:
        yield made
        workers = made.workers()
        assert made.served.stop() == 0
        assert "Traceback" not in made.served.errors()
        assert [pid for pid in workers if Path(f"/proc/{pid}").exists()] == []
    finally:
        made.served.stop()
        made.backend.stop()
        background.stop()


def kill(pid: int) -> None:
    """End a process as the kernel does when memory is short."""
    os.kill(pid, signal.SIGKILL)
