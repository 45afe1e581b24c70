"""CPU per request, GB and message: authproxy beside its peers, in one run.

    python -m bench [--only W1,W2] [--peers envoy,haproxy] [--rounds 5] [--quick] [--json FILE] [--enforce]

authproxy always takes part. A peer that is not installed is named, and left out.
"""

import argparse
import json
import resource
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from bench import rounds
from bench.peer import Peer
from bench.peers.authproxy import Authproxy
from bench.peers.caddy import Caddy
from bench.peers.envoy import Envoy
from bench.peers.fastify import Fastify
from bench.peers.haproxy import HAProxy
from bench.peers.nginx import Nginx
from bench.peers.plain import Plain
from bench.site import Site
from bench.workloads import WORKLOADS

PEERS: list[Peer] = [Authproxy(), Envoy(), HAProxy(), Nginx(), Caddy(), Fastify(), Plain()]


def say(line: str) -> None:
    """Progress: one line that is written over."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[2K{line}")
        sys.stderr.flush()


def show(title: str, figure: str, entries: Sequence[dict[str, Any]]) -> None:
    """A workload's lines."""
    say("")
    print(f"{title}: {figure}")
    for entry in entries:
        figures = dict(entry["figures"])
        main = figures.pop(figure)
        spread = f"{main['median']:9.1f} ({main['least']:.1f} to {main['most']:.1f})"
        others = "".join(f", {value['median']:.0f} {name}" for name, value in figures.items())
        print(f"  {entry['peer'] + ' ' + entry['variant']:30} {spread:28}{others}")
    sys.stdout.flush()


def stop(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM ends the benchmark as Ctrl-C does: with all that it started."""
    raise KeyboardInterrupt


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", help="workloads, separated by commas")
    parser.add_argument("--peers", default="", help="peers, separated by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a quarter of the work, two rounds")
    parser.add_argument("--json", type=Path, help="where to write the results")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    scale = rounds.Scale(2, 0.25) if options.quick else rounds.Scale(options.rounds)
    wanted = {name for name in options.peers.split(",") if name} or {p.name for p in PEERS}
    peers = []
    for peer in PEERS:
        if peer.name in wanted | {"authproxy"}:
            why = peer.absent()
            if why is None:
                peers.append(peer)
            else:
                print(f"{peer.name} is left out: {why}")
    only = set(filter(None, options.only.split(",")))
    results = {}
    with tempfile.TemporaryDirectory(prefix="authproxy-bench-") as folder:
        site = Site(Path(folder))
        try:
            for workload in WORKLOADS:
                if only and workload.name not in only:
                    continue
                results[workload.name] = rounds.run(workload, site, scale, peers, say)
                show(f"{workload.name} {workload.title}", workload.figure, results[workload.name])
        finally:
            site.end()
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nended")
