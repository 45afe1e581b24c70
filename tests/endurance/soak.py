"""The soak: a server of two workers under light, mixed load for 80 minutes; memory and descriptors must not grow in the last hour.

    python -m tests.endurance.soak [--seconds 4800] [--state lmdb:state|redis] [--json FILE]

Requests, logins, WebSockets, streams, uploads and refusals; a reload each minute, now and then a refused one; a scrape
every 15 seconds. Every ten seconds memory and descriptors of each process are sampled. After the warm-up, a quarter of
the time, a line is fitted. It passes with less than 1 MiB an hour over all processes, no growth of their descriptors, the
same processes at the end, and nothing answered that should not have been. The load costs a few per cent of a core.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from bench.results import commit, processor
from tests.end_to_end.credentials import Authority, Issuer
from tests.end_to_end.served import Served, configuration, free_port, run, write_configuration
from tests.endurance.callers import Callers, Outcome
from tests.endurance.site import ROUTES, Backend, authenticators, certificates, route
from tests.endurance.trials import Credentials
from tests.endurance.watch import MIB, Series, Watch
from tests.redis_server import RedisServer

MEMORY_MOST = 1.0  # MiB an hour, all processes together, resident and the private part of it alike
DESCRIPTORS_MOST = (
    1.0  # an hour, all together, beyond twice the error: a leak of one a minute would be 60
)
SAMPLE, RELOAD, SCRAPE = 10.0, 60.0, 15.0
WARM_UP = 0.25  # of the time: of 80 minutes 20, as what is kept by time is kept for ten and more
SHOWN = 20  # outcomes that were not expected are told, so many of them


@dataclass
class Server:
    """The program under soak, with what stands around it."""

    folder: Path
    state: str
    issuer: Issuer = field(default_factory=Issuer)
    admin: int = field(default_factory=free_port)

    def start(self, stack: ExitStack) -> None:
        """Start the backend, then the server with a plain listener and one with TLS."""
        self.backend = Backend(self.folder)
        stack.callback(self.backend.kill)
        if self.state == "redis":
            redis = RedisServer()
            stack.callback(redis.close)
            self.state = redis.url
        authority = Authority(self.folder / "authority")
        listeners = [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": {"certificates": certificates(authority)}}]  # fmt: skip
        config = configuration(
            {"app": {"servers": [f"http://127.0.0.1:{self.backend.port}"]}},
            listeners=listeners, admin={"address": f"127.0.0.1:{self.admin}"}, workers=2,
            state={"url": self.state}, bounds={"drain": "5s"},
        )  # fmt: skip
        config["authenticators"] |= authenticators(self.folder)
        file = write_configuration(self.folder, self.issuer, config, ROUTES)
        self.served = Served(file)
        stack.callback(self.served.stop)
        self.tls = ssl.create_default_context(cafile=str(authority.file))
        plain, tls = self.served.ports
        self.bases = [f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{tls}"]

    def processes(self) -> dict[str, int]:
        """The supervisor and its workers."""
        pid = self.served.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {"supervisor": pid} | {f"worker {n}": int(p) for n, p in enumerate(children)}

    def revoke(self, token: str) -> str:
        """Put a token on the revocation list; the token."""
        done = run("token", "revoke", token, "--config", str(self.folder / "authproxy.yaml"))
        if done.returncode:
            raise RuntimeError(done.stderr)
        return token

    def reload(self, number: int) -> None:
        """Replace the policies, each fifth time by what is refused, and say so."""
        routes: list[Any] = [*ROUTES, route(f"extra-{number % 3}")]
        if number % 5 == 4:
            routes.append(route("api"))  # a second route of this name
        new = self.folder / "new.tmp"
        new.write_text(yaml.safe_dump({"routes": routes}))
        new.rename(self.folder / "policies" / "routes.yaml")
        self.served.signal(signal.SIGHUP)

    async def scrape(self) -> None:
        """As Prometheus does, and somebody who looks at the status."""
        for path in ("metrics", "status?format=json"):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.admin)
            writer.write(f"GET /{path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            await reader.read()
            writer.close()


@dataclass
class Tally:
    """What was answered, and what should not have been."""

    verdicts: Counter[str] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)
    requests: int = 0

    def tell(self, outcome: Outcome) -> None:
        """Count it."""
        verdict = outcome.verdict or outcome.error
        self.requests += 1
        self.verdicts[f"{outcome.trial.kind}: {verdict}"] += 1
        if verdict not in outcome.trial.verdicts:
            self.unexpected.append(f"{outcome.name}: {verdict} {outcome.request_id}")


async def _every(seconds: float, do: Callable[[], Any]) -> None:
    while True:
        await asyncio.sleep(seconds)
        waited = do()
        if asyncio.iscoroutine(waited):
            await waited


async def _soak(server: Server, watch: Watch, tally: Tally, seconds: float) -> float:
    """The load and the samples; CPU seconds of the server meanwhile."""
    credentials = Credentials(server.issuer, random.Random(6))
    credentials.revoked = server.revoke(server.issuer.token("ruth", groups=["eng"], exp=int(time.time() + seconds + 900)))  # fmt: skip
    callers = Callers(server.bases, credentials, tally.tell, server.tls)
    begin, spent, numbers = time.monotonic(), watch.cpu(), count()
    async with callers.calling() as c:
        work = [
            *(c.requests(0.25) for _ in range(4)), c.people(4), *(c.sockets(4) for _ in range(2)),
            _every(SAMPLE, lambda: watch.sample(time.monotonic() - begin)),
            _every(RELOAD, lambda: server.reload(next(numbers))), _every(SCRAPE, server.scrape),
        ]  # fmt: skip
        tasks = [asyncio.ensure_future(one) for one in work]
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*(t for t in tasks if t not in done), return_exceptions=True)
        for task in done:  # none of them ends by itself
            task.result()
    return watch.cpu() - spent


def figures(record: dict[str, Any]) -> list[dict[str, Any]]:
    """A line for each process, and one for all together, from the samples of a record."""
    samples, warm_up = record["samples"], record["warm_up"]
    watch = Watch([Series(one["process"], 0, one["resident"], one["private"], one["descriptors"]) for one in samples["processes"]], samples["seconds"])  # fmt: skip
    part, found = watch.after(warm_up), []
    for one in (*watch.series, watch.summed()):
        resident = watch.growth(one.resident, warm_up, MIB)
        private = watch.growth(one.private, warm_up, MIB)
        descriptors = watch.growth(one.descriptors, warm_up)
        found.append({
            "process": one.name,
            "MiB": [round(one.resident[part][i] / MIB, 2) for i in (0, -1)],
            "MiB an hour": [round(resident.an_hour, 3), round(resident.error, 3)],
            "private MiB an hour": [round(private.an_hour, 3), round(private.error, 3)],
            "descriptors": [min(one.descriptors[part]), max(one.descriptors[part])],
            "descriptors an hour": [round(descriptors.an_hour, 3), round(descriptors.error, 3)],
        })  # fmt: skip
    return found


def findings(record: dict[str, Any]) -> list[str]:
    """What speaks against the program; empty where it passed."""
    found = [*(f"not expected: {one}" for one in record["unexpected"]), *record["broken"]]
    scale = record["slack"]
    # Of all together: connections that last go from one worker to the other, and what is theirs goes with them.
    line = figures(record)[-1]
    for what, name in (("resident", "MiB an hour"), ("private", "private MiB an hour")):
        rise, _ = line[name]
        if rise >= MEMORY_MOST * scale:
            found.append(f"{what} memory grows by {rise} MiB an hour")
    rise, error = line["descriptors an hour"]
    if rise - 2 * error >= DESCRIPTORS_MOST * scale:
        found.append(f"descriptors grow by {rise} an hour")
    return found


def soak(seconds: float, state: str = "lmdb:state", slack: float = 1.0) -> dict[str, Any]:
    """Run it; the record of the run: it passed where there are no `findings` in it."""
    with tempfile.TemporaryDirectory(prefix="authproxy-soak-") as folder, ExitStack() as stack:
        server, tally = Server(Path(folder), state), Tally()
        server.start(stack)
        before = server.processes()
        watch = Watch.of(before)
        cpu = asyncio.run(_soak(server, watch, tally, seconds))
        same = server.processes() == before
        status = server.served.stop()
        errors = server.served.errors()
    record: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()), "commit": commit(),
        "machine": {"cpu": processor(), "cores": os.cpu_count()},
        "seconds": seconds, "warm_up": seconds * WARM_UP, "state": state.partition(":")[0], "slack": slack,
        "requests": tally.requests, "reloads": errors.count("reloaded "), "refused_reloads": errors.count("not reloaded"),
        "cpu_seconds": round(cpu, 1), "verdicts": dict(sorted(tally.verdicts.items())),
        "unexpected": tally.unexpected[:SHOWN], "broken": [],
        "samples": {"seconds": [round(t, 1) for t in watch.seconds], "processes": [
            {"process": s.name, "resident": s.resident, "private": s.private, "descriptors": s.descriptors} for s in watch.series
        ]},
    }  # fmt: skip
    if not same:
        record["broken"].append("a worker was replaced")
    if status or "Traceback" in errors:
        record["broken"].append(f"it ended with {status}: {errors[-2000:]}")
    return record


def main() -> int:
    """Run, write, judge."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.endurance.soak", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, default=4800)
    parser.add_argument("--state", default="lmdb:state")
    parser.add_argument(
        "--slack", type=float, default=1.0, help="times the bounds: a short run is noisy"
    )
    parser.add_argument("--json", type=Path, help="where to write the record")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # with all that was started
    record = soak(asked.seconds, asked.state, asked.slack)
    text = json.dumps(record, ensure_ascii=False) + "\n"
    if asked.json:
        asked.json.write_text(text)
    found = findings(record)
    for line in (
        *figures(record),
        {"verdicts": record["verdicts"]},
        {"cpu seconds": record["cpu_seconds"]},
    ):
        sys.stdout.write(f"{line}\n")
    sys.stdout.write("".join(f"FAILED: {one}\n" for one in found) or "passed\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
