"""curl as the client: what it says of an answer, and the answer's bytes."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.end_to_end.nginx import need
from tests.end_to_end.served import environment


@dataclass(frozen=True, slots=True)
class Got:
    """What curl got. `said` is its own report (`--write-out '%{json}'`)."""

    exit_status: int
    body: bytes
    fields: dict[str, list[str]]
    said: dict[str, Any]
    trace: str

    @property
    def status(self) -> int:
        """The status code; 0 where there was no answer."""
        return int(self.said.get("http_code", 0))

    def field(self, name: str) -> str:
        """The only value of a field; "" where there is none."""
        values = self.fields.get(name, [])
        assert len(values) < 2, f"{name} is there {len(values)} times"
        return values[0] if values else ""

    @property
    def code(self) -> str:
        """The code of a refusal."""
        assert self.field("content-type") == "application/problem+json"
        return str(json.loads(self.body)["code"])


def curl(folder: Path, url: str, *options: str, token: str = "") -> Got:
    """Ask with curl; nothing of the user's own configuration is read."""
    body = folder / "curl.body"
    body.write_bytes(b"")
    command = [
        need("curl"), "--disable", "--silent", "--show-error", "--verbose", "--max-time", "30",
        "--output", str(body), "--write-out", "%{json}\\n%{header_json}",
    ]  # fmt: skip
    if token:
        command += ["--oauth2-bearer", token]
    done = subprocess.run(
        [*command, *options, url],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    said, _, fields = done.stdout.partition("\n")
    return Got(
        done.returncode,
        body.read_bytes(),
        json.loads(fields) if fields.strip() else {},
        json.loads(said) if said else {},
        done.stderr,
    )
