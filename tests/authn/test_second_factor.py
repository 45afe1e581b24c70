"""One-time codes: the device's own, around this moment, each once; and the step between password and code."""

import pyotp
import pytest

from authproxy.authn.second_factor import (
    KIND,
    SECONDS,
    OneTimeCodes,
    SecondStep,
    SecondSteps,
    browser_hash,
    counter_of,
)
from authproxy.state.memory import MemoryStore
from authproxy.state.memory_records import MemoryRecords

SECRET, NOW = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", 1_111_111_111.0


def code(ahead: float = 0.0) -> str:
    """What the device shows at this moment."""
    return pyotp.TOTP(SECRET).at(int(NOW + ahead))


def test_codes_are_those_of_the_standard() -> None:
    """RFC 6238, appendix B: the last six digits of its values for SHA-1."""
    for moment, expected in ((59, "287082"), (1111111109, "081804"), (2000000000, "279037")):
        assert counter_of(SECRET, expected, moment) == moment // 30


async def test_a_code_is_good_for_a_step_around_its_own() -> None:
    """Clocks differ; spaces that people type are none of it; anything else is no code."""
    codes = OneTimeCodes(MemoryStore())
    for ahead in (-30.0, 0.0, 30.0):
        assert await codes.accept("staff", f"ann{ahead}", SECRET, code(ahead), NOW)
    assert await codes.accept("staff", "bob", SECRET, f" {code()[:3]} {code()[3:]} ", NOW)
    for wrong in (
        "",
        code(-60),
        code(60),
        code()[:5],
        code() + "0",
        "\ud800",
        "١٢٣٤٥٦",
        "0" * 4000,
    ):
        assert not await codes.accept("staff", "eve", SECRET, wrong, NOW), wrong


async def test_a_code_is_good_once() -> None:
    """Neither it nor an earlier one opens anything again; the next one does; others have their own."""
    codes = OneTimeCodes(MemoryStore())
    assert await codes.accept("staff", "ann", SECRET, code(), NOW)
    assert not await codes.accept("staff", "ann", SECRET, code(), NOW + 1)
    assert not await codes.accept("staff", "ann", SECRET, code(-30), NOW + 2)
    assert await codes.accept("staff", "ann", SECRET, code(30), NOW + 3)
    assert not await codes.accept("staff", "ann", SECRET, code(30), NOW + 59)
    assert await codes.accept("staff", "bob", SECRET, code(), NOW)
    assert await codes.accept("guests", "ann", SECRET, code(), NOW)


@pytest.mark.parametrize("secret", ["other", "", None])
async def test_a_step_is_of_one_browser(secret: str | None) -> None:
    """It stays for who it is of, for some minutes; it is kept by the hash of its id."""
    records = MemoryRecords()
    steps = SecondSteps(records)
    step = SecondStep("staff", "ann", "mark", browser_hash("mine"))
    step_id = await steps.begin(step, NOW)
    (record,) = await records.since(KIND, 0, NOW)
    assert step_id.encode() not in record.key + record.value
    assert await steps.find(step_id, secret, NOW) is None
    assert await steps.find(step_id, "mine", NOW) == step
    assert await steps.find("x" * 200, "mine", NOW) is None
    assert await steps.find(step_id, "mine", NOW + SECONDS) is None
    assert (await steps.take(step_id), await steps.take(step_id)) == (True, False)
