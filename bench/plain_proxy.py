"""CPU per request, authproxy with everything on beside a plain aiohttp proxy that verifies every token, in one run.

Both do the same job for the same load: one core each, rounds in turn, medians of user + system time of the whole process
per request. A small asyncio load generator and backend run on the other core.

    python bench/plain_proxy.py [--requests 20000] [--rounds 5] [--json FILE]
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import load
from bench.proxies import Target, authproxy, plain

BUDGET = 0.35  # the project's own: authproxy / plain proxy


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, from /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(target: Target, requests: int, connections: int) -> tuple[float, float]:
    """CPU µs per request, and requests per second, of one round."""
    before, began = cpu_seconds(target.process.pid), time.monotonic()
    wrong = asyncio.run(load.run(target.port, target.headers, requests, connections))
    spent, took = cpu_seconds(target.process.pid) - before, time.monotonic() - began
    if wrong:
        raise SystemExit(f"{target.name}: {wrong} of {requests} answers were not as expected")
    return spent / requests * 1e6, requests / took


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=20000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        backend = subprocess.Popen(
            [sys.executable, "-m", "bench.backend"], stdout=subprocess.PIPE, text=True
        )
        assert backend.stdout is not None
        port = int(backend.stdout.readline())
        targets = [make(Path(folder), port) for make in (authproxy, plain)]
        try:
            found = rounds(targets, options.requests, options.rounds, options.connections)
        finally:
            for process in (*(target.process for target in targets), backend):
                process.send_signal(signal.SIGTERM)
                process.wait(10)
    report(found, options.json)


def rounds(
    targets: list[Target], requests: int, count: int, connections: int
) -> dict[str, list[tuple[float, float]]]:
    """All rounds, the targets in turn; a first one of each is not counted."""
    found: dict[str, list[tuple[float, float]]] = {target.name: [] for target in targets}
    for target in targets:
        measure(target, requests // 4, connections)
    for _ in range(count):
        for target in targets:
            found[target.name].append(measure(target, requests, connections))
    return found


def report(found: dict[str, list[tuple[float, float]]], file: Path | None) -> None:
    """Medians with their spread, and the ratio of the medians."""
    figures = {}
    for name, measured in found.items():
        cpu = sorted(m[0] for m in measured)
        rate = statistics.median(m[1] for m in measured)
        figures[name] = {
            "cpu_us": statistics.median(cpu),
            "least": cpu[0],
            "most": cpu[-1],
            "per_second": rate,
        }
        print(
            f"{name:32} {figures[name]['cpu_us']:7.1f} µs CPU a request ({cpu[0]:.1f} to {cpu[-1]:.1f}), {rate:7.0f}/s"
        )
    ours, theirs = (entry["cpu_us"] for entry in figures.values())
    ratio = ours / theirs
    print(f"ratio {ratio:.3f} (budget {BUDGET})")
    if file is not None:
        file.write_text(
            json.dumps({"targets": figures, "ratio": ratio, "budget": BUDGET}, indent=2) + "\n"
        )
    if ratio > BUDGET:
        sys.exit(1)


if __name__ == "__main__":
    main()
