"""CPU per request, GB and message: authproxy beside its peers, in one run.

    python -m bench [--only W1,W2] [--peers envoy,haproxy] [--rounds 5] [--quick] [--json FILE] [--enforce]

authproxy always takes part. A peer that is not installed is named, and left out. `--enforce` makes a missed budget
the exit status 1. Ctrl-C ends all that was started.
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

from bench import rounds
from bench.peer import Peer
from bench.peers.authproxy import Authproxy
from bench.peers.caddy import Caddy
from bench.peers.envoy import Envoy
from bench.peers.fastify import Fastify
from bench.peers.haproxy import HAProxy
from bench.peers.nginx import Nginx
from bench.peers.plain import Plain
from bench.results import Entry, Found, judged, record, spoken
from bench.rounds import Scale, Workload
from bench.site import Site
from bench.workloads import WORKLOADS

PEERS: list[Peer] = [Authproxy(), Envoy(), HAProxy(), Nginx(), Caddy(), Fastify(), Plain()]


def options() -> argparse.Namespace:
    """What is asked for."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=form
    )
    names = [workload.name for workload in WORKLOADS]
    parser.add_argument(
        "--only", default="", help=f"some of {', '.join(names)}; W6 is all its parts"
    )
    parser.add_argument("--peers", default="", help=f"some of {', '.join(p.name for p in PEERS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a quarter of the work, two rounds")
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--enforce", action="store_true", help="fail where a budget is missed")
    return parser.parse_args()


def chosen(wanted: str) -> list[Workload]:
    """The workloads of these names; all where none is named."""
    names = set(filter(None, wanted.split(",")))
    known = {name for w in WORKLOADS for name in (w.name, w.name.split("-")[0])}
    if names - known:
        raise SystemExit(f"no workload: {', '.join(sorted(names - known))}")
    return [w for w in WORKLOADS if not names or names & {w.name, w.name.split("-")[0]}]


def present(wanted: str) -> tuple[list[Peer], dict[str, str]]:
    """The peers that take part, and why the others do not."""
    names = set(filter(None, wanted.split(",")))
    unknown = names - {peer.name for peer in PEERS}
    if unknown:
        raise SystemExit(f"no peer: {', '.join(sorted(unknown))}")
    peers, left_out = [], {}
    for peer in PEERS:
        if names and peer.name not in names | {"authproxy"}:
            left_out[peer.name] = "not asked for"
        elif (why := peer.absent()) is not None:
            left_out[peer.name] = why
            print(f"{peer.title} is LEFT OUT: {why}")
        else:
            peers.append(peer)
    return peers, left_out


def say(line: str) -> None:
    """Progress: on a terminal one line that is written over."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[2K{line}")
        sys.stderr.flush()


def show(workload: Workload, entries: Sequence[Entry]) -> None:
    """A workload's lines."""
    say("")
    print(f"{workload.name} {workload.title}: {workload.figure}")
    for entry in entries:
        figures = dict(entry["figures"])
        main = figures.pop(workload.figure)
        spread = f"{main['median']:9.1f} ({main['least']:.1f} to {main['most']:.1f})"
        others = "".join(f", {value['median']:.0f} {name}" for name, value in figures.items())
        print(f"  {entry['peer'] + ' ' + entry['variant']:30} {spread:28}{others}")
    sys.stdout.flush()


def measure(workloads: Sequence[Workload], peers: Sequence[Peer], scale: Scale) -> Found:
    """One workload after another, before one site."""
    found: Found = {}
    with tempfile.TemporaryDirectory(prefix="authproxy-bench-") as folder:
        site = Site(Path(folder))
        try:
            for workload in workloads:
                found[workload.name] = rounds.run(workload, site, scale, peers, say)
                show(workload, found[workload.name])
        finally:
            site.end()
    return found


def stop(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM ends the benchmark as Ctrl-C does: with all that it started."""
    raise KeyboardInterrupt


def main() -> int:
    """Run, show, record, judge."""
    asked = options()
    signal.signal(signal.SIGTERM, stop)
    # Thousands of connections are opened here, and inherited as a limit by what is started.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    scale = Scale(2, 0.25) if asked.quick else Scale(asked.rounds)
    workloads, (peers, left_out) = chosen(asked.only), present(asked.peers)
    found = measure(workloads, peers, scale)
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        made = record(scale, peers, left_out, workloads, found)
        asked.json.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n")
    verdicts = judged(found)
    for verdict in verdicts:
        print(spoken(verdict))
    missed = not all(verdict["met"] for verdict in verdicts)
    return int(missed and asked.enforce)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nended")
