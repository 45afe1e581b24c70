"""Many generated policies in one configuration: each has its hosts to itself, so that one server decides them all.

The first of them keeps its own hosts, and its routes without any are behind those of all the others. Callers come from a
few that are made beforehand, as clients do: one token serves many requests.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.policy.generated import Maker
from tests.policy.naive import Asked, Json

CALLERS_MOST = 40


@dataclass(frozen=True, slots=True)
class Question:
    """A request, and the routes that are in question for it: those of its world, then those for any host."""

    asked: Asked
    routes: Sequence[Json]

    @property
    def url(self) -> str:
        """The URL that is asked for."""
        return f"https://{self.asked.host}{self.asked.path}"


@dataclass(frozen=True, slots=True)
class Worlds:
    """The routes of one configuration, and requests for them."""

    routes: Sequence[Json]
    questions: Sequence[Question]


def worlds(seeds: range, requests: int) -> Worlds:
    """A world for each seed, and so many requests for each of them."""
    routes: list[Json] = []
    questions: list[Question] = []
    for seed in seeds:
        maker = Maker(seed)
        callers = [maker.identity() for _ in range(CALLERS_MOST)]
        suffix = f".w{seed}" if routes else ""
        own = [_within(route, seed, suffix) for route in maker.policies(6)]
        routes += own
        # What no host of a world takes comes to the routes for any host: those of the first one.
        asking = own if not suffix else [*own, *(r for r in routes if "hosts" not in r["match"])]
        for _ in range(requests):
            asked = maker.request()
            made = replace(asked, host=asked.host + suffix, who=maker.random.choice(callers))
            questions.append(Question(made, asking))
    return Worlds(routes, questions)


def _within(route: Json, seed: int, suffix: str) -> Json:
    """The route under the hosts of its world; limits are no part of the question."""
    match = dict(route["match"])
    if suffix:
        match["hosts"] = [host + suffix for host in match.get("hosts", ["*"])]
    made = {word: value for word, value in route.items() if word != "rate_limits"}
    return made | {"name": f"w{seed}-{route['name']}", "match": match, "upstream": "backend"}
