"""How everything is measured: proxies side by side, rounds in turn, the median of the rounds with its spread."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Self

from bench.peer import Peer, Proxy, Setting
from bench.processes import machine_cpu
from bench.site import Site

Sample = Mapping[str, float]  # the figures of one round by their names
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
    """One line of a workload: a proxy, a setting, and what a round of it measures.

    `life` is what a started proxy serves: the workload's cases with this setting, this case alone, or one round of it.
    """

    peer: Peer
    setting: Setting
    measure: Callable[[Proxy, int], Sample]
    variant: str = ""
    life: str = "workload"


@dataclass(frozen=True)
class Workload:
    """Something that proxies do; `needs` are the abilities of those that can, `figure` is the figure that counts."""

    name: str
    title: str
    figure: str
    cases: Callable[[Site, Scale, Sequence[Peer]], Sequence[Case]]
    needs: frozenset[str] = frozenset()


class Meter:
    """What a proxy spent while the `with` lasted, or until `stop`; its memory is compared to that at its start."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy, self._program = proxy, proxy.program
        self._program.forget_peak()
        self._before, self._began = self._program.cpu(), time.monotonic()
        self._machine = machine_cpu()
        self.seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.seconds:
            self.stop()

    def stop(self) -> None:
        """Read everything."""
        self.seconds = time.monotonic() - self._began
        spent = {pid: cpu - self._before.get(pid, 0.0) for pid, cpu in self._program.cpu().items()}
        self.cpu, self.busiest = sum(spent.values()), max(spent.values())
        busy, total = (now - then for now, then in zip(machine_cpu(), self._machine, strict=True))
        self.machine = busy / total if total else 0.0
        self.peak_growth = self._program.peak() - self._proxy.memory
        self.growth = self._program.resident() - self._proxy.memory


class Stage:
    """The proxies that run, each started when it is first needed."""

    def __init__(self, site: Site, running: ExitStack) -> None:
        self._site, self._running = site, running
        self._proxies: dict[tuple[str, Setting, str], Proxy] = {}

    @contextmanager
    def proxy(self, case: Case) -> Iterator[Proxy]:
        """The one for this case."""
        if case.life == "round":
            proxy = case.peer.start(self._site, case.setting)
            try:
                yield proxy
            finally:
                proxy.program.end()
            return
        key = (case.peer.name, case.setting, case.variant if case.life == "case" else "")
        if key not in self._proxies:
            self._proxies[key] = case.peer.start(self._site, case.setting)
            self._running.callback(self._proxies[key].program.end)
        yield self._proxies[key]


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
    """All cases of a workload, rounds in turn; the result has one entry for each of them."""
    say(f"{workload.name} begins")
    cases = workload.cases(site, scale, [p for p in peers if workload.needs <= p.abilities])
    found: list[list[Sample]] = [[] for _ in cases]
    with ExitStack() as running:
        stage = Stage(site, running)
        for number in range(WARM_UP, scale.rounds):
            for case, samples in zip(cases, found, strict=True):
                say(
                    f"{workload.name}, round {number + 1} of {scale.rounds}: {case.peer.name} {case.variant}"
                )
                if number == WARM_UP and case.life == "round":
                    continue
                with stage.proxy(case) as proxy:
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
