"""A second interpreter of policy files, as naive as can be: it reads the YAML itself and shares no code with the program.

It tries every pattern of every route and compares what fits; CEL it knows by heart, only the texts of `WHENS`. It is
slow, and short enough to be read against the contract. Limits are no part of it.
"""

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

import yaml

Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A request, and who makes it: nobody, or somebody whose credential is good."""

    method: str
    host: str
    path: str
    client: str = "127.0.0.1"
    headers: Json = field(default_factory=dict)
    who: Json | None = None


@dataclass(frozen=True)
class Decision:
    """`allow` or a code, the route, and whether a `forbidden` was withheld."""

    verdict: str
    route: str | None = None
    shadow: bool = False


def read(*texts: str) -> list[Json]:
    """The routes of these policy files."""
    return [route for text in texts for route in yaml.safe_load(text).get("routes", [])]


def decide(routes: list[Json], asked: Asked) -> Decision:
    """What the contract says of the request."""
    if asked.method in {"TRACE", "CONNECT"}:
        return Decision("method_not_allowed")
    segments = decoded(asked.path)
    if segments is None:
        return Decision("bad_request")
    found = list(fitting(routes, asked.host, segments))
    best = max((rank for rank, _ in found), default=None)
    route = next((r for rank, r in found if rank == best and takes(r, asked.method)), None)
    doubts = {
        "encoded_slash": any("/" in s for s in segments),
        "encoded_percent": any("%" in s for s in segments),
        "double_slash": "//" in "/" + "/".join(segments),
    }
    if any(held and (route is None or route.get(d) != "forward") for d, held in doubts.items()):
        return Decision("bad_request")
    if segments[0] == ".authproxy" or best is None:
        return Decision("no_route")
    if route is None:
        return Decision("method_not_allowed")
    return of_route(route, asked, "/" + "/".join(segments))


def of_route(route: Json, asked: Asked, path: str) -> Decision:
    """Authentication, then `deny`, the second factor, `allow`."""
    name, taken, who = route["name"], route["authenticate"], asked.who
    if preflight(route, asked):
        return Decision("allow", name)
    if taken == "none":
        who = None
    elif who is None:
        return Decision("unauthenticated", name)
    elif who["authenticator"] not in taken:
        return Decision("token_invalid", name)
    request = {
        "method": asked.method, "host": asked.host, "path": path, "client": asked.client,
        "headers": {k.lower(): v for k, v in asked.headers.items()},
    }  # fmt: skip
    refused, noted = judged(route, request, who)
    withheld = noted if not refused else route.get("mode") == "shadow"
    return Decision("allow" if withheld or not refused else "forbidden", name, withheld)


def judged(route: Json, request: Json, who: Json | None) -> tuple[bool, bool]:
    """Do the entries refuse? Where they do not: would they, if none of them were in shadow?"""
    allow = route.get("allow")
    denying = [e for e in route.get("deny", []) if holds(e, request, who, error=True)]
    allowing = (
        [e for e in allow if holds(e, request, who, error=False)]
        if isinstance(allow, list)
        else [{}]
    )
    refused = not allowing or any(e.get("mode") != "shadow" for e in denying)
    refused = refused or (route.get("second_factor", False) and not two_factors(who))
    return refused, bool(denying) or all(e.get("mode") == "shadow" for e in allowing)


def preflight(route: Json, asked: Asked) -> bool:
    """A CORS preflight that the route forwards."""
    names = {name.lower() for name in asked.headers}
    wanted = {"origin", "access-control-request-method"}
    return (
        route.get("cors_preflight") == "forward" and asked.method == "OPTIONS" and wanted <= names
    )


def decoded(path: str) -> list[str] | None:
    """The segments, each decoded once; None where there is doubt that no route may allow."""
    if not path.startswith("/"):
        return None
    try:
        segments = [unquote_to_bytes(s).decode() for s in path.partition("?")[0][1:].split("/")]
    except UnicodeDecodeError:
        return None
    for segment in segments:
        pieces = unquote_to_bytes(segment).decode("utf-8", "replace").split("/")
        if any(ord(c) < 32 or c in "\\\x7f" for c in segment):
            return None
        if any(p.split(";")[0] in {".", ".."} for p in (*segment.split("/"), *pieces)):
            return None
    return segments


def fitting(routes: list[Json], host: str, segments: list[str]) -> Iterator[tuple[Any, Json]]:
    """Every pattern that takes this host and path, with its rank: the greatest is the most specific."""
    for route in routes:
        for wanted in route["match"].get("hosts", [""]):
            suffix = wanted.startswith("*.") and host.endswith(wanted[1:]) and host != wanted[2:]
            if not (wanted in {"", host} or suffix):
                continue
            for path in route["match"]["paths"]:
                rank = fits(path[1:].split("/"), segments)
                if rank is not None:
                    yield ((wanted == host, len(wanted)), rank, wanted, path), route


def fits(pattern: list[str], segments: list[str]) -> list[int] | None:
    """The rank of a path pattern that takes these segments: literal, `*`, end, `**`; None where it does not."""
    rest = pattern[-1] == "**"
    pattern = pattern[:-1] if rest else pattern
    if len(segments) < len(pattern) or (len(segments) > len(pattern) and not rest):
        return None
    for wanted, got in zip(pattern, segments, strict=False):
        if wanted != got and not (wanted == "*" and got):
            return None
    return [2 if wanted == "*" else 3 for wanted in pattern] + [0 if rest else 1]


def takes(route: Json, method: str) -> bool:
    """Does the route take the method?"""
    return "methods" not in route["match"] or method in route["match"]["methods"]


def holds(entry: Json, request: Json, who: Json | None, *, error: bool) -> bool:
    """All conditions of the entry; what is wrong with `when` counts as `error`."""
    if not all(CONDITIONS[word](value, request, who) for word, value in entry.items() if word in CONDITIONS):  # fmt: skip
        return False
    if "when" not in entry:
        return True
    try:
        return WHENS[entry["when"]](request, who or {}, (who or {}).get("claims", {})) is True
    except (KeyError, TypeError):
        return error


def inside(networks: list[str], client: str) -> bool:
    """Is the address in one of the networks?"""
    return any(ipaddress.ip_address(client) in ipaddress.ip_network(n) for n in networks)


def equal(one: Any, other: Any) -> bool:
    """Equal in JSON type and value."""
    kinds = [bool if isinstance(v, bool) else float if isinstance(v, int | float) else type(v) for v in (one, other)]  # fmt: skip
    return kinds[0] is kinds[1] and bool(one == other)


def has_claims(wanted: Json, claims: Json) -> bool:
    """Each claim is there with one of its values."""
    for name, value in wanted.items():
        got = claims.get(name, [])
        held = got if isinstance(got, list) else [got]
        if not any(equal(h, v) for h in held for v in (value if isinstance(value, list) else [value])):  # fmt: skip
            return False
    return True


def two_factors(who: Json | None) -> bool:
    """The claim `amr`: `mfa`, or methods of two kinds."""
    methods = (who or {}).get("claims", {}).get("amr")
    has, is_ = (
        ("otp", "hwk", "swk", "pop", "sc", "sms", "tel"),
        ("face", "fpt", "iris", "retina", "vbm"),
    )
    kinds = dict.fromkeys(("pwd", "pin", "kba"), 1) | dict.fromkeys(has, 2) | dict.fromkeys(is_, 3)
    if not isinstance(methods, list):
        return False
    return "mfa" in methods or len({kinds[m] for m in methods if m in kinds}) > 1


CONDITIONS: dict[str, Callable[[Any, Json, Json | None], bool]] = {
    "groups": lambda v, _, who: who is not None and bool(set(v) & set(who["groups"])),
    "scopes": lambda v, _, who: who is not None and set(v) <= set(who["scopes"]),
    "subjects": lambda v, _, who: who is not None and who["subject"] in v,
    "authenticators": lambda v, _, who: who is not None and who["authenticator"] in v,
    "networks": lambda v, request, _: inside(v, request["client"]),
    "claims": lambda v, _, who: who is not None and has_claims(v, who["claims"]),
}


def _at_least(value: Any, least: int) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError
    return value >= least


# CEL known by heart: what each text comes to; KeyError and TypeError are its errors.
WHENS: dict[str, Callable[[Json, Json, Json], bool]] = {
    'request.method == "GET"': lambda request, _, __: request["method"] == "GET",
    'request.path.startsWith("/a")': lambda request, _, __: request["path"].startswith("/a"),
    '"x-eng" in request.headers': lambda request, _, __: "x-eng" in request["headers"],
    'request.headers["x-eng"] == "1"': lambda request, _, __: request["headers"]["x-eng"] == "1",
    "claims.level >= 2": lambda _, __, claims: _at_least(claims["level"], 2),
    'has(claims.tenant) && claims.tenant == "acme"': lambda _, __, claims: claims.get("tenant") == "acme",
    '"g1" in identity.groups': lambda _, who, __: "g1" in who["groups"],
    'identity.subject == "bob"': lambda _, who, __: who["subject"] == "bob",
}  # fmt: skip
REQUEST_WHENS = list(WHENS)[:4]
