"""One login for several hosts: from a host to the portal and back, with a session of that host's own.

A host sends the browser to the portal's login with its own name, the path and the mark of the browser. The portal's
session then buys a ticket, which that host alone turns into a cookie. Only hosts that routes name take part, by the
portal's scheme and port: what a browser is sent to is made of such a name and of nothing else that anybody sent (CWE-601).
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode

from aiohttp import web

from authproxy.authn.tickets import Ticket, browser_mark
from authproxy.model.errors import Refusal
from authproxy.model.host import parse_host
from authproxy.model.rate import parse_rate
from authproxy.model.return_path import FRONT, return_path
from authproxy.policy.table import RouteLimit
from authproxy.rate_limits.limiter import done
from authproxy.rate_limits.step import LOGINS, Step
from authproxy.web.compat import Request
from authproxy.web.own_site import own_origin
from authproxy.web.portal.forms import new_secret
from authproxy.web.portal.pages import redirect
from authproxy.web.portal.portal import HANDOVER, LOGIN, RESEND, TICKET, USERINFO, Portal
from authproxy.web.portal.storage import set_cookie

_MARK = re.compile(r"[A-Za-z0-9_-]{43}")
_NAMES = frozenset({"host", "next", "browser"})
# Each is a record on the disk, for half a minute.
ISSUED = Step([RouteLimit("tickets", parse_rate("300/minute"), "address")], LOGINS)


@dataclass(frozen=True, slots=True)
class Handover:
    """A way back: the host that asked, the path there, and the mark of the browser."""

    host: str
    path: str
    browser: str

    @property
    def target(self) -> str:
        """It as a page of the portal."""
        return f"{HANDOVER}?{urlencode({'host': self.host, 'next': self.path, 'browser': self.browser})}"


def read_handover(target: str, portal: Portal) -> Handover | None:
    """The handover that a target of the portal's asks for; None for everything that is none to a host of ours."""
    path, _, query = target.partition("?")
    if path != HANDOVER:
        return None
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=3)
        found = dict(pairs)
        host = parse_host(found.get("host", ""))
    except (ValueError, Refusal):
        return None
    if found.keys() != _NAMES or len(pairs) != len(_NAMES) or host != found["host"]:
        return None
    if not portal.sends_to(host) or not _MARK.fullmatch(found["browser"]):
        return None
    return Handover(host, _path(found["next"]), found["browser"])


def _path(wanted: str) -> str:
    """Where a login may lead to on its own host: back to a page, to the form that waits there, or to who one is there."""
    return wanted if wanted in {RESEND, USERINFO} else return_path(wanted)


def destination(request: Request, portal: Portal, wanted: str) -> str:
    """Where a login on this host may lead to: a path of it or, on the portal's own, to another of our hosts by a ticket."""
    if own_origin(request.exchange) == portal.url:
        handover = read_handover(wanted, portal)
        if handover is not None:
            return handover.target
        if not request.runtime.table.serves(request.exchange.host):
            return USERINFO  # there is nothing else
    return _path(wanted)


def asking_host(request: Request, portal: Portal, wanted: str) -> str:
    """The host that somebody logs in for."""
    handover = read_handover(wanted, portal)
    return request.exchange.host if handover is None else handover.host


def login_place(request: Request, portal: Portal, wanted: str) -> tuple[str, str]:
    """Where this host's login is, and the secret that the browser must then hold (empty: it need not)."""
    exchange = request.exchange
    if not is_sent_away(request, portal):
        return f"{LOGIN}?next={quote(wanted, safe='/')}", ""
    secret = request.cookies.get(portal.form_cookie) or new_secret()
    target = Handover(exchange.host, wanted, browser_mark(secret)).target
    return f"{portal.url}{LOGIN}?next={quote(target, safe='/')}", secret


def is_sent_away(request: Request, portal: Portal) -> bool:
    """Is this host's login at the portal?"""
    host = request.exchange.host
    return portal.sends_to(host) and own_origin(request.exchange) == portal.origin_of(host)


def go_to_login(request: Request, portal: Portal, wanted: str) -> web.Response:
    """Send a browser to where this host's login is."""
    location, secret = login_place(request, portal, wanted)
    answer = redirect(location)
    if secret:
        set_cookie(answer, portal.form_cookie, secret)
    return answer


async def handover(request: Request, portal: Portal) -> web.Response:
    """On the portal: a ticket for whoever is logged in, the login for everybody else.

    Raises:
        Refusal: `no_route` on other hosts, and for what is no handover to a host of ours; `rate_limited`.
        StateUnavailable: there is no ticket.
    """
    exchange = request.exchange
    wanted = read_handover(exchange.raw_target, portal)
    if wanted is None or own_origin(exchange) != portal.url:
        raise Refusal("no_route", "handover")
    found = await portal.who(request)
    if found is None:
        return redirect(f"{LOGIN}?next={quote(wanted.target, safe='/')}")
    session, exchange.identity = found
    await done(request.runtime.limiter.take_always(ISSUED, exchange))
    origin = portal.origin_of(wanted.host)
    ticket = Ticket(session.key.hex(), origin, wanted.browser, wanted.path)
    text = await portal.tickets.issue(ticket, exchange.now)
    return redirect(f"{origin}{TICKET}?ticket={text}")


async def ticket(request: Request, portal: Portal) -> web.Response:
    """On the host that asked: a session of its own for a good ticket, and a page that says so for any other.

    Raises:
        StateUnavailable: nobody can tell.
    """
    exchange = request.exchange
    text = exchange.raw_target.partition("?ticket=")[2]
    secret = request.cookies.get(portal.form_cookie)
    found = await portal.tickets.take(text, own_origin(exchange), secret, exchange.now)
    session = None
    if found is not None:
        session = await portal.sessions.living(bytes.fromhex(found.session), exchange.now)
    if found is None or session is None:
        if await portal.who(request) is not None:
            return redirect(FRONT)  # the same page a second time, perhaps by the back button
        exchange.code, exchange.reason = "token_invalid", "ticket"
        return portal.pages.page("over", 403)
    before = await portal.who(request)
    if before is not None and before[0].key != session.key:
        await portal.end_login(before[0])
    answer = redirect(found.path)
    set_cookie(answer, portal.cookie, await portal.sessions.admit(session))
    exchange.reason = "ticket"
    return answer
