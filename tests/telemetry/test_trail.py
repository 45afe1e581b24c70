"""The trail: the last requests, bounded, with what a decision needs and nothing that could be a credential."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from authproxy.model.fields import Fields
from authproxy.model.identity import Identity
from authproxy.model.target import parse_target
from authproxy.policy.record import Recorder
from authproxy.policy.recorded import replayed
from authproxy.policy.table import Route
from authproxy.telemetry.trail import FIELDS_MOST, Trail
from tests.playbook import GUARDED, Proxy, playbook, token
from tests.telemetry.test_access_log import exchange
from tests.wire import request

HEADERS = Recorder(frozenset({("headers", "x-team"), ("headers", "x-api-key"), ("claims", "tenant")}))  # fmt: skip


def within(value: Any, seen: set[int] | None = None) -> Iterator[str | bytes]:
    """Every text that is reached from here, through containers and objects; routes and recorders aside."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, Route | Recorder):
        return
    seen.add(id(value))
    if isinstance(value, str | bytes):
        yield value
    elif isinstance(value, dict):
        for pair in value.items():
            yield from within(pair, seen)
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from within(one, seen)
    else:
        for name in getattr(type(value), "__slots__", ()):
            yield from within(getattr(value, name, None), seen)


def holds(trail: Trail, text: str) -> bool:
    """Is the text anywhere in what the trail keeps alive?"""
    found = list(within(list(trail.kept)))
    assert found
    return any(text in (one if isinstance(one, str) else one.decode("latin-1")) for one in found)


def test_it_keeps_the_last_ones() -> None:
    """So many and no more; of an id that came twice the last."""
    trail = Trail(3, Recorder())
    for number in range(5):
        trail.keep(exchange(request_id=f"r{number}", status=200 + number))
    trail.keep(exchange(request_id="r4", status=404))
    assert len(trail) == 3
    assert [trail.find(f"r{n}") is not None for n in range(5)] == [False, False, False, True, True]
    found = trail.find("r4") or {}
    assert found["happened"]["status"] == 404


def test_what_is_found_is_a_record() -> None:
    """The one that replay reads, with what happened beside it."""
    trail = Trail(3, Recorder(frozenset({("groups",)}), "d"))
    who = Identity("tokens", "ann", ("eng",), claims={"tenant": "acme"})
    trail.keep(exchange(request_id="r", identity=who, admitted=False, code="forbidden", reason="deny[0]", status=403))  # fmt: skip
    found = trail.find("r") or {}
    recorded = replayed(json.loads(json.dumps(found["record"])))
    assert recorded is not None
    assert (recorded.code, recorded.reason, recorded.policies) == ("forbidden", "deny[0]", "d")
    assert recorded.exchange.identity is not None
    assert recorded.exchange.identity.groups == ("eng",)
    assert "acme" not in str(found)
    assert recorded.credentials is None
    assert (found["happened"]["verdict"], found["happened"]["status"]) == ("forbidden", 403)


def test_a_reload_loses_nothing() -> None:
    """Requests from before are known, by what their own policies read; also where another number is to be kept."""
    first = Trail(3, Recorder(digest="one"))
    for number in range(3):
        first.keep(exchange(request_id=f"r{number}"))
    second = Trail(3, Recorder(digest="two"), first)
    first.keep(exchange(request_id="late"))  # a request that was under way
    assert [(second.find(n) or {})["record"]["policies"] for n in ("r1", "late")] == ["one", "one"]
    smaller = Trail(2, Recorder(), second)
    assert (len(smaller), smaller.find("r1"), smaller.find("late") is not None) == (2, None, True)


def test_nothing_secret_is_kept_alive() -> None:
    """No token, cookie, credential header or query can be reached from what is kept, also where policies read headers."""
    for trail in (Trail(3, Recorder()), Trail(3, HEADERS)):
        lines = [(b"X-Team", b"blue"), (b"X-Api-Key", b"secret-key"), (b"X-Other", b"secret-other")]
        fields = Fields(lines)
        fields.authorization, fields.cookies = b"Bearer secret-token", [b"s=secret-cookie"]
        raw = "/a?access_token=secret-query"
        trail.keep(exchange(request_id="r", fields=fields, target=parse_target(raw), raw_target=raw))  # fmt: skip
        assert holds(trail, "/a")
        assert not holds(trail, "secret")
    found = (trail.find("r") or {})["record"]
    assert (found["headers"], found["withheld"]) == ({"x-team": "blue"}, ["headers/x-api-key"])


def test_long_fields_are_not_kept() -> None:
    """What anybody sends fills no memory: of long fields that policies read only that they were long is kept."""
    trail = Trail(3, HEADERS)
    for number, size in enumerate((100, FIELDS_MOST, FIELDS_MOST + 1)):
        fields = Fields([(b"X-Team", b"t" * size), (b"X-Api-Key", b"k")])
        fields.size = size + 40
        trail.keep(exchange(request_id=f"r{number}", fields=fields))
    records = [(trail.find(f"r{number}") or {})["record"] for number in range(3)]
    assert [len(one.get("headers", {}).get("x-team", "")) for one in records] == [100, FIELDS_MOST, 0]  # fmt: skip
    assert records[2]["withheld"] == ["headers/x-api-key", "headers"]
    assert not holds(trail, "t" * (FIELDS_MOST + 1))


def test_what_was_never_decided_is_told_as_far_as_it_is_known() -> None:
    """A head that was refused has no record."""
    trail = Trail(3, Recorder())
    trail.keep(exchange(request_id="r", target=None, admitted=False, code="bad_request", status=400))  # fmt: skip
    found = trail.find("r") or {}
    assert (found["record"], found["happened"]["verdict"], found["happened"]["path"]) == (None, "bad_request", "")  # fmt: skip


async def test_a_worker_keeps_what_it_answered() -> None:
    """Admitted or refused, by the real chain; the token is not there."""
    async with playbook(GUARDED | {"allow": [{"groups": ["eng"]}]}) as p:
        good, bad = token(groups=["eng"]), token(groups=["ops"])
        ids = [await _asked(p, one) for one in (good, bad)]
        trail = p.worker._runtime.trail
        assert trail is not None
        found = [(trail.find(one) or {})["happened"]["verdict"] for one in ids]
        assert found == ["allow", "forbidden"]
        assert not any(holds(trail, one.rpartition(".")[2]) for one in (good, bad))


async def _asked(p: Proxy, credential: str) -> str:
    link = await p.connect()
    await link.send(request("GET", "/guarded/1", token=credential))
    head = await link.head()
    link.close()
    line = next(x for x in head.split(b"\r\n") if x.lower().startswith(b"x-request-id:"))
    return line.split()[1].decode()


@pytest.mark.slow
def test_keeping_costs_a_fraction_of_a_microsecond() -> None:
    """Under 0.3 µs a request on an idle machine; here with room for a busy one."""
    trail, found = Trail(1000, Recorder()), [exchange(request_id=str(n)) for n in range(2000)]
    times = []
    for _ in range(20):
        began = time.perf_counter()
        for one in found:
            trail.keep(one)
        times.append((time.perf_counter() - began) / len(found))
    assert min(times) < 1e-6
