"""What the demo does when its proxy does not come up."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process

import pytest

from authproxy.cli import demo_stage
from authproxy.cli.demo_stage import DemoFailure, run_demo


async def program(text: str) -> Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-c", text, stderr=PIPE)


async def test_reads_the_address_from_the_ready_line() -> None:
    """What comes before the ready line is passed over; of several addresses the first counts."""
    text = "authproxy ready pid=1 listen=127.0.0.1:4711,[::1]:4712"
    process = await program(f"import sys; print('warning', {text!r}, sep='\\n', file=sys.stderr)")
    assert await demo_stage._ready(process) == "127.0.0.1:4711"
    await process.wait()


async def test_a_proxy_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo fails with the proxy's own words, and the process is gone."""
    process = await program("import sys; sys.exit('no port left')")
    with pytest.raises(DemoFailure, match="no port left"):
        await demo_stage._ready(process)
    assert await process.wait() == 1


async def test_a_proxy_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that never says it is ready is waited for so long, and ended even if it ignores that."""
    monkeypatch.setattr(demo_stage, "PATIENCE", 0.5)
    monkeypatch.setattr(demo_stage, "ENDING", 0.2)
    text = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    process = await program(text)
    with pytest.raises(DemoFailure, match="not ready"):
        await demo_stage._ready(process)
    await demo_stage._end(process)
    assert process.returncode == -9


async def test_cancelling_is_not_a_signal() -> None:
    """Where somebody else cancels it, the cancellation goes on."""
    task = asyncio.create_task(run_demo(check=False))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
