"""What a proxy costs: CPU time and memory of a process and all its children, from the kernel."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PATIENCE = 10.0  # seconds that a program has to start, and to end


def tree(pid: int) -> Iterator[int]:
    """The process and all that it began, as far as they live."""
    yield pid
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from tree(int(child))


def cpu_seconds(pid: int) -> float:
    """User and system time of one process so far, all its threads, to the nanosecond."""
    # clock_getcpuclockid(3) as Linux makes its ids: the complement of the pid, and "all its threads" in the low bits
    return time.clock_gettime(~pid << 3 | 2)


def machine_cpu() -> tuple[int, int]:
    """What all cores spent so far, working and in all: in ticks, from /proc/stat."""
    spent = [int(n) for n in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(spent) - spent[3] - spent[4], sum(
        spent
    )  # the fourth is idle, the fifth waits for disks


def memory(pid: int, field: str) -> int:
    """A field of /proc/PID/status in bytes: `VmRSS` is what it has, `VmHWM` the most that it had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


class Program:
    """A running program with its children; what it says goes to a file, shown if it does not start."""

    def __init__(
        self, command: list[str], said: Path, environment: dict[str, str] | None = None
    ) -> None:
        self.said = said
        with said.open("wb") as out:
            # Its own session: Ctrl-C is for the benchmark alone, which then ends every program.
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def processes(self) -> list[int]:
        """The ids of its processes, the first one first."""
        return list(tree(self.process.pid))

    def cpu(self) -> dict[int, float]:
        """CPU seconds of each of its processes so far."""
        return {pid: cpu_seconds(pid) for pid in self.processes()}

    def resident(self) -> int:
        """Bytes of memory that it has now."""
        return sum(memory(pid, "VmRSS") for pid in self.processes())

    def peak(self) -> int:
        """The most bytes that it had since `forget_peak`."""
        return sum(memory(pid, "VmHWM") for pid in self.processes())

    def forget_peak(self) -> None:
        """Let the kernel begin anew with the peaks (proc(5), clear_refs)."""
        for pid in self.processes():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def failed(self) -> bool:
        """Did it end by itself?"""
        return self.process.poll() is not None

    def end(self) -> None:
        """End it and its children; kill what does not go."""
        children = self.processes()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            for pid in children:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
