"""A real OpenID provider (npm: oidc-provider) in a process of its own, told to rotate its keys, stopped and started again."""

import base64
import http.client
import json
import subprocess
from pathlib import Path
from urllib.parse import urlencode

from tests.end_to_end.nginx import absent, need
from tests.end_to_end.served import environment, free_port

HERE = Path(__file__).resolve().parent
MODULES = HERE.parent.parent / "build" / "node" / "node_modules"
AUDIENCE = "urn:test:api"
_BASIC = base64.b64encode(b"robot:robot-secret").decode()


class Provider:
    """A running provider; `issuer` is its name and where it is."""

    def __init__(self, folder: Path) -> None:
        self._node = need("node")
        if not (MODULES / "oidc-provider").is_dir():
            absent("oidc-provider")
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self._err = folder / "provider.err"
        self.start()

    def start(self) -> None:
        """Start it, with keys of its own making; it is there when this returns."""
        with self._err.open("ab") as err:
            self._process = subprocess.Popen(
                [self._node, str(HERE / "provider.mjs"), str(MODULES), str(self.port)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, text=True, env=environment(),
            )  # fmt: skip
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said, f"the provider does not start: {self._err.read_text()}"

    def stop(self) -> None:
        """Stop it; nobody listens there any more."""
        self._process.kill()
        self._process.communicate()

    def tell(self, order: str) -> int:
        """`publish`, `use`, `withdraw`, `replace`, or anything else; how often its keys were asked for."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        return int(json.loads(self._process.stdout.readline())["asked"])

    def token(self) -> str:
        """An access token (RFC 9068), by the client's credentials."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            form = urlencode({"grant_type": "client_credentials", "scope": "orders"})
            headers = {"Authorization": f"Basic {_BASIC}", "Content-Type": "application/x-www-form-urlencoded"}  # fmt: skip
            connection.request("POST", "/token", form, headers)
            return str(json.loads(connection.getresponse().read())["access_token"])
        finally:
            connection.close()
