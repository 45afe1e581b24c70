"""authproxy with everything on."""

import sys
from importlib import metadata

from bench.peer import Peer, Place, Setting
from bench.site import AUDIENCE, ISSUER, Site

CONFIGURATION = """\
listeners:
  - address: "127.0.0.1:{port}"
    {tls}
admin: false
workers: {workers}
state: {{url: "lmdb:state"}}
authenticators:
  tokens: {{type: jwt, issuer: "{issuer}", audiences: [{audience}], algorithms: [RS256, EdDSA], keys: {{file: "{jwks}"}}}}
upstreams: {{orders: {{servers: ["http://127.0.0.1:{backend}"]}}}}
logging: {{access: {{path: access.log}}}}
failed_authentications: 100000000/hour
"""
TLS = 'tls: {{certificates: [{{certificate: "{certificate}", private_key: "{private_key}"}}]}}'
ROUTE = """\
  - name: {name}
    match: {{paths: [{path}], methods: [GET, POST]}}
    upstream: orders
    authenticate: [tokens]
    allow: [{{groups: [{group}]}}]
    rate_limits: [{{limit: {limit}, per: subject}}]
"""
PLENTY = "100000000/hour"
ROUTES = [
    ("orders", "/orders/**", "eng", PLENTY),
    ("files", "/files/**", "eng", PLENTY),
    ("echo", "/echo", "eng", PLENTY),
    ("forbidden", "/forbidden/**", "nobody", PLENTY),
    ("limited", "/limited/**", "eng", "1/day"),
]


class Authproxy(Peer):
    """Ours."""

    name = "authproxy"
    title = "authproxy"
    does = "RS256 (cached), groups, a limit per subject, identity headers, JSON log, metrics"
    abilities = frozenset({"tls", "tokens", "refusals", "websocket"})

    def absent(self) -> None:
        """It is what this repository is."""

    def version(self) -> str:
        """As installed, with the Python that it runs on."""
        return f"{metadata.version('authproxy')} on Python {sys.version.split()[0]}"

    def command(self, site: Site, setting: Setting, place: Place) -> list[str]:
        """One configuration, one policy file."""
        pair = {"certificate": site.certificate, "private_key": site.private_key}
        text = CONFIGURATION.format(
            port=place.port,
            tls=TLS.format(**pair) if setting.tls else "",
            workers=setting.workers,
            issuer=ISSUER,
            audience=AUDIENCE,
            jwks=site.jwks,
            backend=site.backend,
        )
        (place.room / "authproxy.yaml").write_text(text)
        further = [
            (f"orders-{n}", f"/orders/{n}/**", "eng", PLENTY) for n in range(1, setting.routes)
        ]
        policies = place.room / "policies"
        policies.mkdir()
        keys = ("name", "path", "group", "limit")
        routes = [
            ROUTE.format(**dict(zip(keys, route, strict=True))) for route in (*ROUTES, *further)
        ]
        (policies / "bench.yaml").write_text("routes:\n" + "".join(routes))
        command = [sys.executable, "-m", "authproxy.cli.main", "serve"]
        return [*command, "--config", str(place.room / "authproxy.yaml")]
