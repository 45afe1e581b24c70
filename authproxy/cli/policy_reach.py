"""`authproxy policy who` and `policy what`: who can reach a target, and what somebody can reach.

What is proved is `policy/reach.py`'s; here it is asked for and told.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from authproxy.cli.options import (
    ConfigOption,
    Format,
    FormatOption,
    load_config,
    require_authenticator,
)
from authproxy.cli.policy_explain import claim_option

if TYPE_CHECKING:
    from authproxy.config.load import Loaded
    from authproxy.policy.reach import Reach, Who
    from authproxy.policy.table import Route

Texts = list[str] | None


def who(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="The request's method.")],
    url: Annotated[str, typer.Argument(metavar="URL", help="The request's URL: https://host/path")],
    format: FormatOption = Format.text,
    config: ConfigOption = None,
) -> None:
    """Say who can reach a target: the entries that let somebody in, without those that change nothing.

    Example: authproxy policy who GET https://app.example/orders/1
    """
    loaded = load_config(config)
    loaded.usable()
    told = _who(loaded, method, url)
    if format is Format.json:
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        print("\n".join(_who_lines(told)))


def what(
    subject: Annotated[str | None, typer.Option(metavar="S", help="Who it is; else anybody.")] = None,
    group: Annotated[Texts, typer.Option(metavar="G", help="A group of theirs; repeatable.")] = None,
    scope: Annotated[Texts, typer.Option(metavar="S", help="A scope of theirs; repeatable.")] = None,
    claim: Annotated[Texts, typer.Option(metavar="NAME=JSON", help="A claim of theirs; repeatable.")] = None,
    authenticator: Annotated[str | None, typer.Option(metavar="A", help="Who verified them; else any that the route takes.")] = None,
    client: Annotated[str | None, typer.Option(metavar="IP", help="Their address; else any.")] = None,
    format: FormatOption = Format.text,
    config: ConfigOption = None,
) -> None:  # fmt: skip
    """Say what somebody can reach: each route with its verdict, or on what that depends. Without options: nobody.

    Example: authproxy policy what --group eng --client 10.0.0.1
    """
    from authproxy.model.address import parse_address
    from authproxy.policy.caller import Known
    from authproxy.policy.reach import what as reachable

    address = None if client is None else parse_address(client)
    if client is not None and address is None:
        raise typer.BadParameter(f"{client[:80]!r} is no IP address", param_hint="--client")
    loaded = load_config(config)
    known = Known(
        subject, authenticator, frozenset(group or ()), frozenset(scope or ()),
        dict(claim_option(text) for text in claim or ()), address,
        anonymous=not (subject or group or scope or claim or authenticator),
    )  # fmt: skip
    require_authenticator(loaded, authenticator)
    told = [_reach(loaded, one) for one in reachable(loaded.policies.table, known)]
    if format is Format.json:
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        print("\n".join(map(_reach_line, told)) or "there are no routes")


def _place(loaded: "Loaded", route: "Route") -> str:
    source, path = loaded.policies.places[route.name]
    return f"{source.file}:{source.place(path)[0]}"


def _limits(route: "Route") -> list[str]:
    from authproxy.policy.difference import describe_limit

    return list(map(describe_limit, (*route.address_limits, *route.identity_limits)))


def _who(loaded: "Loaded", method: str, url: str) -> dict[str, Any]:
    from authproxy.model.errors import Refusal
    from authproxy.model.host import parse_host
    from authproxy.policy.decide import resolve
    from authproxy.policy.diagram import TooLarge
    from authproxy.policy.offline import RequestError, exchange_for
    from authproxy.policy.reach import who as reaching

    try:
        exchange = exchange_for(method, url, now=time.time())
    except RequestError as error:
        raise typer.BadParameter(str(error)) from None
    route, code = None, "no_route"
    try:
        exchange.host = parse_host(exchange.host_field)
        route = resolve(loaded.policies.table, exchange)
    except Refusal as refusal:
        code = refusal.code
    request = {"method": method, "host": exchange.host, "path": exchange.path}
    if route is None:
        return {"request": request, "route": None, "verdict": code}
    try:
        found = _found(reaching(route))
    except TooLarge:
        print(f"the conditions of {route.name} are too many to be solved", file=sys.stderr)
        raise typer.Exit(1) from None
    return {"request": request, "route": route.name, "place": _place(loaded, route), **found}


def _found(found: "Who") -> dict[str, Any]:
    route = found.route
    return {
        "authenticators": list(route.authenticators),
        "public": found.public,
        "nobody": found.nobody,
        "anybody": found.anybody,
        "allow": {way.place: [c.text for c in way.conditions] for way in found.ways},
        "deny": {way.place: [c.text for c in way.conditions] for way in found.except_for},
        "second_factor": route.second_factor,
        "change_nothing": list(found.idle),
        "shadow": ["route"] * route.shadow + list(found.watched),
        "unknown": list(found.unknowns),
        "cors_preflight": route.forward_preflight,
        "limits": _limits(route),
    }


def _who_lines(told: Mapping[str, Any]) -> Iterator[str]:
    request = told["request"]
    yield f"request:  {request['method']} {request['host']} {request['path']}"
    if told["route"] is None:
        yield f"who:      nobody: {told['verdict']}"
        return
    yield f"route:    {told['route']} ({told['place']})"
    yield f"who:      {_summary(told)}"
    for word, listed in (("allow", told["allow"]), ("deny", told["deny"])):
        for place, conditions in listed.items():
            yield f"  {'who' if word == 'allow' else 'but'}     {place}  {' and '.join(conditions) or 'anybody'}"
    if told["second_factor"]:
        yield "  and     second_factor: true"
    for place in told["change_nothing"]:
        yield f"  not needed: {place} changes nothing for anybody"
    for place in told["shadow"]:
        yield f"  in shadow: {place}"
    if told["cors_preflight"]:
        yield "  and     CORS preflights, from anybody"
    yield from (f"unknown:  when: {source}" for source in told["unknown"])
    yield from (f"limit:    {limit}" for limit in told["limits"])


def _summary(told: Mapping[str, Any]) -> str:
    if told["nobody"]:
        return "nobody"
    public = " (public: no credential is needed)" if told["public"] else ""
    whom = (
        f"with a credential of {', '.join(told['authenticators'])}"
        if told["authenticators"]
        else ""
    )
    return f"{'anybody' if told['anybody'] else 'those'} {whom or 'at all'}{public}"


def _reach(loaded: "Loaded", found: "Reach") -> dict[str, Any]:
    route = found.route
    return {
        "route": route.name,
        "place": _place(loaded, route),
        "methods": sorted(route.methods) if route.methods is not None else None,
        "targets": [f"{host or '*'}{path}" for host in route.hosts for path in route.paths],
        "verdict": found.verdict,
        "possible": [outcome.code for outcome in found.possible],
        "shadow": any(outcome.shadow for outcome in found.possible),
        "depends_on": list(found.depends_on),
        "limits": _limits(route),
    }


def _reach_line(told: Mapping[str, Any]) -> str:
    methods = ",".join(told["methods"] or ["any"])
    depends = f"  depends on {'; '.join(told['depends_on'])}" if told["depends_on"] else ""
    shadow = "  (shadow: a refusal is withheld)" if told["shadow"] else ""
    return f"{told['verdict']:<16} {methods} {' '.join(told['targets'])}  [{told['route']}]{depends}{shadow}"  # fmt: skip
