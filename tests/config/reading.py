"""A folder with a configuration and policies, and what reading it comes to: what the tests of this room share."""

from pathlib import Path

from authproxy.config.load import Loaded, load

CONFIG = """\
listeners:
  - address: 127.0.0.1:8443
    tls:
      certificates: [{certificate: a.crt, private_key: a.key}]
  - address: "[::1]:8080"
admin: {address: 127.0.0.1:9901}
workers: 1
trusted_proxies: {networks: [10.0.0.0/8, "fd00::/8"], header: forwarded, host: true}
state: {url: "lmdb:state", on_failure: refuse}
authenticators:
  tokens:
    type: jwt
    issuer: https://issuer.test
    audiences: [api]
    algorithms: [RS256]
    keys: {file: jwks.json}
    token_from: [{header: Authorization, scheme: Bearer}, {cookie: token}]
    leeway: 10s
    claims: {groups: realm.roles}
    issue_with: {file: signing.pem}
  machines:
    type: jwt
    issuer: https://machines.test
    audiences: [api]
    algorithms: [HS256]
    keys: {secret: {env: HMAC}}
session: {cookie: __Host-s, idle_timeout: 30m}
upstreams:
  orders:
    servers: ["http://127.0.0.1:9000", "unix:/run/orders.sock"]
    host: upstream
    timeouts: {connect: 500ms}
  secure:
    servers: ["https://secure.test"]
    tls: {ca: ca.crt}
identity: {profile: remote, strip: [X-Tenant-Role]}
bounds: {header_bytes: 64KiB, body_bytes: 10MiB, drain: 5s, body_rate: 1KiB/s}
logging: {access: {path: "-", format: json}}
rate_limits: [{limit: 1000/minute, per: address}]
failed_authentications: 30/minute
policies: [policies]
"""

POLICY = """\
routes:
  - name: orders
    match: {hosts: [orders.test, "*.orders.test"], paths: [/orders/**, /orders/x/*], methods: [GET, HEAD]}
    upstream: orders
    authenticate: [tokens, machines]
    allow:
      - {groups: [eng, ops]}
      - {subjects: [bob], authenticators: [tokens], networks: [10.0.0.0/8]}
      - {claims: {tenant: acme, level: [2, 3]}}
      - when: "claims.level >= 3"
    deny: [{groups: [suspended]}]
    rate_limits:
      - {name: fair, limit: 100/minute, per: subject}
      - {limit: 10/second, per: address, strategy: fixed-window, cost: 1, mode: shadow}
    mode: enforce
    rewrite: {strip_prefix: /orders}
    headers: {remove: [X-Debug], set: {X-Tenant: claims.tenant}}
    forward_authorization: false
    cors_preflight: refuse
    streams: close
    encoded_slash: forward
  - name: open
    match: {paths: [/**]}
    upstream: secure
    authenticate: none
    deny: [{networks: [192.0.2.0/24]}]
  - {name: same, match: {paths: [/orders/**], methods: [POST], hosts: [orders.test]}, upstream: orders, authenticate: [tokens], allow: authenticated}
tests:
  - {request: GET https://orders.test/orders/1, identity: {subject: a, groups: [eng], authenticator: tokens}, expect: allow, route: orders}
  - {request: GET https://orders.test/orders/1, expect: unauthenticated}
"""


def read(folder: Path, config: str = CONFIG, **policies: str) -> Loaded:
    """The configuration in this folder, its policies in `policies/NAME.yaml`."""
    (folder / "policies").mkdir(parents=True, exist_ok=True)
    for name, text in (policies or {"p": POLICY}).items():
        (folder / "policies" / f"{name}.yaml").write_text(text)
    file = folder / "authproxy.yaml"
    file.write_text(config)
    return load(file)


def found(loaded: Loaded) -> list[str]:
    """Each problem as `file:line code`."""
    return [f"{Path(p.file).name}:{p.line} {p.code}" for p in loaded.problems]
