"""What a proxy is to the benchmark: a program with a configuration for the site, that is there or is left out."""

import os
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from bench.processes import PATIENCE, Program
from bench.site import Site


@dataclass(frozen=True)
class Setting:
    """What a workload wants of a proxy beside the usual."""

    tls: bool = False
    routes: int = 1
    workers: int = 1


@dataclass(frozen=True)
class Place:
    """Where one start of a proxy lives: a folder of its own, and the port that it is to listen on."""

    room: Path
    port: int


@dataclass
class Proxy:
    """A proxy that runs."""

    name: str
    program: Program
    port: int
    memory: int  # bytes, when it had just started


class Peer(ABC):
    """One proxy; `abilities` are words of the workloads: tls, tokens, refusals, websocket."""

    name: str
    title: str
    does: str
    abilities: frozenset[str]

    @abstractmethod
    def absent(self) -> str | None:
        """Why it cannot take part: what is missing, and how it is had."""

    @abstractmethod
    def version(self) -> str:
        """Its version, as it says itself."""

    @abstractmethod
    def command(self, site: Site, setting: Setting, place: Place) -> list[str]:
        """Write its configuration; the command that starts it."""

    def environment(self, site: Site, setting: Setting, place: Place) -> dict[str, str]:
        """Variables that it needs."""
        del site, setting, place
        return {}

    def start(self, site: Site, setting: Setting) -> Proxy:
        """Start it and wait until it listens."""
        place = Place(site.room(self.name), free_port())
        command = self.command(site, setting, place)
        said = place.room / "said"
        program = Program(command, said, self.environment(site, setting, place))
        until = time.monotonic() + PATIENCE * (1 + setting.routes // 1000)
        while not listens(place.port):
            if program.failed() or time.monotonic() > until:
                program.end()
                raise SystemExit(f"{self.name} did not start:\n{said.read_text()[-2000:]}")
            time.sleep(0.05)
        return Proxy(self.name, program, place.port, program.resident())


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Does somebody take connections there?"""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def find(program: str) -> str | None:
    """A program's path, also where only root's PATH looks."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def output(*command: str) -> str:
    """What a program prints, on either stream."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return (done.stdout + done.stderr).strip()
