"""`python -m bench.scale simulate|redis|real FILE`: the figures of docs/scale.md, into a record in JSON; `plot FILE SVG` draws it.

What is simulated, what is measured, and on what, is written beside each figure.
"""

import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from authproxy.model.rate import STRATEGIES, Charge, Rate
from authproxy.rate_limits.redis_ledger import RedisLedger
from authproxy.state.redis_store import RedisStore
from bench.fleet_of_leases import Fleet, Simulation
from bench.plots import Bar, Panel, plot
from bench.two_machines import real
from tests.redis_server import RedisServer

LIMIT = Rate(600, 10)
FLEETS = [
    Fleet(4, 1_000, 1_000_000, 20_000.0, LIMIT),
    Fleet(4, 100_000, 1_000_000, 20_000.0, LIMIT),
    Fleet(32, 100_000, 1_000_000, 50_000.0, LIMIT, spread=4),
    Fleet(1_000, 1_000_000, 2_000_000, 100_000.0, LIMIT, spread=4),
    Fleet(1_000, 1_000_000, 2_000_000, 100_000.0, LIMIT),
]
SECONDS = 4.0


def simulated(fleet: Fleet) -> dict[str, Any]:
    """A row: the fleet, and what came of it."""
    outcome = Simulation(fleet).play()
    row = asdict(fleet) | {"rate": str(fleet.rate)} | asdict(outcome)
    return row | {"trips": outcome.trips_per_request, "shortfall": outcome.shortfall}


def simulate() -> list[dict[str, Any]]:
    """All fleets, with both strategies that have slices."""
    fixed = [Fleet(**(vars(fleet) | {"strategy": "fixed-window"})) for fleet in FLEETS]
    with ProcessPoolExecutor(2) as pool:
        return list(pool.map(simulated, [*FLEETS, *fixed]))


def calls_a_second(server: RedisServer, strategy: Any, limits: int, keys: int) -> float:
    """What one Redis carries when four connections never let it wait: calls of `limits` limits, each of one of `keys` keys."""

    async def load() -> float:
        stores = [RedisStore(server.access()) for _ in range(4)]
        rate, done, end = Rate(1000, 60), 0, 0.0

        async def client(number: int) -> None:
            nonlocal done
            ledger = RedisLedger(stores[number % 4])
            while time.monotonic() < end:
                number = (number * 1103515245 + 12345) % (1 << 31)
                charges = [Charge((n << 64 | number % keys).to_bytes(16), rate, strategy) for n in range(limits)]  # fmt: skip
                await ledger.acquire(charges)
                done += 1

        await asyncio.gather(*(RedisLedger(one).peek([Charge(bytes(16), rate)]) for one in stores))
        end = time.monotonic() + SECONDS
        await asyncio.gather(*(client(number) for number in range(256)))
        for one in stores:
            one.close()
        return done

    before = _cpu(server)
    done = asyncio.run(load())
    return done / (_cpu(server) - before)


def _cpu(server: RedisServer) -> float:
    assert server.process is not None
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def redis() -> dict[str, int]:
    """Calls by a second of the CPU of redis-server, which works on one core."""
    server = RedisServer()
    found: dict[str, int] = {}
    for strategy in STRATEGIES:
        for limits in (1, 3):
            name = f"{strategy}, {limits}"
            found[name] = round(calls_a_second(server, strategy, limits, 100_000))
            server.ask("FLUSHALL")
            print(name, found[name], flush=True)
    server.close()
    return found


def drawn(rows: list[dict[str, Any]]) -> str:
    """Round trips by a request, and what did not pass that could, fleet by fleet."""

    def label(row: dict[str, Any]) -> str:
        seen = f", {row['spread']} a key" if row["spread"] else ""
        return f"{row['workers']:,} workers, {row['keys']:,} keys{seen}"

    panels = []
    for strategy in ("sliding-window-counter", "fixed-window"):
        mine = [row for row in rows if row["strategy"] == strategy]
        trips = [100 * row["trips"] for row in mine]
        bars = [Bar(label(r), t, t, t, "ours") for r, t in zip(mine, trips, strict=True)]
        exact = Bar("without leases", 100.0, 100.0, 100.0)
        panels.append(Panel(f"Round trips, {strategy}", "per 100 requests, simulated; less is better", [*bars, exact]))  # fmt: skip
    return plot("Round trips with leases", panels, "Zipf's law, 600 in 10 seconds each; made by `python -m bench.scale`")  # fmt: skip


def main(verb: str, file: str, *more: str) -> None:
    """Do one part, and note it in the record."""
    path = Path(file)
    record = json.loads(path.read_text()) if path.exists() else {}
    if verb == "plot":
        Path(more[0]).write_text(drawn(record["simulate"]))
        return
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    at = {"date": time.strftime("%Y-%m-%d"), "commit": commit, "cores": os.cpu_count(), "python": platform.python_version()}  # fmt: skip
    record |= {verb: {"simulate": simulate, "redis": redis, "real": real}[verb](), f"{verb}_at": at}
    path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
