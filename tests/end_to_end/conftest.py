"""One server for the whole run: nginx behind it in three ways, a WebSocket server, and backends that are wrong."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.credentials import Authority, Issuer
from tests.end_to_end.curl import Got, curl
from tests.end_to_end.nginx import Nginx
from tests.end_to_end.served import Served, configuration, free_port, write_configuration
from tests.end_to_end.streams import EventBackend, WebSocketBackend


@dataclass
class Stage:
    """The server and all that stands around it."""

    served: Served
    nginx: Nginx
    issuer: Issuer
    authority: Authority
    folder: Path

    @property
    def plain(self) -> str:
        """The plain listener."""
        return f"http://127.0.0.1:{self.served.ports[0]}"

    def curl(self, path: str, *options: str, token: str | None = None) -> Got:
        """Ask the plain listener, with a good token unless another is given."""
        token = self.issuer.token(groups=["eng"]) if token is None else token
        return curl(self.folder, self.plain + path, *options, token=token)

    def curl_tls(self, path: str, *options: str, name: str = "a.test", listener: int = 1) -> Got:
        """Ask a TLS listener by name, verified against the test authority."""
        port = self.served.ports[listener]
        verify = ["--cacert", str(self.authority.file), "--resolve", f"{name}:{port}:127.0.0.1"]
        token = self.issuer.token(groups=["eng"])
        return curl(self.folder, f"https://{name}:{port}{path}", *verify, *options, token=token)


def route(name: str, **more: Any) -> dict[str, Any]:
    """A closed route for what is below /NAME/, whose backend sees the rest of the path."""
    return {
        "name": name,
        "match": {"paths": [f"/{name}/**"]},
        "upstream": name,
        "authenticate": ["tokens"],
        "allow": [{"groups": ["eng"]}],
        "rewrite": {"strip_prefix": f"/{name}"},
        **more,
    }


def _listeners(authority: Authority) -> list[dict[str, Any]]:
    pairs = [authority.issue("a.test", "localhost", "127.0.0.1"), authority.issue("b.test")]
    certificates = [
        {"certificate": str(p.certificate), "private_key": str(p.private_key)} for p in pairs
    ]
    return [
        {"address": "127.0.0.1:0"},
        {"address": "127.0.0.1:0", "tls": {"certificates": certificates}},
        {"address": "127.0.0.1:0", "tls": {"certificates": certificates, "profile": "modern"}},
    ]


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The server, started once; it must end with 0 and without a traceback."""
    folder, issuer = tmp_path_factory.mktemp("stage"), Issuer()
    authority = Authority(folder / "authority")
    with ExitStack() as stack:
        nginx = Nginx(folder / "nginx", authority.issue("nginx.test"))
        stack.callback(nginx.stop)
        sockets, events = WebSocketBackend(), EventBackend()
        stack.callback(sockets.stop)
        stack.callback(events.stop)
        verified = {"ca": str(authority.file), "server_name": "nginx.test"}
        tls = f"https://127.0.0.1:{nginx.https}"
        upstreams: dict[str, Any] = {
            "http": {"servers": [f"http://127.0.0.1:{nginx.http}"]},
            "https": {"servers": [tls], "tls": verified},
            "unix": {"servers": [f"unix:{nginx.socket}"]},
            "unverified": {"servers": [tls]},
            "misnamed": {"servers": [tls], "tls": {**verified, "server_name": "other.test"}},
            "dead": {"servers": [f"http://127.0.0.1:{free_port()}"]},
            "ws": {"servers": [f"http://127.0.0.1:{sockets.port}"]},
            "events": {"servers": [f"http://127.0.0.1:{events.port}"]},
        }
        config = configuration(upstreams, listeners=_listeners(authority))
        routes = [route(name) for name in upstreams]
        opened = {"authenticate": "none", "match": {"paths": ["/open/**"]}, "upstream": "http"}
        open_route = {k: v for k, v in route("open", **opened).items() if k != "allow"}
        served = Served(write_configuration(folder, issuer, config, [*routes, open_route]))
        try:
            yield Stage(served, nginx, issuer, authority, folder)
        finally:
            status = served.stop()
    assert status == 0
    assert "Traceback" not in served.errors()
