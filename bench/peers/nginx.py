"""nginx: it forwards and logs; it knows no tokens without further modules."""

import os

from bench.peer import Peer, Place, Setting, find, output
from bench.site import Site

CONFIGURATION = """\
{user}
daemon off;
worker_processes {workers};
pid {room}/nginx.pid;
error_log {room}/error.log;
events {{ worker_connections 16384; }}
http {{
  log_format json escape=json
    '{{"time":"$time_iso8601","request_id":"$request_id","client":"$remote_addr","method":"$request_method",'
    '"host":"$host","path":"$request_uri","status":$status,"bytes_in":$request_length,"bytes_out":$bytes_sent,'
    '"duration":$request_time,"upstream":"$upstream_addr"}}';
  access_log {room}/access.log json buffer=64k flush=1s;
  client_body_temp_path {room}/body;
  proxy_temp_path {room}/proxy;
  fastcgi_temp_path {room}/fastcgi;
  uwsgi_temp_path {room}/uwsgi;
  scgi_temp_path {room}/scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  client_max_body_size 0;
  ssl_protocols TLSv1.3;
  map $http_upgrade $upgrading {{ default upgrade; '' ''; }}
  upstream orders {{
    server 127.0.0.1:{backend};
    keepalive 128;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} {tls} backlog=4096;
    ssl_certificate {certificate};
    ssl_certificate_key {private_key};
    location / {{
      proxy_pass http://orders;
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Connection $upgrading;
      proxy_set_header Upgrade $http_upgrade;
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
    }}
  }}
}}
"""


class Nginx(Peer):
    """nginx, one worker."""

    name = "nginx"
    title = "nginx"
    does = "forwards only: no tokens, no groups, no limit; JSON log"
    abilities = frozenset({"tls", "websocket"})

    def absent(self) -> str | None:
        """A package of the system."""
        return None if find("nginx") else "not installed (apt install nginx)"

    def version(self) -> str:
        """`nginx version: nginx/1.22.1`."""
        return output(str(find("nginx")), "-v").split("/")[1]

    def command(self, site: Site, setting: Setting, place: Place) -> list[str]:
        """Workers of root's nginx are nobody's, who could not come into the folder."""
        text = CONFIGURATION.format(
            user="user root;" if os.getuid() == 0 else "",
            workers=setting.workers,
            room=place.room,
            port=place.port,
            tls="ssl" if setting.tls else "",
            certificate=site.certificate,
            private_key=site.private_key,
            backend=site.backend,
        )
        file = place.room / "nginx.conf"
        file.write_text(text)
        return [str(find("nginx")), "-c", str(file), "-e", str(place.room / "error.log")]
