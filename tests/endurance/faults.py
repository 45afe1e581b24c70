"""What is done to the stage: each fault begins, lasts, ends, and is in a record with both times.

Two lanes go on at once, so that faults meet: what happens to all (backends, Redis, disks, files), and what happens to
workers. In each lane faults are dealt from a shuffled deck: in a long run each kind comes about equally often.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from tests.endurance.site import route
from tests.endurance.stage import Proxy, Stage

Do = Callable[[], None]
LONGEST = 10.0  # seconds that a worker is stopped


@dataclass(frozen=True, slots=True)
class Fault:
    """One that was: when it began and ended, by the wall clock."""

    kind: str
    where: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Plan:
    """One that will be. `end` undoes it; both are quick, or are called in a thread."""

    kind: str
    where: str
    seconds: float
    begin: Do
    end: Do


def nothing() -> None:
    """It ends by itself."""


def killed_backends(stage: Stage, rng: random.Random) -> Plan:
    """One of them, or both."""
    some = stage.backends if rng.random() < 0.5 else [rng.choice(stage.backends)]

    def kill() -> None:
        for one in some:
            one.kill()

    def start() -> None:
        for one in some:
            one.start()

    where = "both backends" if len(some) == 2 else "one backend"
    return Plan("backend killed", where, rng.uniform(1, 6), kill, start)


def resets(stage: Stage, rng: random.Random) -> Plan:
    """Both reset their connections for two seconds."""

    def begin() -> None:
        for one in stage.backends:
            one.signal(signal.SIGUSR1)

    return Plan("backend resets", "both backends", 2.0, begin, nothing)


def stopped_backend(stage: Stage, rng: random.Random) -> Plan:
    """One takes connections and answers nothing."""
    one = rng.choice(stage.backends)
    return Plan(
        "backend stopped", "one backend", rng.uniform(2, 8),
        partial(one.signal, signal.SIGSTOP), partial(one.signal, signal.SIGCONT),
    )  # fmt: skip


def killed_redis(stage: Stage, rng: random.Random) -> Plan:
    """Gone, and back with what it had written."""
    return Plan("Redis killed", "Redis", rng.uniform(1, 8), stage.redis.stop, stage.redis.start)


def stopped_redis(stage: Stage, rng: random.Random) -> Plan:
    """It takes connections and answers nothing."""
    return Plan(
        "Redis stopped", "Redis", rng.uniform(0.5, 8),
        partial(stage.redis.signal, signal.SIGSTOP), partial(stage.redis.signal, signal.SIGCONT),
    )  # fmt: skip


def full_disk(stage: Stage, rng: random.Random) -> Plan:
    """The access log of one proxy has no room."""
    proxy = rng.choice(stage.proxies)
    return Plan("disk full", proxy.name, rng.uniform(1, 5), proxy.disk.fill, proxy.disk.empty)


def good_reload(stage: Stage, rng: random.Random) -> Plan:
    """Other policies."""
    proxy = rng.choice(stage.proxies)
    return Plan("reload", proxy.name, 1.0, proxy.reload, nothing)


def bad_reload(stage: Stage, rng: random.Random) -> Plan:
    """Policies that are refused, and good ones after a while."""
    proxy = rng.choice(stage.proxies)
    broken = partial(
        proxy.reload, route("api", allow="authenticated")
    )  # a second route of this name
    return Plan("bad reload", proxy.name, rng.uniform(1, 4), broken, proxy.reload)


def new_certificate(stage: Stage, rng: random.Random) -> Plan:
    """For both, as they share the files."""
    return Plan("certificate rotated", "both proxies", 1.0, stage.rotate, nothing)


def killed_worker(stage: Stage, rng: random.Random) -> Plan:
    """As the kernel does when memory is short."""
    proxy = rng.choice(stage.proxies)
    return Plan("worker killed", proxy.name, 0.0, partial(_kill_one, proxy, rng), nothing)


def _kill_one(proxy: Proxy, rng: random.Random) -> None:
    if workers := proxy.workers():
        os.kill(rng.choice(workers), signal.SIGKILL)


def stopped_worker(stage: Stage, rng: random.Random) -> Plan:
    """It does nothing for a while, up to ten seconds."""
    proxy, stopped = rng.choice(stage.proxies), list[int]()

    def begin() -> None:
        if workers := proxy.workers():
            stopped.append(rng.choice(workers))
            os.kill(stopped[0], signal.SIGSTOP)

    def end() -> None:
        for pid in stopped:
            if pid in proxy.workers():
                os.kill(pid, signal.SIGCONT)

    return Plan("worker stopped", proxy.name, rng.uniform(1, LONGEST), begin, end)


Kind = Callable[[Stage, random.Random], Plan]
COMMON: tuple[Kind, ...] = (
    killed_backends, resets, stopped_backend, killed_redis, stopped_redis, full_disk, good_reload, bad_reload, new_certificate,
)  # fmt: skip
WORKERS: tuple[Kind, ...] = (killed_worker, stopped_worker)


def deck(kinds: tuple[Kind, ...], rng: random.Random) -> Iterator[Kind]:
    """All of them in an order of chance, again and again."""
    while True:
        yield from rng.sample(kinds, len(kinds))


async def lane(
    stage: Stage, kinds: tuple[Kind, ...], rng: random.Random, pause: float, end: float, made: list[Fault]
) -> None:  # fmt: skip
    """Faults one after the other, `pause` seconds between them on average; none is left when `end` (monotonic) has come."""
    for kind in deck(kinds, rng):
        await asyncio.sleep(rng.uniform(0.3, 1.7) * pause)
        plan = kind(stage, rng)
        if time.monotonic() + plan.seconds > end:
            return
        began = time.time()
        await asyncio.to_thread(plan.begin)
        await asyncio.sleep(plan.seconds)
        await asyncio.to_thread(plan.end)
        made.append(Fault(plan.kind, plan.where, began, time.time()))
