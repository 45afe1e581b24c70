"""The loop of a worker: uvloop where it is there, asyncio's own with a word about it where it is not."""

import asyncio
import gc
import logging
import sys

import pytest
import uvloop

from authproxy.server.loop import loop_factory, run


@pytest.mark.usefixtures("collector")
def test_it_runs_on_the_best_loop() -> None:
    """The main function runs on uvloop, after all that is loaded was taken out of the collector's sight."""
    seen: list[object] = []

    async def main() -> None:
        seen.extend((type(asyncio.get_running_loop()), gc.get_freeze_count() > 1000))

    run(main)
    assert seen == [uvloop.Loop, True]


def test_without_uvloop_it_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing uvloop is no reason not to serve, and not kept silent."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with caplog.at_level(logging.WARNING):
        assert loop_factory() is None
    assert "uvloop is not installed" in caplog.text
