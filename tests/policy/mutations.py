"""Changes of policies: `CHANGES` that are likely to change decisions, and `REWRITES` that never change one.

Each takes routes that are its own to change, and says whether it found something to do.
"""

import copy
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

from tests.policy.generated import (
    CLAIMS,
    GROUPS,
    HOSTS,
    METHODS,
    NETWORKS,
    SCOPES,
    SUBJECTS,
    Maker,
    usable,
)
from tests.policy.naive import Json

Change = Callable[[Maker, list[Json]], bool]


def changed(maker: Maker, routes: list[Json], changes: list[Change]) -> tuple[str, list[Json]]:
    """The routes after one of the changes, and which one."""
    for _ in range(200):
        change, made = maker.random.choice(changes), copy.deepcopy(routes)
        if change(maker, made) and usable(made):
            return change.__name__, made
    raise AssertionError("nothing can be changed")


def entries_of(route: Json) -> list[Json]:
    """All entries of `deny` and `allow`."""
    allow = route.get("allow", [])
    return [*route.get("deny", []), *(allow if isinstance(allow, list) else [])]


def lists_of(route: Json) -> list[list[Json]]:
    """The lists of entries."""
    return [route[word] for word in ("deny", "allow") if isinstance(route.get(word), list)]


def some_entry(maker: Maker, routes: list[Json], word: str) -> Json | None:
    """An entry with this condition."""
    found = [entry for route in routes for entry in entries_of(route) if word in entry]
    return maker.random.choice(found) if found else None


# What changes decisions.


def another_value(maker: Maker, routes: list[Json]) -> bool:
    """A group, scope, subject or network is another one."""
    word, pool = maker.random.choice(
        [("groups", GROUPS), ("scopes", SCOPES), ("subjects", SUBJECTS), ("networks", NETWORKS)]
    )
    entry = some_entry(maker, routes, word)
    if entry is None:
        return False
    entry[word] = [maker.random.choice(pool), *entry[word][1:]]
    return True


def another_claim(maker: Maker, routes: list[Json]) -> bool:
    """A claim is asked for another value, or for the same one in another type."""
    entry = some_entry(maker, routes, "claims")
    if entry is None:
        return False
    name = maker.random.choice(list(entry["claims"]))
    entry["claims"][name] = maker.random.choice((*CLAIMS[name], str(entry["claims"][name])))
    return True


def another_prefix(maker: Maker, routes: list[Json]) -> bool:
    """A network is half as large, or twice."""
    entry = some_entry(maker, routes, "networks")
    if entry is None:
        return False
    network = ip_network(entry["networks"][0])
    if maker.random.choice((0, 1)) and network.prefixlen:
        entry["networks"][0] = str(network.supernet())
    elif network.prefixlen < network.max_prefixlen:
        entry["networks"][0] = str(maker.random.choice(list(network.subnets())))
    return True


def another_when(maker: Maker, routes: list[Json]) -> bool:
    """A `when` is another one."""
    entry = some_entry(maker, routes, "when")
    if entry is None:
        return False
    entry["when"] = maker.condition("when", identified=False)
    return True


def condition_gone(maker: Maker, routes: list[Json]) -> bool:
    """A condition is no longer there."""
    found = [e for route in routes for e in entries_of(route) if len(e.keys() - {"mode"}) > 1]
    if not found:
        return False
    entry = maker.random.choice(found)
    del entry[maker.random.choice(sorted(entry.keys() - {"mode"}))]
    return True


def condition_more(maker: Maker, routes: list[Json]) -> bool:
    """There is one more condition."""
    word = maker.random.choice(("groups", "scopes", "subjects", "networks", "claims"))
    found = [
        e for r in routes if r["authenticate"] != "none" for e in entries_of(r) if word not in e
    ]
    if not found:
        return False
    maker.random.choice(found)[word] = maker.condition(word, identified=True)
    return True


def entry_gone(maker: Maker, routes: list[Json]) -> bool:
    """An entry is no longer there."""
    found = [entries for route in routes for entries in lists_of(route) if len(entries) > 1]
    if not found:
        return False
    entries = maker.random.choice(found)
    entries.pop(maker.random.randrange(len(entries)))
    return True


def entry_more(maker: Maker, routes: list[Json]) -> bool:
    """There is one more entry."""
    route = maker.random.choice([r for r in routes if r["authenticate"] != "none"] or routes)
    entry = maker.entry(identified=route["authenticate"] != "none")
    if "authenticators" in entry:
        entry["authenticators"] = route["authenticate"][:1]
    words = ["deny"] + ["allow"] * isinstance(route.get("allow"), list)
    route.setdefault(maker.random.choice(words), []).append(entry)
    return True


def other_side(maker: Maker, routes: list[Json]) -> bool:
    """An entry of `allow` is one of `deny`."""
    found = [r for r in routes if isinstance(r.get("allow"), list) and len(r["allow"]) > 1]
    if not found:
        return False
    route = maker.random.choice(found)
    route.setdefault("deny", []).append(route["allow"].pop())
    return True


def other_match(maker: Maker, routes: list[Json]) -> bool:
    """Hosts, paths or methods are others."""
    match = maker.random.choice(routes)["match"]
    word = maker.random.choice(("hosts", "paths", "methods"))
    if word == "paths":
        match["paths"] = [*match["paths"][1:], *maker.paths()]
    elif word in match and maker.random.choice((0, 1)):
        del match[word]
    else:
        match[word] = maker.some(HOSTS if word == "hosts" else METHODS)
    return True


def other_mode(maker: Maker, routes: list[Json]) -> bool:
    """A switch of the route is the other way."""
    route = maker.random.choice(routes)
    word, value = maker.random.choice([
        ("mode", "shadow"), ("second_factor", True), ("cors_preflight", "forward"),
        ("encoded_slash", "forward"), ("encoded_percent", "forward"), ("double_slash", "forward"),
    ])  # fmt: skip
    if word in route:
        del route[word]
    else:
        route[word] = value
    return True


def route_gone(maker: Maker, routes: list[Json]) -> bool:
    """A route is no longer there."""
    routes.pop(maker.random.randrange(len(routes)))
    return True


def route_more(maker: Maker, routes: list[Json]) -> bool:
    """There is one more route."""
    routes.append(maker.route("more"))
    return True


def other_authenticators(maker: Maker, routes: list[Json]) -> bool:
    """A route takes another authenticator as well, or nobody is asked."""
    route = maker.random.choice(routes)
    if route["authenticate"] == "none":
        route.update(authenticate=["tokens"], allow="authenticated")
    elif maker.random.choice((0, 1)):
        route["authenticate"] = [*route["authenticate"], "robots"]
    else:
        route["authenticate"] = "none"
        for word in ("allow", "deny", "second_factor"):
            route.pop(word, None)
    return True


def other_limits(maker: Maker, routes: list[Json]) -> bool:
    """A rate limit is another one, or there is one more, or one less."""
    route = maker.random.choice(routes)
    if "rate_limits" in route and maker.random.choice((0, 1)):
        del route["rate_limits"]
    else:
        route["rate_limits"] = [{"limit": "7/hour", "per": "address"}]
    return True


def other_service(maker: Maker, routes: list[Json]) -> bool:
    """The backend is another one, or gets other headers."""
    route = maker.random.choice(routes)
    if maker.random.choice((0, 1)):
        route["upstream"] = "other" if route["upstream"] == "app" else "app"
    else:
        route["headers"] = {"set": {"X-Team": '"blue"'}}
    return True


CHANGES: list[Change] = [
    another_value, another_claim, another_prefix, another_when, condition_gone, condition_more, entry_gone, entry_more,
    other_side, other_match, other_mode, route_gone, route_more, other_authenticators,
]  # fmt: skip
# What no verdict shows: the limits and what the backend gets.
SERVICE_CHANGES: list[Change] = [other_limits, other_service]


# What changes nothing.


def reordered(maker: Maker, routes: list[Json]) -> bool:
    """Routes, entries and their values stand in another order."""
    maker.random.shuffle(routes)
    for route in routes:
        for entries in lists_of(route):
            maker.random.shuffle(entries)
        for entry in entries_of(route):
            for value in entry.values():
                maker.random.shuffle(value) if isinstance(value, list) else None
        for value in route["match"].values():
            maker.random.shuffle(value)
    return True


def duplicated(maker: Maker, routes: list[Json]) -> bool:
    """An entry is there twice, and a value of a list."""
    found = [entries for route in routes for entries in lists_of(route)]
    if not found:
        return False
    entries = maker.random.choice(found)
    entries.append(copy.deepcopy(maker.random.choice(entries)))
    for value in entries[-1].values():
        value.append(value[0]) if isinstance(value, list) else None
    return True


def split_list(maker: Maker, routes: list[Json]) -> bool:
    """An entry for any of two is two entries."""
    words = ("groups", "subjects", "networks", "authenticators")
    found = [
        (es, e, w)
        for r in routes
        for es in lists_of(r)
        for e in es
        for w in words
        if len(e.get(w, [])) > 1
    ]
    if not found:
        return False
    entries, entry, word = maker.random.choice(found)
    entries.append({**copy.deepcopy(entry), word: entry[word][1:]})
    entry[word] = entry[word][:1]
    return True


def split_claim(maker: Maker, routes: list[Json]) -> bool:
    """A value of a claim is a list of one, a number one with a point."""
    entry = some_entry(maker, routes, "claims")
    if entry is None:
        return False

    def spelled(value: Any) -> Any:
        return float(value) if type(value) is int else value

    for name, value in entry["claims"].items():
        entry["claims"][name] = [
            spelled(v) for v in (value if isinstance(value, list) else [value])
        ]
    return True


def split_network(maker: Maker, routes: list[Json]) -> bool:
    """A network is its two halves, and a part of them once more."""
    entry = some_entry(maker, routes, "networks")
    if entry is None:
        return False
    network = ip_network(entry["networks"].pop(0))
    halves: list[Any] = [network]
    if network.prefixlen < network.max_prefixlen:
        halves = list(network.subnets())
    entry["networks"] += [*map(str, halves), str(network.network_address)]
    return True


def implied(maker: Maker, routes: list[Json]) -> bool:
    """There is an entry more that holds only where another one does."""
    found = [(r, entries) for r in routes for entries in lists_of(r)]
    if not found:
        return False
    route, entries = maker.random.choice(found)
    narrower = copy.deepcopy(maker.random.choice(entries))
    if "networks" not in narrower:
        narrower["networks"] = ["192.0.2.0/25"]
    elif route["authenticate"] != "none" and "scopes" not in narrower:
        narrower["scopes"] = ["read"]
    entries.append(narrower)
    return True


def denied_anyway(maker: Maker, routes: list[Json]) -> bool:
    """There is an entry in `allow` that holds only where one of `deny` does."""
    found = [
        (r, e) for r in routes for e in r.get("deny", []) if isinstance(r.get("allow"), list) and not {"when", "mode"} & e.keys()
    ]  # fmt: skip
    if not found:
        return False
    route, entry = maker.random.choice(found)
    route["allow"].append(
        {**copy.deepcopy(entry), "networks": entry.get("networks", ["10.0.0.0/8"])}
    )
    return True


def authenticated_as_entry(maker: Maker, routes: list[Json]) -> bool:
    """Any identity is any identity from any address, or of any of the authenticators."""
    found = [r for r in routes if r.get("allow") == "authenticated"]
    if not found:
        return False
    route = maker.random.choice(found)
    everywhere = {"networks": ["0.0.0.0/0", "::/0"]}
    route["allow"] = maker.random.choice(
        ([everywhere], [{"authenticators": route["authenticate"]}])
    )
    return True


def split_route(maker: Maker, routes: list[Json]) -> bool:
    """A route of two paths, or of two methods, is two routes; without limits, which count by route."""
    found = [
        (r, w) for r in routes for w in ("paths", "methods") if len(r["match"].get(w, [])) > 1 and "rate_limits" not in r
    ]  # fmt: skip
    if not found:
        return False
    route, word = maker.random.choice(found)
    other = copy.deepcopy(route)
    other["name"] += "-too"
    other["match"][word] = other["match"][word][1:]
    route["match"][word] = route["match"][word][:1]
    routes.append(other)
    return True


def end_spelled_out(maker: Maker, routes: list[Json]) -> bool:
    """`/a/**` is `/a` and `/a/**`."""
    found = [
        (r, p)
        for r in routes
        for p in r["match"]["paths"]
        if p.endswith("/**") and len(p) > 3 and "methods" not in r["match"]
    ]
    if not found:
        return False
    route, path = maker.random.choice(found)
    route["match"]["paths"].append(path.removesuffix("/**"))
    return True


def renamed(maker: Maker, routes: list[Json]) -> bool:
    """A route has another name."""
    maker.random.choice(routes)["name"] = "another-name"
    return True


REWRITES: list[Change] = [
    reordered, duplicated, split_list, split_claim, split_network, implied, denied_anyway, authenticated_as_entry,
    split_route, end_spelled_out, renamed,
]  # fmt: skip
