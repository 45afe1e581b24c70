"""Who believes what a client says of itself: forged identity headers, sent straight to each backend and through the proxy.

A backend can only be asked whether it answers without the proxy, and whether a forged name changes its answer. What it
does with the name further in, no question from outside can tell.
"""

import secrets
from collections.abc import AsyncIterator

from authproxy.cli.doctor_findings import Finding, note, ok, problem
from authproxy.cli.doctor_probe import NoAnswerError, Place, Reply, listening, probe
from authproxy.config.load import Loaded
from authproxy.model.url import is_loopback
from authproxy.policy.table import Route
from authproxy.runtime import UpstreamSettings, upstream_settings
from authproxy.upstream.pool import Server

NAMES = (
    "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username", "X-Auth-Request-User",
    "Remote-User", "X-Remote-User", "X_Forwarded_User", "X-Authproxy-Assertion",
)  # fmt: skip
ROUTES_MOST = 50
REFUSED = frozenset({301, 302, 303, 307, 308, 401, 403, 405, 429})


def forged() -> tuple[str, list[tuple[str, str]]]:
    """A name that nobody has, and the headers that claim it."""
    name = f"doctor-{secrets.token_hex(8)}"
    return name, [(header, name) for header in NAMES]


async def backends(loaded: Loaded) -> AsyncIterator[Finding]:
    """Each server of each upstream, straight."""
    signed = loaded.usable().identity.assertion.enabled
    for name, settings in upstream_settings(loaded).items():
        for server in settings.servers:
            yield await _backend(
                f"the backend `{name}` at {server}", server, settings, signed=signed
            )


async def _backend(
    what: str, server: Server, settings: UpstreamSettings, *, signed: bool
) -> Finding:
    tls = settings.tls if server.scheme == "https" else None
    place = Place(server.host, server.port, server.path, tls, settings.server_name)
    host = ("Host", server.authority.decode())
    _, claims = forged()
    try:
        plain = await probe(place, "/", [host])
        claimed = await probe(place, "/", [host, *claims])
    except NoAnswerError as error:
        return problem(
            "backend", f"{what} does not answer: {error}", "start it, or correct `servers`"
        )
    if plain.status in {401, 403} and claimed.status not in {401, 403}:
        text = f"{what} answers {plain.status} to nobody and {claimed.status} to a forged name: it believes whoever reaches it"
        return problem(
            "forged-identity",
            text,
            "let only the proxy reach it (127.0.0.1, a Unix socket, a firewall), or let it verify the signed assertion",
        )
    if claimed.status in {401, 403}:
        return ok("forged-identity", f"{what} answers {claimed.status} to a forged name")
    text = f"{what} answers {claimed.status} without the proxy; whether it believes the name in it cannot be seen from here"
    if server.scheme == "unix" or is_loopback(server.host):
        return note(
            "forged-identity",
            text,
            "only this machine can reach it: see that nobody else works here",
        )
    if signed:
        return note(
            "forged-identity",
            text,
            "it must refuse whatever has no good assertion; see that it does, or let only the proxy reach it",
        )
    return problem(
        "forged-identity",
        text,
        "let only the proxy reach it (127.0.0.1, a Unix socket, a firewall), or switch the signed assertion on and let it verify that",
    )


async def through(loaded: Loaded) -> AsyncIterator[Finding]:
    """Each route, by way of our own first listener, with nothing but a forged name."""
    listener = loaded.usable().listeners[0]
    if listener.address.fd or (not listener.address.path and listener.address.port == 0):
        yield note("through", f"the listener {listener.address} has no address that could be asked")
        return
    place = listening(listener.address, tls=listener.tls is not None)
    try:
        await probe(place, "/", [("Host", "doctor.invalid")])
    except NoAnswerError as error:
        yield note(
            "through",
            f"no proxy answers at {listener.address}: {error}",
            "start it, then run this again",
        )
        return
    for route in loaded.policies.table.routes[:ROUTES_MOST]:
        if route.methods is None or "GET" in route.methods:
            yield await _route(route, place)


async def _route(route: Route, place: Place) -> Finding:
    name, claims = forged()
    target = f"/{'/'.join(_literal(piece) for piece in route.paths[0][1:].split('/'))}"
    host = route.hosts[0].replace("*", "doctor") or "doctor.invalid"
    try:
        reply = await probe(place, target, [("Host", host), *claims])
    except NoAnswerError as error:
        return note("through", f"the route `{route.name}` could not be asked: {error}")
    return _judged(route, reply, name)


def _judged(route: Route, reply: Reply, name: str) -> Finding:
    what = f"the route `{route.name}`"
    if name.encode() in reply.body:
        text = f"{what}: the forged name came back in the answer, so something passed it on"
        return problem(
            "forged-identity",
            text,
            "another proxy between us and the backend adds it, or this is not the proxy of this configuration",
        )
    if route.authenticators and reply.status not in REFUSED and reply.status < 500:
        text = f"{what} answers {reply.status} to a forged name and no credential"
        return problem(
            "forged-identity",
            text,
            "compare the running configuration with this one: `authproxy policy explain`",
        )
    if route.authenticators:
        return ok(
            "forged-identity", f"{what} answers {reply.status} to a forged name and no credential"
        )
    return ok("forged-identity", f"{what} is open to anyone; the forged name is not in its answer")


def _literal(piece: str) -> str:
    return {"*": "doctor", "**": ""}.get(piece, piece)
