"""One meaning: the naive interpreter, the decision function, `policy test`, `explain` and `what` say the same of each request."""

import pytest

from authproxy.model.identity import Identity
from authproxy.policy.document import CaseIdentity
from authproxy.policy.offline import PolicySet, decide_request, exchange_for
from tests.policy.generated import Maker, compiled
from tests.policy.naive import Asked, Decision, decide
from tests.policy.readings import reached

NOW = 1_700_000_000.0


def offline(policies: PolicySet, asked: Asked) -> Decision:
    """The decision that `policy test` and the Python interface tell, for this request."""
    exchange = exchange_for(
        asked.method, f"https://{asked.host}{asked.path}", client=asked.client, now=NOW
    )
    who = None if asked.who is None else CaseIdentity.model_validate(asked.who)
    found = decide_request(policies, exchange, who, asked.headers)
    return Decision(found.verdict, found.route, bool(found.shadow))


def check(seeds: range, requests: int, *, every: int) -> int:
    """Hold all of them against each other; `what` for each of `every` requests. How many requests it were."""
    number = 0
    for seed in seeds:
        maker = Maker(seed)
        routes = maker.policies(6)
        policies = PolicySet(compiled(routes).table)
        by_name = {route.name: route for route in policies.table.routes}
        for _ in range(requests):
            asked, number = maker.request(), number + 1
            wanted = decide(routes, asked)
            assert offline(policies, asked) == wanted, (seed, asked)
            preflight = "Origin" in asked.headers and asked.method == "OPTIONS"
            if wanted.route is not None and number % every == 0 and not preflight:
                possible = reached(by_name[wanted.route], asked)
                assert (wanted.verdict, wanted.shadow) in possible, (seed, asked)
    return number


def test_all_readings_agree() -> None:
    """3,000 generated requests over 60 generated policies come to the same, whoever is asked."""
    assert check(range(60), 50, every=25) == 3000


@pytest.mark.slow
def test_all_readings_agree_at_length() -> None:
    """The same for 100,000 requests over 500 policies."""
    assert check(range(10_000, 10_500), 200, every=20) == 100_000


def test_a_naive_identity_is_an_identity() -> None:
    """The generated callers are what the program takes for identities: none of them is left out by its shape."""
    maker = Maker(0)
    for _ in range(50):
        who = maker.identity()
        if who is not None:
            made = CaseIdentity.model_validate(who)
            assert Identity(made.authenticator or "", made.subject).subject == who["subject"]
