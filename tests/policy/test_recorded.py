"""Records that are read again: what they say and no more, damaged or not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.model.target import parse_target
from authproxy.policy.record import written
from authproxy.policy.recorded import DamagedRecordError, replayed
from authproxy.policy.replay import Replay
from tests.policy.reading import parsed, route_text
from tests.policy.test_record import exchange, fields, paths, recorded


def test_a_record_comes_back() -> None:
    """What is read from a record is the exchange again, as far as policies see it."""
    sent = exchange("/a%2Fb", fields=fields(("X-Team", "blü")), reason="why", shadow="forbidden")
    found = replayed(recorded(sent, paths("groups", "scopes", "email", "claims", "headers/x-team")))
    assert found is not None
    again = found.exchange
    assert (again.method, again.host, again.raw_target, again.now) == (
        "GET",
        "a.test",
        "/a%2Fb",
        sent.now,
    )
    assert again.headers == {"x-team": "blü"}
    assert again.identity is not None
    assert (again.identity.subject, again.identity.groups, again.identity.scopes, again.identity.email) == (
        "alice", ("eng", "ops"), frozenset({"read", "write"}), "alice@x.test",
    )  # fmt: skip
    assert (found.code, found.reason, found.shadow, found.route) == (
        "allow",
        "why",
        "forbidden",
        "orders",
    )


def test_a_decoded_path_comes_to_the_same_target() -> None:
    """A record without a raw path (a line of the access log) is read by its decoded one."""
    line = {
        "time": written(1.0),
        "request_id": "i",
        "client": "::1",
        "method": "GET",
        "host": "h",
        "path": "/ä b/%;?#",
    }
    found = replayed(line | {"decision": "refuse", "code": "forbidden"})
    assert found is not None
    assert parse_target(found.exchange.raw_target).path == "/ä b/%;?#"
    assert (found.reads, found.asked, found.credentials) == (None, None, None)
    assert replayed(line | {"decision": "refuse", "path": ""}) is None


GOOD: dict[str, Any] = {
    "time": "2027-01-15T08:00:00.250Z", "request_id": "i", "client": "192.0.2.1", "method": "GET", "host": "h",
    "path": "/", "decision": "allow",
}  # fmt: skip


FULL: dict[str, Any] = GOOD | {
    "raw_path": "/", "preflight": False, "route": "r", "code": None, "reason": None, "shadow": None, "policies": "d",
    "subject": "a", "authenticator": "tokens", "asked": ["tokens"], "credentials": {"scheme:bearer": True},
    "reads": ["groups", "claims"], "groups": ["a"], "scopes": [], "email": None, "claims": {"x": 1}, "headers": {"x-a": "1"},
    "withheld": [],
}  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        [], {}, GOOD | {"time": "yesterday"}, GOOD | {"client": "x"}, GOOD | {"decision": "perhaps"}, GOOD | {"path": "a"},
        GOOD | {"path": 1}, GOOD | {"headers": []}, GOOD | {"headers": {"a": 1}}, GOOD | {"asked": "tokens"},
        GOOD | {"reads": [1]}, GOOD | {"subject": "a"}, GOOD | {"subject": {}},
        GOOD | {"subject": "a", "authenticator": "t", "groups": [1]}, GOOD | {"credentials": []}, GOOD | {"preflight": "x"},
        GOOD | {"credentials": {"a": "b"}}, GOOD | {"time": "9999-99-99T00:00:00Z"}, GOOD | {"host": None},
        GOOD | {"time": f"2027-01-15T08:00:00.{'0' * 100_000}+00:00"},
    ],
)  # fmt: skip
def test_a_damaged_record_is_none(wrong: Any) -> None:
    """What is not of its kind is named, never guessed."""
    with pytest.raises(DamagedRecordError):
        replayed(wrong)


DECIDES = Replay(
    parsed(route_text("deny: [{when: claims.x == 1}]", allow="[{groups: [a]}]")).table,
    {"tokens": frozenset()},
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*sorted({*GOOD, *FULL})]), JSON))
def test_no_record_does_harm(changes: dict[str, Any]) -> None:
    """Whatever stands where: it is a record, or damaged, and nothing else; what is a record can be decided."""
    try:
        found = replayed(FULL | changes)
    except DamagedRecordError:
        return
    if found is not None:
        DECIDES.decide(found)
