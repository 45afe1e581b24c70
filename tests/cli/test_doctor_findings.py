"""Findings as people and programs read them."""

import json

from authproxy.cli.doctor_findings import as_json, as_text, note, ok, problem

FOUND = [ok("a", "well"), note("b", "seen"), problem("c", "bad", "mend it")]


def test_people_read_what_to_do() -> None:
    """Each on a line, the remedy below it, how many there are at the end."""
    assert as_text(FOUND).splitlines() == [
        "ok       a: well", "note     b: seen", "problem  c: bad", "         mend it", "1 problem found",
    ]  # fmt: skip
    assert as_text([]) == "no problems found"


def test_programs_read_the_same() -> None:
    """As JSON."""
    assert [one["kind"] for one in json.loads(as_json(FOUND))] == ["ok", "note", "problem"]
    assert json.loads(as_json(FOUND))[2]["remedy"] == "mend it"
