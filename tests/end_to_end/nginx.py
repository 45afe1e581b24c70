"""Debian's nginx as a backend that nobody here wrote: http, https and a unix socket, static files and uploads."""

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from tests.end_to_end.credentials import Certificate
from tests.end_to_end.served import free_port, wait_until

PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
CONFIGURATION = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log {folder}/access.log;
  types {{ text/plain txt; application/octet-stream bin; }}
  gzip on; gzip_min_length 100; gzip_types text/plain; gzip_proxied any;
  client_max_body_size 0; client_body_buffer_size 64k;
  client_body_temp_path {folder}/temp; proxy_temp_path {folder}/temp; fastcgi_temp_path {folder}/temp;
  uwsgi_temp_path {folder}/temp; scgi_temp_path {folder}/temp;
  server {{
    listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl; listen unix:{folder}/nginx.sock;
    ssl_certificate {certificate}; ssl_certificate_key {key};
    root {folder}/files;
    location /up/ {{ dav_methods PUT DELETE; create_full_put_path on; }}
    location /slow/ {{ limit_rate 64k; }}
    location /whoami {{ return 200 "$http_x_forwarded_user|$http_authorization|$http_host|$http_x_forwarded_proto"; }}
    location /moved {{ return 301 http://elsewhere.test/; }}
  }}
}}
"""


def need(part: str) -> str:
    """The path of a real part; without it the test is skipped loudly, or fails where it must be there."""
    return shutil.which(part, path=PATH) or absent(part)


def absent(part: str) -> NoReturn:
    """Say loudly that a real part is missing."""
    text = f"{part} IS MISSING: what it would prove is NOT tested (tests/real_parts.sh installs it)"
    if os.environ.get("AUTHPROXY_REQUIRE_REAL") == "1":
        pytest.fail(text)
    pytest.skip(text)


class Nginx:
    """A running nginx; what is in `files` is served, what is put under /up/ lands there too."""

    def __init__(self, folder: Path, certificate: Certificate) -> None:
        program = need("nginx")
        self.files = folder / "files"
        for name in ("files/up", "files/slow", "temp"):
            (folder / name).mkdir(parents=True)
        self.http, self.https, self.socket = free_port(), free_port(), folder / "nginx.sock"
        text = CONFIGURATION.format(
            folder=folder, http=self.http, https=self.https,
            certificate=certificate.certificate, key=certificate.private_key,
        )  # fmt: skip
        if os.getuid() == 0:
            text = "user root;" + text  # the folders of a test run are its user's only
        (folder / "nginx.conf").write_text(text)
        self._process = subprocess.Popen(
            [program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if not wait_until(self._answers, 10):
            self.stop()
            log = (folder / "error.log").read_text() if (folder / "error.log").exists() else ""
            pytest.fail(f"nginx does not start: {log}")

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.http), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)
