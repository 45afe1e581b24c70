"""The demo's parts, put up and taken down: directory, backend, proxy, token. Nothing outlives `run_demo`.

On stdout is a shell script, comments and commands; what the proxy logs goes to stderr. A signal cancels the one task,
so that every way out is the same way.
"""

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from authproxy.cli.demo_lines import DemoLine, demo_lines, tried
from authproxy.cli.echo import echo_backend
from authproxy.cli.init import write_starter
from authproxy.cli.signing import Wanted, issuing, mint
from authproxy.cli.writing import Report, write_new
from authproxy.config.load import load

PATIENCE = 30.0
ENDING = 5.0
TOKEN_TTL = 12 * 3600.0
_READY = re.compile(r"authproxy ready pid=\d+ listen=(\S+)")
# Theirs would change what the demo's proxy does: another configuration, another state, another's readiness.
_NOT_OURS = frozenset({"AUTHPROXY_CONFIG", "STATE_DIRECTORY", "NOTIFY_SOCKET", "LISTEN_FDS"})


class DemoFailure(Exception):  # noqa: N818  # it ends the demo with a line on stderr
    """The demo cannot go on; the text says why."""


async def run_demo(*, check: bool) -> bool:
    """Show the lines until a signal; with `check` run them instead. False: one did not come to what it says.

    Raises:
        DemoFailure: the proxy does not start, or ends by itself.
    """
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    stopped: list[int] = []

    def stop(number: int) -> None:
        if not stopped:  # a second Ctrl-C must not cut short what takes down the rest
            task.cancel()
        stopped.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return await _perform(check=check)
    except asyncio.CancelledError:
        if not stopped:
            raise
        print("# ended, and everything that belonged to it is gone", flush=True)
        return not check


async def _perform(*, check: bool) -> bool:
    with TemporaryDirectory(prefix="authproxy-demo-") as name:
        folder = Path(name)
        async with echo_backend() as backend:
            password = write_starter(Report(folder), backend, listener="127.0.0.1:0", admin=None)
            async with _proxy(folder, quiet=check) as (process, address):
                lines = _lines(folder, address)
                if check:
                    return await _check(lines)
                _show(lines, folder, address, password or "")
                code = await process.wait()
                raise DemoFailure(f"the proxy ended by itself, exit code {code}")


def _lines(folder: Path, address: str) -> list[DemoLine]:
    loaded = load(folder / "authproxy.yaml")
    wanted = Wanted(subject="demo", groups=("staff",), ttl=TOKEN_TTL)
    token = mint(loaded, next(iter(issuing(loaded))), wanted, time.time())
    token_file = folder / "token"
    write_new(token_file, token.encode() + b"\n", private=True)
    return demo_lines(address, folder / "certs" / "ca.crt", token, token_file, os.environ)


@asynccontextmanager
async def _proxy(
    folder: Path, *, quiet: bool
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`authproxy serve` as a process of its own; gives it and the address that it listens on."""
    command = [sys.executable, "-m", "authproxy.cli.main", "serve"]
    process = await asyncio.create_subprocess_exec(
        *command,
        "--config",
        str(folder / "authproxy.yaml"),
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name not in _NOT_OURS},
        stdin=asyncio.subprocess.DEVNULL,
        # The access log must not get between the lines of the script on stdout.
        stdout=asyncio.subprocess.DEVNULL if quiet else 2,
        stderr=asyncio.subprocess.PIPE,
    )
    forwarding: asyncio.Task[None] | None = None
    try:
        address = await _ready(process)
        forwarding = asyncio.create_task(_forward(process))
        yield process, address
    finally:
        await _end(process)
        if forwarding is not None:
            await forwarding


async def _ready(process: asyncio.subprocess.Process) -> str:
    said = ""
    assert process.stderr is not None, "it is piped"
    try:
        async with asyncio.timeout(PATIENCE):
            while line := (await process.stderr.readline()).decode("utf-8", "replace"):
                if found := _READY.search(line):
                    return found[1].split(",")[0]
                said += line
    except TimeoutError:
        raise DemoFailure(f"the proxy is not ready after {PATIENCE:g} s\n{said}") from None
    raise DemoFailure(f"the proxy did not start:\n{said}")


async def _forward(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None, "it is piped"
    while line := await process.stderr.readline():
        print(line.decode("utf-8", "replace"), end="", file=sys.stderr, flush=True)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(ENDING):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _show(lines: Sequence[DemoLine], folder: Path, address: str, password: str) -> None:
    port = address.rpartition(":")[2]
    parts = [
        f"# authproxy serves https://localhost:{port} from {folder}, which is gone when the demo ends.",
        f"# In a browser that is told to trust its certificate, log in as `admin` with {password}.",
        "# Who that is stands at /.authproxy/userinfo, the way out is /.authproxy/logout.",
        "# Run these in another terminal:",
    ]
    for line in lines:
        parts += ["", f"# {line.shows}", line.command]
    parts += ["", "# Ctrl-C ends the demo."]
    print("\n".join(parts), flush=True)


async def _check(lines: Sequence[DemoLine]) -> bool:
    passed = True
    for line in lines:
        output, missing = await tried(line)
        passed = passed and not missing
        print(f"{'FAILED' if missing else 'ok'}: {line.shows}", flush=True)
        if missing:
            print(
                f"  {line.command}\n  {'; '.join(missing)}; it gave:\n{output[:2000]}", flush=True
            )
    return passed
