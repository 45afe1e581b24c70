"""The proxies that are measured: authproxy with everything on, and the plain aiohttp proxy beside it."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

CONFIG = """\
listeners: [{{address: "127.0.0.1:0"}}]
admin: false
authenticators:
  tokens: {{type: jwt, issuer: https://issuer.test, audiences: [api], algorithms: [RS256], keys: {{file: jwks.json}}}}
upstreams: {{orders: {{servers: ["http://127.0.0.1:{backend}"]}}}}
logging: {{access: {{path: access.log}}}}
"""
POLICY = """\
routes:
  - name: orders
    match: {paths: [/orders/**], methods: [GET]}
    upstream: orders
    authenticate: [tokens]
    allow: [{groups: [eng]}]
    rate_limits: [{limit: 100000000/hour, per: subject}]
"""
COMMAND = [sys.executable, "-m", "authproxy.cli.main"]
HEADERS = [
    "User-Agent: bench/1.0",
    "Accept: application/json",
    "Accept-Encoding: gzip, deflate",
    "Accept-Language: en",
]


@dataclass
class Target:
    """A running proxy: what to call it, where it listens, and what to send with each request."""

    name: str
    process: "subprocess.Popen[str]"
    port: int
    headers: list[str]


def keys(folder: Path) -> str:
    """A token of a user with groups; its key and JWKS are made once a folder."""
    from authproxy.authn.issue import generate_key, public_jwks, sign_test_token
    from authproxy.config.schema import JwtAuthenticator, Keys

    if not (folder / "key.pem").exists():
        (folder / "key.pem").write_bytes(generate_key("RS256"))
        (folder / "jwks.json").write_text(
            json.dumps(public_jwks([(folder / "key.pem").read_bytes()]))
        )
    settings = JwtAuthenticator(
        type="jwt",
        issuer="https://issuer.test",
        audiences=["api"],
        algorithms=["RS256"],
        keys=Keys(file="jwks.json"),
    )
    return sign_test_token(
        settings,
        (folder / "key.pem").read_bytes(),
        subject="alice",
        groups=["eng", "ops"],
        scopes=[],
        audience=None,
        claims={"email": "alice@example.test"},
        ttl=3600,
        now=time.time(),
    )


def authproxy(folder: Path, backend: int) -> Target:
    """authproxy: route, cached RS256 identity, groups, a limit per subject, identity headers, JSON access log."""
    (folder / "authproxy.yaml").write_text(CONFIG.format(backend=backend))
    (folder / "policies").mkdir(exist_ok=True)
    (folder / "policies" / "orders.yaml").write_text(POLICY)
    token = keys(folder)
    command = [*COMMAND, "serve", "--config", str(folder / "authproxy.yaml")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(r"listen=127\.0\.0\.1:(\d+)", line)
        if found:
            return Target(
                "authproxy, everything on",
                process,
                int(found[1]),
                [f"Authorization: Bearer {token}", *HEADERS],
            )
    raise SystemExit("authproxy did not start")


def plain(folder: Path, backend: int) -> Target:
    """A plain proxy on aiohttp.web and ClientSession that verifies every token with PyJWT."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "BENCH_PORT": str(port),
        "BENCH_BACKEND": str(backend),
        "BENCH_JWKS": str(folder / "jwks.json"),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.plain_aiohttp"], env=environment, text=True
    )
    for _ in range(100):
        time.sleep(0.1)
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            continue
    return Target(
        "plain aiohttp proxy", process, port, [f"Authorization: Bearer {keys(folder)}", *HEADERS]
    )
