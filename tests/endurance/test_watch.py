"""The watch sees growth where there is growth, in a process that really leaks, and none where there is none."""

import subprocess
import sys

import pytest

from tests.endurance.watch import HOUR, MIB, Watch, slope

LEAKS = """
import sys
held = []
for _ in sys.stdin:
    held.append((bytearray(1 << 20), open("/dev/null")))
    print(flush=True)
"""


def test_a_slope_is_of_least_squares() -> None:
    """Units an hour, exact for a line; the error is that of what does not fit."""
    found = slope([0, 10, 20, 30], [5, 6, 7, 8])
    assert found.an_hour == pytest.approx(0.1 * HOUR)
    assert found.error == pytest.approx(0, abs=1e-6)
    flat = slope([0, 10, 20, 30], [5, 7, 7, 5])
    assert flat.an_hour == pytest.approx(0)
    assert flat.error > 100


def test_samples_that_are_alike_count_for_less() -> None:
    """The same values in another order have another error: what stays for a while says less than what jumps about."""
    seconds = [10.0 * n for n in range(400)]
    jumping = slope(seconds, [n % 2 for n in range(400)])
    staying = slope(seconds, [n // 10 % 2 for n in range(400)])
    assert 2.5 * jumping.error < staying.error < 4 * jumping.error


def test_a_leak_is_seen() -> None:
    """A process that keeps 1 MiB and a descriptor at each step: both are what the watch says."""
    with subprocess.Popen(
        [sys.executable, "-c", LEAKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        watch = Watch.of({"leaks": process.pid})
        for second in range(12):
            process.stdin.write(b"\n")
            process.stdin.flush()
            process.stdout.readline()
            watch.sample(float(second))
        process.stdin.close()
    (one,) = watch.series
    growth = watch.growth(one.resident, 2.0, MIB)
    assert 0.9 * HOUR < growth.an_hour < 1.3 * HOUR
    assert watch.growth(one.descriptors, 2.0).an_hour == pytest.approx(HOUR)
    assert watch.summed().descriptors == one.descriptors
