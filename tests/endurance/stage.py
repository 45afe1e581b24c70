"""Two machines as far as one can have them: proxies on two loopback addresses, two workers each, behind a real HAProxy,
with one real Redis as their state, two backends, and logs on small disks of their own that can be filled.
"""

import shutil
import signal
import ssl
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.end_to_end.credentials import Authority, Issuer
from tests.end_to_end.nginx import need
from tests.end_to_end.served import (
    Served,
    configuration,
    free_port,
    run,
    wait_until,
    write_configuration,
)
from tests.endurance.site import HOST, ROUTES, Backend, certificates, listens, route
from tests.redis_server import RedisServer
from tests.web.portal.browser import users_text

ADDRESSES = ("127.0.0.1", "127.0.0.2")
WORKERS = 2
USERS = users_text()
DISK = 64 << 20  # bytes
HAPROXY = """
global
    log stdout format raw local0
defaults
    mode tcp
    log global
    log-format "%ci:%cp %s %ts %Tw/%Tc/%Tt"
    timeout connect 3s
    timeout client 1h
    timeout server 1h
    default-server check inter 1s fall 2 rise 1
frontend https
    bind 127.0.0.1:{port}
    default_backend proxies
backend proxies
    balance roundrobin
    option redispatch
    option httpchk GET /readyz
{servers}
"""


class Disk:
    """A small disk for a log; where it could not be had that is said, `real` is false, and nobody fills it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "authproxy-chaos", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, check=False)
            self.real = done.returncode == 0
        except OSError:
            self.real = False
        if not self.real:
            sys.stderr.write(
                f"{folder} is no disk of its own (that needs root): no fault is a full disk\n"
            )

    def fill(self) -> None:
        """Leave no room."""
        with suppress(OSError), (self.folder / "ballast").open("wb", buffering=0) as file:
            while file.write(b"\0" * 4096):
                pass

    def empty(self) -> None:
        """There is room again."""
        (self.folder / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        """Take it away, with what is on it."""
        if self.real:
            subprocess.run(["umount", str(self.folder)], check=False)


@dataclass
class Proxy:
    """One machine's server: its folder, its address, its disk."""

    name: str
    folder: Path
    address: str
    issuer: Issuer
    upstreams: dict[str, Any]
    certificates: list[dict[str, str]]
    state: str
    port: int = field(default_factory=free_port)
    admin: int = field(default_factory=free_port)
    reloads: int = 0

    def start(self, stack: ExitStack) -> None:
        """Write its configuration and start it."""
        self.folder.mkdir()
        self.disk = Disk(self.folder / "log")
        stack.callback(self.disk.close)
        self.log = self.folder / "log" / "access.log"
        (self.folder / "users.yaml").write_text(USERS)
        local = ["127.0.0.0/8"]
        listener = {
            "address": f"{self.address}:{self.port}",
            "proxy_protocol": local,
            "tls": {"certificates": self.certificates},
        }
        config = configuration(
            self.upstreams, listeners=[listener], admin={"address": f"{self.address}:{self.admin}"},
            workers=WORKERS, state={"url": self.state}, trusted_proxies={"networks": local},
            logging={"access": {"path": str(self.log)}}, bounds={"drain": "10s"},
        )  # fmt: skip
        config["authenticators"]["staff"] = {"type": "password", "users": {"file": "users.yaml"}}
        self.file = write_configuration(self.folder, self.issuer, config, ROUTES)
        self.served = Served(self.file)
        stack.callback(self.served.stop)

    def workers(self) -> list[int]:
        """The processes of the workers."""
        pid = self.served.pid
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def reload(self, *more: dict[str, Any]) -> None:
        """Replace the policies and say so."""
        self.reloads += 1
        routes = [*ROUTES, route(f"extra-{self.reloads % 3}"), *more]
        new = self.folder / "new.tmp"
        new.write_text(yaml.safe_dump({"routes": routes}))
        new.rename(self.folder / "policies" / "routes.yaml")
        self.served.signal(signal.SIGHUP)


@dataclass
class Stage:
    """All of it."""

    folder: Path
    issuer: Issuer = field(default_factory=Issuer)

    def start(self, stack: ExitStack) -> None:
        """Start what is behind first, then the proxies, then HAProxy."""
        self.redis = RedisServer("--appendonly", "yes", "--appendfsync", "always")
        stack.callback(self.redis.close)
        self.backends = [Backend(self.folder, f"backend-{n}") for n in (1, 2)]
        for backend in self.backends:
            stack.callback(backend.kill)
        servers = [f"http://127.0.0.1:{backend.port}" for backend in self.backends]
        timeouts = {"connect": "2s", "response": "5s"}
        upstreams = {"app": {"servers": servers, "timeouts": timeouts}}
        self.authority = Authority(self.folder / "authority")
        self.tls = ssl.create_default_context(cafile=str(self.authority.file))
        pairs = certificates(self.authority)
        self.proxies = [
            Proxy(f"proxy {n}", self.folder / f"proxy-{n}", address, self.issuer, upstreams, pairs, self.redis.url)
            for n, address in enumerate(ADDRESSES, 1)
        ]  # fmt: skip
        for proxy in self.proxies:
            proxy.start(stack)
        self._balance(stack)

    def _balance(self, stack: ExitStack) -> None:
        self.port, file = free_port(), self.folder / "haproxy.cfg"
        servers = "\n".join(
            f"    server {p.folder.name} {p.address}:{p.port} send-proxy-v2 addr {p.address} port {p.admin}"
            for p in self.proxies
        )
        file.write_text(HAPROXY.format(port=self.port, servers=servers))
        with (self.folder / "haproxy.log").open("wb") as out:
            self.haproxy = subprocess.Popen(
                [need("haproxy"), "-db", "-f", str(file)], stdout=out, stderr=subprocess.STDOUT
            )
        stack.callback(self._end_haproxy)
        if not wait_until(lambda: listens(self.port), 10):
            raise RuntimeError((self.folder / "haproxy.log").read_text())
        time.sleep(1.5)  # until its first checks are done

    def _end_haproxy(self) -> None:
        self.haproxy.terminate()
        self.haproxy.wait(10)

    def rotate(self) -> None:
        """A new certificate of the same authority in the place of the old one, for both proxies."""
        new = self.authority.issue("next.test", HOST, "localhost", "127.0.0.1")
        old = self.proxies[0].certificates[0]
        new.private_key.rename(old["private_key"])
        new.certificate.rename(old["certificate"])
        for proxy in self.proxies:
            proxy.served.signal(signal.SIGHUP)

    def revoke(self, token: str) -> bool:
        """Put a token on the revocation list: was it done?"""
        done = run("token", "revoke", token, "--config", str(self.proxies[0].file))
        return done.returncode == 0

    def keep(self, folder: Path) -> None:
        """What was said and logged, for somebody who looks into a failure."""
        folder.mkdir(parents=True, exist_ok=True)
        for proxy in self.proxies:
            for file in (proxy.log, proxy.folder / "serve.err"):
                shutil.copy(file, folder / f"{proxy.folder.name}-{file.name}")
        for file in (*self.folder.glob("*.jsonl"), self.folder / "haproxy.log"):
            shutil.copy(file, folder / file.name)
