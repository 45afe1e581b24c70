"""A worker that stands still for ten seconds, as a machine that swaps or a debugger has it: the others serve, and nothing is lost."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.end_to_end.fleet import OPEN, fleet, guarded
from tests.end_to_end.load import Tally, hammer

STOPPED = 10.0


@pytest.mark.slow
def test_a_stopped_worker_holds_up_its_own_and_nobody_else(tmp_path: Path) -> None:
    """New connections are served by the other one at once; kept ones of the stopped are answered when it goes on, all of
    them; and a token that was refused before is refused by it still.
    """
    with fleet(tmp_path, workers=2, routes=[OPEN, guarded("private")]) as f:
        links = [f.background.do(f.background.link(f.port)) for _ in range(24)]
        for link in links:
            assert f.background.do(link.ask())[0] == 200
        victim, tally = f.workers()[0], Tally()
        os.kill(victim, signal.SIGSTOP)
        began = time.monotonic()
        waiting = [f.background.begin(link.ask("/private", "a.b.c")) for link in links]
        done = f.background.begin(hammer(f.background, f.port, tally, 4, anew=True))
        time.sleep(STOPPED)
        os.kill(victim, signal.SIGCONT)
        statuses = [answer()[0] for answer in waiting]
        held = time.monotonic() - began - STOPPED
        tally.stop = True
        done()
        assert statuses == [401] * len(links)
        assert held < 5
        assert (set(tally.statuses), tally.failed) == ({200}, [])
        assert tally.served > 500
        assert victim in f.workers()
