"""The way to an OpenID provider: a login is noted, bound to this browser, and the browser sent there.

It begins and ends at the portal; how other hosts get their sessions is `handover.py`'s business. Whoever gets an answer of
the provider's is half logged in, and no host but the portal's ever does.
"""

from urllib.parse import urlencode

from aiohttp import web

from authproxy.authn.oidc import OidcAuthenticator
from authproxy.model.rate import parse_rate
from authproxy.policy.table import RouteLimit
from authproxy.rate_limits.limiter import done
from authproxy.rate_limits.step import LOGINS, Step
from authproxy.web.compat import Request
from authproxy.web.own_site import own_origin
from authproxy.web.portal.forms import new_secret
from authproxy.web.portal.pages import redirect
from authproxy.web.portal.portal import LOGIN, Portal
from authproxy.web.portal.storage import set_cookie

# Each is a record on the disk: as many as a crowd behind one address needs.
BEGINNINGS = Step([RouteLimit("logins-begun", parse_rate("300/minute"), "address")], LOGINS)


async def depart(
    request: Request, portal: Portal, authenticator: OidcAuthenticator, wanted: str
) -> web.Response:
    """Send this browser to the provider; `wanted` is where it goes once it is back.

    Raises:
        FetchError: the provider does not answer.
        Refusal: `rate_limited`.
        StateUnavailable: the login cannot be noted.
    """
    exchange = request.exchange
    origin = own_origin(exchange)
    if origin != portal.url:
        query = urlencode({"provider": authenticator.name, "next": wanted})
        return redirect(f"{portal.url}{LOGIN}?{query}")
    await authenticator.provider.metadata()  # before anything is written
    await done(request.runtime.limiter.take_always(BEGINNINGS, exchange))
    secret = request.cookies.get(portal.form_cookie) or new_secret()
    begun = portal.pending.begin(authenticator.name, secret, origin, wanted, exchange.now)
    answer = redirect(await authenticator.authorization(*await begun))
    set_cookie(answer, portal.form_cookie, secret)
    return answer
