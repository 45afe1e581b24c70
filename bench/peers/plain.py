"""A plain proxy on aiohttp.web and ClientSession that verifies every token: `bench/plain_aiohttp.py`."""

import sys
from importlib import metadata

from bench.peer import Peer, Place, Setting
from bench.site import Site


class Plain(Peer):
    """What people write first."""

    name = "plain"
    title = "plain aiohttp proxy"
    does = "RS256 (verified each time), groups, one identity header; no limit, no log"
    abilities = frozenset({"tls", "tokens"})

    def absent(self) -> None:
        """It needs nothing that authproxy does not."""

    def version(self) -> str:
        """aiohttp's."""
        return f"aiohttp {metadata.version('aiohttp')}, PyJWT {metadata.version('PyJWT')}"

    def command(self, site: Site, setting: Setting, place: Place) -> list[str]:
        """All it wants to know is in its environment."""
        del site, setting, place
        return [sys.executable, "-m", "bench.plain_aiohttp"]

    def environment(self, site: Site, setting: Setting, place: Place) -> dict[str, str]:
        """Where, to whom, whose tokens, with which certificate."""
        return {
            "BENCH_PORT": str(place.port),
            "BENCH_BACKEND": str(site.backend),
            "BENCH_JWKS": str(site.jwks),
            "BENCH_TLS": f"{site.certificate} {site.private_key}" if setting.tls else "",
        }
