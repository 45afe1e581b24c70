"""What the demo shows: each a command that works as printed in another terminal, and what it comes to.

`tried` runs the very text that is printed, through a shell.
"""

import asyncio
import os
import re
import shlex
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from authproxy.cli.echo import GREETING

STREAMED = 64 << 20
PATIENCE = 60.0

# The key is RFC 6455's own example; each answer to it is known, and nobody's secret.
_UPGRADE = (
    "-H 'Connection: Upgrade' -H 'Upgrade: websocket' "
    "-H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='"
)


@dataclass(frozen=True, slots=True)
class DemoLine:
    """A command, what it shows, and patterns that its output has (`wanted`) or must not have (`unwanted`)."""

    shows: str
    command: str
    wanted: tuple[str, ...]
    unwanted: str = ""

    def misses(self, output: str) -> list[str]:
        """What the output lacks, or has and should not."""
        missing = [f"no {p}" for p in self.wanted if not re.search(p, output, re.MULTILINE)]
        if self.unwanted and re.search(self.unwanted, output):
            missing.append(f"it has {self.unwanted}")
        return missing


def demo_lines(
    address: str, authority: Path, token: str, token_file: Path, environ: Mapping[str, str]
) -> list[DemoLine]:
    """The lines, for a proxy at this `host:port`; the first holds the token itself, the others read it from its file."""
    base = f"https://localhost:{address.rpartition(':')[2]}"
    curl = f"curl --cacert {shlex.quote(str(authority))}{_past_proxies(environ)}"
    authorized = f'{curl} -H "Authorization: Bearer $(cat {shlex.quote(str(token_file))})"'
    return [
        DemoLine(
            "With a good token the request reaches the backend, which tells what it got: 200",
            f"{curl} -si -H 'Authorization: Bearer {token}' {base}/hello",
            (r"^HTTP/1\.1 200 ", r'"target": "/hello"', r'"X-Forwarded-User": "demo"'),
            token,
        ),
        DemoLine(
            "Without one: 401",
            f"{curl} -si {base}/hello",
            (r"^HTTP/1\.1 401 ", "^[Ww][Ww][Ww]-[Aa]uthenticate: Bearer", '"unauthenticated"'),
            "target",
        ),
        _login(curl, base),
        DemoLine(
            "The route is for the group `admins`, and the token says `staff`: 403",
            f"{authorized} -si {base}/admin/users",
            (r"^HTTP/1\.1 403 ", '"forbidden"'),
            "target",
        ),
        DemoLine(
            "Whoever the client says it is, the backend hears what the token says: 200",
            f"{authorized} -si -H 'X-Forwarded-User: root' -H 'X_Forwarded_User: root' {base}/hello",
            (r"^HTTP/1\.1 200 ", r'"X-Forwarded-User": "demo"'),
            "root",
        ),
        DemoLine(
            "Five requests to a route that takes three a minute: 200 200 200 429 429",
            f"{authorized} -s -o /dev/null -w '%{{http_code}} ' '{base}/expensive/?[1-5]'",
            (r"^(200 ){1,4}429 ",),
        ),
        DemoLine(
            "A WebSocket (ended by --max-time): 101 and the backend's greeting",
            f"{authorized} -siN --http1.1 --max-time 2 {_UPGRADE} --output - {base}/ws",
            (r"^HTTP/1\.1 101 ", re.escape(GREETING)),
        ),
        DemoLine(
            f"A download of {STREAMED >> 20} MiB that is streamed, never held as a whole: 200",
            f"{authorized} -s -o /dev/null -w '%{{http_code}}, %{{size_download}} bytes, "
            "the first after %{time_starttransfer} s, the last after %{time_total} s\\n' "
            f"'{base}/stream?bytes={STREAMED}'",
            (f"^200, {STREAMED} bytes",),
        ),
        DemoLine(
            "Events, each as it happens: 200",
            f"{authorized} -siN '{base}/events?count=3'",
            (r"^HTTP/1\.1 200 ", "^data: event 3 of 3"),
        ),
    ]


def _login(curl: str, base: str) -> DemoLine:
    return DemoLine(
        "A browser without a session is sent to the login: 302",
        f"{curl} -si -H 'Accept: text/html' -H 'Sec-Fetch-Mode: navigate' {base}/hello",
        (r"^HTTP/1\.1 302 ", r"^[Ll]ocation: /\.authproxy/login\?next=/hello"),
        "target",
    )


def _past_proxies(environ: Mapping[str, str]) -> str:
    """Where curl would ask a web proxy for localhost, it is told not to."""
    names = {name.lower() for name, value in environ.items() if value}
    return " --noproxy localhost" if names & {"https_proxy", "all_proxy"} else ""


async def tried(line: DemoLine) -> tuple[str, list[str]]:
    """Run the line in a shell; its output, and what it misses."""
    process = await asyncio.create_subprocess_shell(
        line.command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            output, _ = await process.communicate()
    except TimeoutError:
        return "", [f"no end within {PATIENCE:g} s"]
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the shell and its curl
            await process.wait()
    text = output.decode("utf-8", "replace")
    return text, line.misses(text)
