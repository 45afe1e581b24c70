"""Node with fastify: `bench/fastify/`, its packages installed on demand below the environment that runs the benchmark."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from bench.peer import Peer, Place, Setting, find, output
from bench.site import Site

SOURCE = Path(__file__).resolve().parent.parent / "fastify"
FOLDER = (
    Path(sys.prefix) / "bench-fastify"
)  # .venv/bench-fastify: what is installed is never beside the source


class Fastify(Peer):
    """fastify with its plugins, one process."""

    name = "fastify"
    title = "fastify (Node)"
    does = "RS256 (cached), groups, a limit per subject, identity headers, JSON log"
    abilities = frozenset({"tls", "tokens", "refusals", "websocket"})

    def absent(self) -> str | None:
        """Installs it with npm, once for each state of package.json."""
        if not find("node") or not find("npm"):
            return "node and npm are not installed"
        wanted, installed = (SOURCE / "package.json").read_bytes(), FOLDER / "installed"
        if not (installed.exists() and installed.read_bytes() == wanted):
            FOLDER.mkdir(exist_ok=True)
            shutil.copy(SOURCE / "package.json", FOLDER)
            command = [str(find("npm")), "install", "--omit=dev", "--ignore-scripts"]
            command += ["--no-audit", "--no-fund", "--silent"]
            if subprocess.run(command, check=False, cwd=FOLDER).returncode:
                return "npm could not install its packages"
            installed.write_bytes(wanted)
        return None

    def version(self) -> str:
        """fastify's and Node's."""
        installed = json.loads((FOLDER / "node_modules" / "fastify" / "package.json").read_text())
        return f"{installed['version']} on Node {output('node', '--version').removeprefix('v')}"

    def command(self, site: Site, setting: Setting, place: Place) -> list[str]:
        """The program lies beside its packages, where Node looks for them."""
        del site, setting, place
        return [str(find("node")), str(shutil.copy(SOURCE / "server.js", FOLDER))]

    def environment(self, site: Site, setting: Setting, place: Place) -> dict[str, str]:
        """Where, to whom, whose tokens, with which certificate."""
        return {
            "NODE_ENV": "production",
            "BENCH_PORT": str(place.port),
            "BENCH_BACKEND": str(site.backend),
            "BENCH_KEY": str(site.public_key),
            "BENCH_TLS": f"{site.certificate} {site.private_key}" if setting.tls else "",
            "BENCH_LOG": str(place.room / "access.log"),
        }
