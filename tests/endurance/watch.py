"""What a program's processes hold over time, from the kernel: memory and descriptors, and how they grow.

Growth is the slope of a line of least squares, with its standard error, over what was sampled after the warm-up. What a
process holds now it mostly held ten seconds ago, so samples say less than as many independent ones: the error says so.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import mul
from pathlib import Path
from statistics import fmean

from bench.processes import cpu_seconds, memory

HOUR, MIB = 3600.0, float(1 << 20)
ALIKE_MOST = 0.99  # a line through steps and slopes that are not straight has no error to speak of


@dataclass(frozen=True, slots=True)
class Slope:
    """Units an hour, and the standard error of that."""

    an_hour: float
    error: float


def slope(seconds: Sequence[float], values: Sequence[float]) -> Slope:
    """The line of least squares through these; two samples at least.

    The error takes what is left over for a process that remembers one step (of first order): n samples that are alike by r
    count as n (1 - r) / (1 + r).
    """
    middle, mean = fmean(seconds), fmean(values)
    spread = sum((t - middle) ** 2 for t in seconds)
    rise = sum((t - middle) * (v - mean) for t, v in zip(seconds, values, strict=True)) / spread
    left = [v - mean - rise * (t - middle) for t, v in zip(seconds, values, strict=True)]
    squares = sum(x * x for x in left)
    alike = sum(map(mul, left, left[1:])) / squares if squares else 0.0
    alike = min(max(alike, 0.0), ALIKE_MOST)
    error = math.sqrt(squares / max(len(values) - 2, 1) / spread * (1 + alike) / (1 - alike))
    return Slope(rise * HOUR, error * HOUR)


@dataclass
class Series:
    """One process: its samples, in the order of `Watch.seconds`."""

    name: str
    pid: int
    resident: list[int] = field(default_factory=list)  # VmRSS, bytes
    private: list[int] = field(
        default_factory=list
    )  # RssAnon, bytes: without files that are mapped
    descriptors: list[int] = field(default_factory=list)


@dataclass
class Watch:
    """Several processes, sampled together."""

    series: list[Series]
    seconds: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, processes: dict[str, int]) -> "Watch":
        """Of these processes, by name."""
        return cls([Series(name, pid) for name, pid in processes.items()])

    def sample(self, now: float) -> None:
        """Look at each of them.

        Raises:
            ProcessLookupError, FileNotFoundError: one of them has ended.
        """
        for one in self.series:
            one.resident.append(memory(one.pid, "VmRSS"))
            one.private.append(memory(one.pid, "RssAnon"))
            one.descriptors.append(len(list(Path(f"/proc/{one.pid}/fd").iterdir())))
        self.seconds.append(now)

    def cpu(self) -> float:
        """CPU seconds of all of them so far."""
        return sum(cpu_seconds(one.pid) for one in self.series)

    def after(self, warm_up: float) -> slice:
        """The samples that count."""
        return slice(sum(t < warm_up for t in self.seconds), None)

    def growth(self, values: Sequence[int], warm_up: float, unit: float = 1.0) -> Slope:
        """Of one series of values."""
        part = self.after(warm_up)
        return slope(self.seconds[part], [v / unit for v in values[part]])

    def summed(self) -> Series:
        """All processes together."""
        total = Series("all processes", 0)
        for name in ("resident", "private", "descriptors"):
            columns = zip(*(getattr(one, name) for one in self.series), strict=True)
            setattr(total, name, [sum(column) for column in columns])
        return total
