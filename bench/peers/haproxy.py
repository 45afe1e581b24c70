"""HAProxy: tokens verified by its own converters, each time; a stick table counts requests by subject."""

from bench.peer import Peer, Place, Setting, find, output
from bench.site import AUDIENCE, ISSUER, Site

CONFIGURATION = """\
global
  nbthread {workers}
  maxconn 8000
  log stdout len 4096 format raw local0
defaults
  mode http
  log global
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout tunnel 1h
frontend bench
  bind 127.0.0.1:{port} {tls}
  log-format '{log}'
  unique-id-format %{{+X}}o%pid%rt%Ts
  acl forbidden path_beg /forbidden/
  acl limited path_beg /limited/
  http-request return status 404 unless {{ path_beg /orders/ /files/ /echo }} or forbidden or limited
  http-request deny deny_status 401 unless {{ http_auth_bearer,jwt_verify("RS256","{key}") 1 }}
  http-request set-var(txn.now) date()
  http-request set-var(txn.exp) http_auth_bearer,jwt_payload_query('$.exp','int')
  http-request deny deny_status 401 unless {{ var(txn.exp),sub(txn.now) -m int gt 0 }}
  http-request deny deny_status 401 unless {{ http_auth_bearer,jwt_payload_query('$.iss') -m str {issuer} }}
  http-request deny deny_status 401 unless {{ http_auth_bearer,jwt_payload_query('$.aud') -m str {audience} }}
  http-request set-var(txn.sub) http_auth_bearer,jwt_payload_query('$.sub')
  stick-table type string len 64 size 1m expire 1h store http_req_rate(1h)
  http-request track-sc0 var(txn.sub)
  http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt 100000000 }} or limited {{ sc_http_req_rate(0) gt 1 }}
  http-request deny deny_status 403 if forbidden !{{ http_auth_bearer,jwt_payload_query('$.groups') -m sub "nobody" }}
  http-request set-header X-Forwarded-User %[var(txn.sub)]
  http-request set-header X-Forwarded-Email %[http_auth_bearer,jwt_payload_query('$.email')]
  http-request del-header Authorization
  default_backend orders
backend orders
  http-reuse always
  server orders 127.0.0.1:{backend}
"""
TLS = "ssl crt {pem} ssl-min-ver TLSv1.3 alpn http/1.1"
LOG = (
    '{{"time":"%Tl","request_id":"%ID","client":"%ci","method":"%HM","path":"%HP","status":%ST,'
    '"bytes_in":%U,"bytes_out":%B,"duration":%Ta,"upstream":"%b","flags":"%ts"}}'
)


class HAProxy(Peer):
    """HAProxy, one thread."""

    name = "haproxy"
    title = "HAProxy"
    does = "RS256 (verified each time), no groups, a limit per subject, identity headers, JSON log"
    abilities = frozenset({"tls", "tokens", "refusals", "websocket"})

    def absent(self) -> str | None:
        """A package of the system; tokens came with 2.5."""
        return None if find("haproxy") else "not installed (apt install haproxy)"

    def version(self) -> str:
        """`HAProxy version 2.6.12-… DATE - URL`."""
        return output(str(find("haproxy")), "-v").split()[2]

    def command(self, site: Site, setting: Setting, place: Place) -> list[str]:
        """Its certificate and key are one file."""
        pem = place.room / "server.pem"
        pem.write_bytes(site.certificate.read_bytes() + site.private_key.read_bytes())
        text = CONFIGURATION.format(
            workers=setting.workers,
            port=place.port,
            tls=TLS.format(pem=pem) if setting.tls else "",
            log=LOG.format(),
            key=site.public_key,
            issuer=ISSUER,
            audience=AUDIENCE,
            backend=site.backend,
        )
        file = place.room / "haproxy.cfg"
        file.write_text(text)
        return [str(find("haproxy")), "-db", "-f", str(file)]
