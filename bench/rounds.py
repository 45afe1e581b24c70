"""How everything is measured: proxies side by side, rounds in turn, the median of the rounds with its spread."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from bench.peer import Peer, Proxy, Setting
from bench.site import Site

Sample = Mapping[
    str, float
]  # the figures of one round by their names, the first one being the one that counts
WARM_UP = -1  # the round before the first: not counted, and its answers may be wrong


@dataclass(frozen=True)
class Scale:
    """How much work a run is: `amount` is the share of a full round."""

    rounds: int = 5
    amount: float = 1.0

    def of(self, full: int) -> int:
        """So much of a full amount."""
        return max(int(full * self.amount), 1)


@dataclass(frozen=True)
class Case:
    """One line of a workload: a proxy, a setting, and what a round of it measures."""

    peer: Peer
    setting: Setting
    measure: Callable[[Proxy, int], Sample]
    variant: str = ""


@dataclass(frozen=True)
class Workload:
    """Something that proxies do; `needs` are the abilities of those that can."""

    name: str
    title: str
    figure: str  # the name of the figure that counts, with its unit
    cases: Callable[[Site, Scale, Sequence[Peer]], Sequence[Case]]
    needs: frozenset[str] = frozenset()


class Meter:
    """What a proxy spent in a stretch of time."""

    def __init__(self, proxy: Proxy) -> None:
        self._program = proxy.program
        self._program.forget_peak()
        self._memory = self._program.resident()
        self._before, self._began = self._program.cpu(), time.monotonic()

    def stop(self) -> None:
        """Read everything."""
        self.seconds = time.monotonic() - self._began
        spent = {pid: cpu - self._before.get(pid, 0.0) for pid, cpu in self._program.cpu().items()}
        self.cpu, self.busiest = sum(spent.values()), max(spent.values())
        self.growth = self._program.peak() - self._memory
        self.resident = self._program.resident() - self._memory


@contextmanager
def metered(proxy: Proxy) -> Iterator[Meter]:
    """The body of the `with` is what is measured."""
    meter = Meter(proxy)
    yield meter
    meter.stop()


def expect(proxy: Proxy, number: int, wrong: int) -> None:
    """A figure of answers that were wrong is none."""
    if wrong and number != WARM_UP:
        raise SystemExit(f"{proxy.name}: {wrong} answers were not as expected")


def summary(values: Sequence[float]) -> dict[str, Any]:
    """The median of the rounds, their least and most, and all of them."""
    return {
        "median": statistics.median(values),
        "least": min(values),
        "most": max(values),
        "rounds": list(values),
    }


def run(
    workload: Workload, site: Site, scale: Scale, peers: Sequence[Peer], say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """All cases of a workload, each started once; the result has one entry for each of them."""
    able = [peer for peer in peers if workload.needs <= peer.abilities]
    cases = workload.cases(site, scale, able)
    found: list[list[Sample]] = [[] for _ in cases]
    with ExitStack() as running:
        proxies = []
        for case in cases:
            proxies.append(case.peer.start(site, case.setting))
            running.callback(proxies[-1].program.end)
        for number in range(WARM_UP, scale.rounds):
            for case, proxy, samples in zip(cases, proxies, found, strict=True):
                say(
                    f"{workload.name} round {number + 1} of {scale.rounds}: {proxy.name} {case.variant}"
                )
                sample = case.measure(proxy, number)
                if number != WARM_UP:
                    samples.append(sample)
    return [
        {
            "peer": case.peer.name,
            "variant": case.variant,
            "figures": {name: summary([s[name] for s in samples]) for name in samples[0]},
        }
        for case, samples in zip(cases, found, strict=True)
    ]
