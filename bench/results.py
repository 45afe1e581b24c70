"""What a run found: its record, and the budgets that it is held against."""

import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path
from typing import Any

from bench.peer import Peer
from bench.rounds import Scale, Workload
from bench.small import CPU
from bench.workloads import CONNECTION, CPU_BYTES, PEAK, WORKLOADS

Entry = dict[str, Any]  # peer, variant, figures: name -> median, least, most, rounds
Found = dict[str, list[Entry]]  # workload -> its entries


@dataclass(frozen=True)
class Line:
    """An entry of a workload: the proxy's first, or a later variant."""

    workload: str
    figure: str
    peer: str = "authproxy"
    variant: int = 0

    def median(self, found: Found) -> float | None:
        """Its median; nothing where it was not measured."""
        entries = [e for e in found.get(self.workload, ()) if e["peer"] == self.peer]
        if len(entries) <= self.variant:
            return None
        value: float = entries[self.variant]["figures"][self.figure]["median"]
        return value


@dataclass(frozen=True)
class Budget:
    """A promise about a figure, or about its ratio to another one."""

    says: str
    bound: float
    of: Line
    to: Line | None = None
    least: bool = False  # the bound is the least, not the most

    def judge(self, found: Found) -> dict[str, Any] | None:
        """What came of it; nothing where it was not measured."""
        value = self.of.median(found)
        if self.to is not None:
            base = self.to.median(found)
            value = value / base if value is not None and base else None
        if value is None:
            return None
        met = value >= self.bound if self.least else value <= self.bound
        return {
            "budget": self.says,
            "bound": self.bound,
            "least": self.least,
            "value": value,
            "met": met,
        }


def against(workload: str, figure: str, peer: str, bound: float, says: str) -> Budget:
    """Ours by a peer's."""
    return Budget(says, bound, Line(workload, figure), Line(workload, figure, peer))


def growth(workload: str, figure: str, bound: float, says: str, least: bool = False) -> Budget:
    """Ours with much by ours with little."""
    much, little = Line(workload, figure, variant=1), Line(workload, figure)
    return Budget(says, bound, much, little, least)


CAPACITY = next(w.figure for w in WORKLOADS if w.name == "W6-workers")
BUDGETS = [
    against("W1", CPU, "envoy", 1.15, "HTTP, everything on: CPU a request by Envoy's"),
    against("W2", CPU, "envoy", 1.15, "TLS, everything on: CPU a request by Envoy's"),
    against("W1", CPU, "plain", 0.35, "HTTP, everything on: CPU a request by the plain aiohttp proxy's"),
    against("W4", CPU_BYTES, "haproxy", 1.5, "downloads: CPU a GB by HAProxy's"),
    against("W5", CPU_BYTES, "haproxy", 1.5, "uploads: CPU a GB by HAProxy's"),
    Budget("downloads: peak memory over that at the start, MiB", 32, Line("W4", PEAK)),
    Budget("uploads: peak memory over that at the start, MiB", 32, Line("W5", PEAK)),
    growth("W6-routes", CPU, 1.10, "CPU a request, 10,000 routes by 10"),
    growth("W6-subjects", CPU, 1.10, "CPU a request, many subjects by 10"),
    growth("W6-workers", CAPACITY, 1.8, "capacity, 2 workers by 1", least=True),
    Budget("memory of an idle TLS connection, KiB", 40, Line("W6-idle", CONNECTION)),
]  # fmt: skip


def judged(found: Found) -> list[dict[str, Any]]:
    """All budgets that this run can tell of."""
    return [verdict for budget in BUDGETS if (verdict := budget.judge(found)) is not None]


def spoken(verdict: Mapping[str, Any]) -> str:
    """A budget in a line."""
    word = "met" if verdict["met"] else "MISSED"
    bound = f"at {'least' if verdict['least'] else 'most'} {verdict['bound']:g}"
    return f"{word:6} {verdict['value']:6.2f}, {bound:13} {verdict['budget']}"


def processor() -> str:
    """The CPU's model."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def commit() -> str:
    """What was measured; a `+` says that the program differed from it."""
    here = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *words], check=False, capture_output=True, text=True)  # fmt: skip
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", str(here.parent / "authproxy"))
    return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")


def record(
    scale: Scale,
    peers: Sequence[Peer],
    left_out: Mapping[str, str],
    workloads: Sequence[Workload],
    found: Found,
) -> dict[str, Any]:
    """Everything that one needs to read the figures, and to have them again."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit(),
        "machine": {
            "cpu": processor(),
            "cores": cpu_count(),
            "system": f"{platform.system()} {platform.release()}",
        },
        "rounds": scale.rounds,
        "amount": scale.amount,
        "peers": {
            peer.name: {
                "title": peer.title,
                "version": peer.version(),
                "does": peer.does,
                "checks": "tokens" in peer.abilities,
            }
            for peer in peers
        },
        "left_out": dict(left_out),
        "workloads": {
            workload.name: {
                "title": workload.title,
                "figure": workload.figure,
                "entries": found[workload.name],
            }
            for workload in workloads
        },
        "budgets": judged(found),
    }
