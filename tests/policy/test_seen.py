"""What a condition looked at, by the names that people write."""

import json
from typing import Any

import pytest

from authproxy.model.claims import MISSING
from authproxy.model.fields import Fields
from authproxy.model.identity import Identity
from authproxy.policy.decide import Trace, authorize
from authproxy.policy.seen import seen
from tests.policy.reading import request, route

CALLER = Identity(
    "tokens",
    "alice",
    groups=("eng",),
    scopes=frozenset({"w", "r"}),
    email="a@acme.test",
    claims={"level": 3, "realm": {"roles": ["x"]}, "https://acme.test/t": None},
)


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({"groups": ["a"]}, {"groups": ["eng"]}),
        ({"scopes": ["a"]}, {"scopes": ["r", "w"]}),
        ({"subjects": ["a"]}, {"identity.subject": "alice"}),
        ({"authenticators": ["tokens"]}, {"identity.authenticator": "tokens"}),
        ({"networks": ["10.0.0.0/8"]}, {"request.client": "127.0.0.1"}),
        ({"claims": {"realm.roles": "x"}}, {"claims.realm.roles": ["x"]}),
        ({"claims": {"realm.none": "x"}}, {"claims.realm.none": MISSING}),
        ({"claims": {"https://acme.test/t": "x"}}, {"claims.https://acme.test/t": None}),
        ({"when": "claims.level > 2"}, {"claims.level": 3}),
        ({"when": 'request.method == "GET" && request.path == "/"'}, {"request.method": "GET", "request.path": "/a/b"}),
        ({"when": '"request.host" == identity.subject'}, {"identity.subject": "alice"}),
        ({"when": 'identity.email == "x"'}, {"email": "a@acme.test"}),
        ({"when": 'identity.username == "x"'}, {"username": MISSING}),
        ({"when": 'request.headers["x-a"] == "b"'}, {'request.headers["x-a"]': "b"}),
        ({"when": '"x-z" in request.headers'}, {'request.headers["x-z"]': MISSING}),
        ({"when": "claims.size() > 1"}, {"claims": dict(CALLER.claims)}),
        ({"when": "1 < 2"}, {}),
    ],
)  # fmt: skip
def test_each_condition_shows_what_it_reads(entry: dict[str, Any], found: dict[str, Any]) -> None:
    """In JSON's own terms; what is not there is told from what is null."""
    compiled = route(allow=json.dumps([entry]))
    exchange = request(CALLER, lines=[])
    exchange.fields = Fields([(b"X-A", b"b")])
    (condition,) = (compiled.allow or ())[0].conditions
    assert seen(condition, exchange) == found


def test_of_nobody_everything_is_missing() -> None:
    """There is no identity to look at."""
    (condition,) = (route(allow="[{groups: [a]}]").allow or ())[0].conditions
    assert seen(condition, request(None)) == {"groups": MISSING}


def test_a_trace_holds_what_the_decision_saw() -> None:
    """Each step with its values."""
    trace = Trace()
    compiled = route(allow="[{groups: [a]}, {when: 'claims.level > 2'}]")
    assert authorize(compiled, request(CALLER), trace) is None
    assert [dict(step.seen) for step in trace.steps] == [{"groups": ["eng"]}, {"claims.level": 3}]
