"""Tickets: good once, at one origin, for one browser, for some seconds; kept by their hash."""

import asyncio

from authproxy.authn.tickets import KIND, SECONDS, Ticket, Tickets, browser_mark
from authproxy.state.memory_records import MemoryRecords

ORIGIN, NOW = "https://a.test", 1_000_000.0
TICKET = Ticket("ab" * 32, ORIGIN, browser_mark("secret"), "/x")


async def test_a_ticket_is_good_for_whom_it_names() -> None:
    """And says what it was issued for; what is kept does not tell its text."""
    records = MemoryRecords()
    tickets = Tickets(records)
    text = await tickets.issue(TICKET, NOW)
    (record,) = await records.since(KIND, 0, NOW)
    assert text.encode() not in record.key + record.value
    assert await tickets.take(text, ORIGIN, "secret", NOW + SECONDS - 1) == TICKET
    assert await records.since(KIND, 0, NOW) == []


async def test_whoever_presents_one_ends_it() -> None:
    """Another origin, another browser, none at all; then it is over for the right one too. Late is never."""
    tickets = Tickets(MemoryRecords())
    for origin, secret, when in (
        ("https://b.test", "secret", NOW),
        (f"{ORIGIN}:8443", "secret", NOW),
        (ORIGIN, "another", NOW),
        (ORIGIN, "", NOW),
        (ORIGIN, None, NOW),
        (ORIGIN, "secret", NOW + SECONDS),
    ):
        text = await tickets.issue(TICKET, NOW)
        assert await tickets.take(text, origin, secret, when) is None
        assert await tickets.take(text, ORIGIN, "secret", when) is None
    for nothing in ("", "x" * 129, "\ud800", "nobody's"):
        assert await tickets.take(nothing, ORIGIN, "secret", NOW) is None


async def test_of_several_at_once_one_gets_it() -> None:
    """A ticket that is presented twice in the same moment makes one session."""
    tickets = Tickets(MemoryRecords())
    text = await tickets.issue(TICKET, NOW)
    found = await asyncio.gather(*(tickets.take(text, ORIGIN, "secret", NOW) for _ in range(8)))
    assert [one for one in found if one] == [TICKET]
