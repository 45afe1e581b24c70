"""Policies and requests made up from a seed: small worlds in which everything meets everything else."""

import json
import random
from collections.abc import Sequence
from typing import Any

from authproxy.model.headers import HeaderRules
from authproxy.model.source import Source
from authproxy.policy.document import PolicyDocument
from authproxy.policy.parse import Names, Policies, parse_policies
from tests.policy.naive import REQUEST_WHENS, WHENS, Asked, Json

NAMES = Names({"app", "other"}, {"tokens", "staff", "robots"}, HeaderRules())
AUTHENTICATORS = ("tokens", "staff", "robots")
HOSTS = ("a.test", "b.a.test", "*.a.test", "*.test")
SEGMENTS = ("a", "b", "c d", "*", "*", "**")
METHODS = ("GET", "HEAD", "POST", "OPTIONS")
GROUPS = ("g1", "g2", "g3", "eng team")
SCOPES = ("read", "write", "admin")
SUBJECTS = ("ann", "bob", "cat")
NETWORKS = (
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.3/32",
    "192.0.2.0/24",
    "2001:db8::/32",
    "::/0",
    "0.0.0.0/0",
)
CLIENTS = (
    "127.0.0.1",
    "10.0.0.1",
    "10.1.0.1",
    "10.1.2.3",
    "192.0.2.9",
    "2001:db8::1",
    "2001:db9::1",
)
CLAIMS: dict[str, Sequence[Any]] = {
    "tenant": ("acme", "other"),
    "level": (1, 2, "2", True, 3.0),
    "a.b": ("x", False),
}
AMR = (["pwd"], ["pwd", "otp"], ["mfa"], "mfa", ["pwd", "pin"], ["hwk", "face"])
DOUBTS = ("encoded_slash", "encoded_percent", "double_slash")


class Maker:
    """Makes policies, and requests that are for them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def some(self, values: Sequence[Any]) -> list[Any]:
        """One, two or three of them."""
        return self.random.sample(list(values), min(self.random.choice((1, 1, 2, 3)), len(values)))

    def entry(self, identified: bool, whens: bool = True) -> Json:
        """Conditions that must all hold."""
        words = ["groups", "scopes", "subjects", "authenticators", "networks", "claims", "when"]
        words = words if identified else ["networks", "when"]
        chosen = self.random.sample(words, min(self.random.choice((1, 1, 1, 2, 3)), len(words)))
        made = {
            word: self.condition(word, identified) for word in chosen if whens or word != "when"
        }
        made = made or {"networks": ["10.0.0.0/8"]}
        return made | ({"mode": "shadow"} if self.random.random() < 0.1 else {})

    def condition(self, word: str, identified: bool) -> Any:
        """What stands for the word."""
        lists = {"groups": GROUPS, "scopes": SCOPES, "subjects": SUBJECTS, "networks": NETWORKS}
        if word in lists:
            return self.some(lists[word])
        if word == "claims":
            names = self.random.sample(list(CLAIMS), self.random.choice((1, 1, 2)))
            return {
                n: self.random.choice((self.random.choice(CLAIMS[n]), self.some(CLAIMS[n])))
                for n in names
            }
        if word == "when":
            return self.random.choice(list(WHENS) if identified else REQUEST_WHENS)
        return None  # authenticators: the route's own, chosen there

    def route(self, name: str, whens: bool = True) -> Json:
        """A route; it may be in the way of another."""
        pick, chance = self.random.choice, self.random.random
        made: Json = {
            "name": name,
            "match": {"paths": self.paths()},
            "upstream": pick(("app", "other")),
        }
        if chance() < 0.6:
            made["match"]["hosts"] = self.some(HOSTS)
        if chance() < 0.5:
            made["match"]["methods"] = self.some(METHODS)
        taken = self.some(AUTHENTICATORS[:2]) if chance() < 0.85 else []
        made["authenticate"] = taken or "none"
        if taken:
            entries = [self.entry(True, whens) for _ in range(pick((1, 2, 2, 3)))]
            made["allow"] = entries if chance() < 0.85 else "authenticated"
            made.update({"second_factor": True} if chance() < 0.15 else {})
        if chance() < 0.4:
            made["deny"] = [self.entry(bool(taken), whens) for _ in range(pick((1, 1, 2)))]
        for entry in (
            *made.get("deny", []),
            *(made.get("allow", []) if taken and made["allow"] != "authenticated" else []),
        ):
            if "authenticators" in entry:
                entry["authenticators"] = self.some(taken)
        made.update({"mode": "shadow"} if chance() < 0.1 else {})
        made.update({"cors_preflight": "forward"} if chance() < 0.2 else {})
        made.update({doubt: "forward" for doubt in DOUBTS if chance() < 0.15})
        if chance() < 0.3:
            made["rate_limits"] = [{"limit": f"{pick((5, 50))}/minute", "per": "address"}]
        return made

    def paths(self) -> list[str]:
        """One, two or three path patterns."""
        found = []
        for _ in range(self.random.choice((1, 1, 2, 3))):
            inner = [s for s in self.some(SEGMENTS) if s != "**"]
            found.append("/" + "/".join([*inner, *self.random.choice(([], ["**"], [""]))]))
        return list(dict.fromkeys(p for p in found if "//" not in p))

    def policies(self, routes: int = 6, whens: bool = True) -> list[Json]:
        """Routes that can be loaded together."""
        made: list[Json] = []
        for number in range(routes * 3):
            route = self.route(f"r{number}", whens)
            if len(made) < routes and usable([*made, route]):
                made.append(route)
        return made

    def identity(self) -> Json | None:
        """Somebody, or nobody."""
        pick = self.random.choice
        if self.random.random() < 0.1:
            return None
        claims: Json = {n: pick((pick(v), self.some(v))) for n, v in CLAIMS.items() if pick((0, 1))}
        claims.update({"amr": pick(AMR)} if pick((0, 1)) else {})
        subject = pick((*SUBJECTS, "dan"))
        return {
            "subject": subject,
            "authenticator": pick((*AUTHENTICATORS[:2] * 4, "robots")),
            "groups": self.some(GROUPS) if pick((0, 1)) else [],
            "scopes": self.some(SCOPES) if pick((0, 1)) else [],
            "claims": {"sub": subject, **claims},
        }

    def request(self) -> Asked:
        """A request that is likely to be for one of the routes."""
        pick = self.random.choice
        segments = [
            pick(("a", "b", "c%20d", "x", "x", "a%2Fb", "a%25b", "%61", ""))
            for _ in range(pick((1, 2, 2, 3)))
        ]
        if pick((0, 1, 1)):
            segments = [pick(("a", "b", "c%20d")) for _ in segments]
        odd = pick(
            ("/a/../b", "/.authproxy/x", "/a/%2e%2E", "/%zz".replace("zz", "ff"), "/a/..;x=1/b")
        )
        headers: Json = {"X-Eng": pick(("1", "2"))} if pick((0, 1)) else {}
        if pick((0, 0, 0, 1)):
            headers.update({"Origin": "https://o.test", "Access-Control-Request-Method": "GET"})
        return Asked(
            pick((*METHODS, "PUT", *("TRACE",) * (pick(range(20)) == 0))),
            pick(("a.test", "b.a.test", "x.a.test", "y.x.a.test", "c.test", "else.where")),
            "/" + "/".join(segments) if pick(range(30)) else odd,
            pick(CLIENTS),
            headers,
            self.identity(),
        )


def compiled(routes: Sequence[Json]) -> Policies:
    """These routes as the program reads them."""
    document = PolicyDocument.model_validate_json(json.dumps({"routes": routes}))
    return parse_policies([(document, Source("generated.yaml"))], NAMES)


def usable(routes: Sequence[Json]) -> bool:
    """Can they be loaded?"""
    return compiled(routes).problems == []
