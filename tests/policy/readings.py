"""All that tells what a request comes to without a server, each asked in its own way, beside one loaded configuration."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from authproxy.cli.explanation import Asked as Described
from authproxy.cli.explanation import explain_request
from authproxy.config.load import Loaded
from authproxy.model.address import parse_address
from authproxy.model.source import Source
from authproxy.policies import policy_set, slots_of
from authproxy.policy.caller import Known
from authproxy.policy.cases import Case, run_case
from authproxy.policy.condition import Entry
from authproxy.policy.document import CaseDocument, CaseIdentity
from authproxy.policy.offline import PolicySet, decide_request, exchange_for
from authproxy.policy.reach import Way, what, who
from authproxy.policy.recorded import replayed
from authproxy.policy.replay import Replay
from authproxy.policy.table import Route, Table
from authproxy.runtime import Verification
from tests.policy.naive import Asked, Decision, Json
from tests.policy.worlds import Question

NOW = 1_700_000_000.0
NONE = "none"


@dataclass(frozen=True, slots=True)
class Readings:
    """Everybody who is asked. `told` are the routes as `policy who` tells them: without what changes nothing."""

    decides: Verification
    policies: PolicySet
    told: PolicySet
    replay: Replay
    routes: Mapping[str, Route]


def readings(loaded: Loaded, decides: Verification) -> Readings:
    """Everybody who can be asked about these policies; `decides` is what was compiled of them."""
    policies, told = policy_set(loaded), Table()
    for route in policies.table.routes:
        assert list(told.add(as_told(route))) == []
    return Readings(
        decides,
        policies,
        PolicySet(told),
        Replay(policies.table, slots_of(loaded.usable())),
        {route.name: route for route in policies.table.routes},
    )


def as_told(route: Route) -> Route:
    """The route with the entries that `who` names, and none of those that it leaves out."""
    found = who(route)
    allow = tuple(map(_entry, found.ways))
    everybody = route.allow is None or any(not way.conditions for way in found.ways)
    deny = tuple(map(_entry, found.except_for))
    return replace(route, allow=None if everybody else allow, deny=deny)


def _entry(way: Way) -> Entry:
    return Entry(way.conditions)


def explained(one: Readings, question: Question, token: str | None = None) -> Decision:
    """What `policy explain` says; of the token where there is one, else of the caller as described."""
    asked = question.asked
    headers = tuple(asked.headers.items())
    described = Described(asked.method, question.url, token, client=asked.client, headers=headers)
    if token is None and asked.who is not None:
        described = replace(
            described, subject=asked.who["subject"], authenticator=asked.who["authenticator"],
            groups=tuple(asked.who["groups"]), scopes=tuple(asked.who["scopes"]), claims=asked.who["claims"],
        )  # fmt: skip
    found = explain_request(one.decides, described, time.time())
    return Decision(found["verdict"], found["route"], found["shadow"] == "forbidden")


def tested(question: Question, wanted: Decision) -> CaseDocument:
    """The test of a policy file that expects this."""
    asked = question.asked
    return CaseDocument.model_validate({
        "request": f"{asked.method} {question.url}", "identity": asked.who or NONE, "client": asked.client,
        "headers": asked.headers, "expect": wanted.verdict, "route": wanted.route or NONE,
        "shadow": "forbidden" if wanted.shadow else NONE,
    })  # fmt: skip


def holds(one: Readings, question: Question, wanted: Decision) -> bool:
    """Does a test that expects this pass?"""
    case = Case(tested(question, wanted), Source("generated.yaml"), ("tests", 0))
    return run_case(one.policies, case, NOW).passed


def by_who(one: Readings, question: Question) -> tuple[str, str | None]:
    """Verdict and route by what `policy who` tells of each route."""
    asked = question.asked
    exchange = exchange_for(asked.method, question.url, client=asked.client, now=NOW)
    caller = None if asked.who is None else CaseIdentity.model_validate(asked.who)
    found = decide_request(one.told, exchange, caller, asked.headers)
    return found.verdict, found.route


def reached(route: Route, asked: Asked) -> set[tuple[str, bool]]:
    """What `policy what` says that this caller may come to at the route."""
    caller: Json = asked.who or {}
    known = Known(
        caller.get("subject"), caller.get("authenticator"), frozenset(caller.get("groups", ())), frozenset(caller.get("scopes", ())),
        caller.get("claims", {}), parse_address(asked.client), anonymous=asked.who is None,
    )  # fmt: skip
    alone = Table()
    assert list(alone.add(route)) == []
    (found,) = what(alone, known)
    return {(outcome.code, outcome.shadow) for outcome in found.possible}


def replayed_as(one: Readings, line: Json) -> Decision:
    """What `policy replay` makes of a line of the decision log under the same policies; nothing is missing there."""
    record = replayed(line)
    assert record is not None
    found = one.replay.decide(record)
    assert found.unknown == "", line
    return Decision(found.code, found.route or None, found.shadow == "forbidden")


def by_id(text: str) -> dict[str, Json]:
    """Lines of a log by their request's id."""
    lines = [json.loads(line) for line in text.splitlines()]
    found = {line["request_id"]: line for line in lines}
    assert len(found) == len(lines)
    return found
