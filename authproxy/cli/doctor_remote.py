"""What `doctor` asks of others: issuers and providers (reachable, their keys, their clocks, our redirect URI) and the portal."""

import secrets
import ssl
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode, urlsplit

from authproxy.authn.oidc import OidcAuthenticator
from authproxy.authn.provider import WELL_KNOWN
from authproxy.cli.doctor_findings import Finding, note, ok, problem
from authproxy.cli.doctor_probe import NoAnswerError, Place, Reply, probe
from authproxy.config.authenticators import JwtAuthenticator
from authproxy.config.load import Loaded
from authproxy.fetch import Fetched, Fetcher, FetchError
from authproxy.runtime import Verification

SKEW_MOST = (
    10.0  # seconds; tokens are good for 30 s more than they say, and others' clocks differ too
)


async def remote(loaded: Loaded, decides: Verification) -> AsyncIterator[Finding]:
    """Everything that is asked of others."""
    for name, settings in loaded.usable().authenticators.items():
        if isinstance(settings, JwtAuthenticator):
            async for one in _issuer(loaded, name, settings):
                yield one
    for login in decides.authenticators.values():
        if isinstance(login, OidcAuthenticator):
            async for one in _provider(loaded, login):
                yield one
    if loaded.usable().portal is not None and decides.logins:
        async for one in _portal(loaded):
            yield one


async def _issuer(loaded: Loaded, name: str, settings: JwtAuthenticator) -> AsyncIterator[Finding]:
    keys = settings.keys
    url = keys.url
    if keys.discovery:
        url = settings.issuer.removesuffix("/") + WELL_KNOWN
    if url is None:
        return  # its keys are a file, and were read
    async for one in _fetched(
        f"the keys of `{name}`", url, Fetcher(loaded.folder / keys.ca if keys.ca else None)
    ):
        yield one


async def _fetched(what: str, url: str, fetcher: Fetcher) -> AsyncIterator[Finding]:
    try:
        answer = await fetcher.get(url)
    except FetchError as error:
        yield problem(
            "unreachable",
            f"{what}: {url}: {error}",
            "check the URL, name resolution, firewall and `ca`",
        )
        return
    finally:
        await fetcher.close()
    yield ok("reachable", f"{what}: {url} answers")
    yield _clock(what, answer)


def _clock(what: str, answer: Fetched) -> Finding:
    try:
        theirs = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except ValueError:
        return note("clock", f"{what}: it does not say what time it is")
    ahead = time.time() - theirs
    if abs(ahead) > SKEW_MOST:
        where = "ahead of" if ahead > 0 else "behind"
        text = f"{what}: our clock is {abs(ahead):.0f} s {where} its own, so good tokens look as not yet good, or as expired"
        return problem("clock", text, "let both follow a time server (timedatectl, chrony)")
    return ok("clock", f"{what}: its clock and ours agree")


async def _provider(loaded: Loaded, login: OidcAuthenticator) -> AsyncIterator[Finding]:
    settings = login.provider.settings
    what, ca = (
        f"the provider of `{login.name}`",
        loaded.folder / settings.ca if settings.ca else None,
    )
    url = settings.issuer.removesuffix("/") + WELL_KNOWN
    async for one in _fetched(what, url, Fetcher(ca)):
        yield one
    try:
        metadata = await login.provider.metadata()
        await login.provider.keys()
    except FetchError as error:
        yield problem(
            "provider",
            f"{what}: {error}",
            "compare `issuer` with what the provider says of itself, to the letter",
        )
        return
    finally:
        await login.provider.close()
    yield ok("provider", f"{what}: its own description and its keys can be used")
    yield await _redirect_uri(
        what, login, metadata.authorization_endpoint, ssl.create_default_context(cafile=ca)
    )


async def _redirect_uri(
    what: str, login: OidcAuthenticator, endpoint: str, tls: ssl.SSLContext
) -> Finding:
    """Asks as a login would, but for `prompt=none`: who knows the redirect URI sends the answer there, whatever it is."""
    asked = {
        "response_type": "code", "client_id": login.provider.settings.client_id, "redirect_uri": login.redirect_uri,
        "scope": "openid", "prompt": "none", "state": secrets.token_urlsafe(16), "nonce": secrets.token_urlsafe(16),
        "code_challenge": secrets.token_urlsafe(32), "code_challenge_method": "S256",
    }  # fmt: skip
    parts = urlsplit(endpoint)
    target = f"{parts.path or '/'}?{parts.query + '&' if parts.query else ''}{urlencode(asked)}"
    register = f"register {login.redirect_uri} there, to the letter"
    try:
        reply = await _ask(endpoint, target, tls)
    except NoAnswerError as error:
        return note(
            "redirect-uri",
            f"{what}: its authorization endpoint could not be asked: {error}",
            register,
        )
    if reply.headers.get("location", "").startswith(f"{login.redirect_uri}?"):
        return ok("redirect-uri", f"{what} knows {login.redirect_uri}")
    if reply.status in {400, 401, 403}:
        return problem(
            "redirect-uri", f"{what} answers {reply.status} to a login from here", register
        )
    return note("redirect-uri", f"{what} does not say whether it knows our redirect URI", register)


async def _ask(url: str, target: str, tls: ssl.SSLContext) -> Reply:
    parts = urlsplit(url)
    https = parts.scheme == "https"
    place = Place(
        parts.hostname or "", parts.port or (443 if https else 80), tls=tls if https else None
    )
    return await probe(place, target, [("Host", parts.netloc), ("Accept", "text/html")])


async def _portal(loaded: Loaded) -> AsyncIterator[Finding]:
    config = loaded.usable()
    assert config.portal is not None
    url = config.portal.url
    try:
        reply = await _ask(url, "/.authproxy/login", ssl.create_default_context())
    except NoAnswerError as error:
        yield problem(
            "portal",
            f"{url} could not be asked: {error}",
            "check that the name leads here and that the proxy runs; a private authority must be known to this machine",
        )
        return
    given = [
        c
        for c in reply.headers.get("set-cookie", "").split("\n")
        if c.startswith(config.session.form_cookie)
    ]
    if reply.status != 200 or not given:
        text = f"{url}/.authproxy/login answers {reply.status} without our cookie: something else is there, or the host or scheme is not passed on"
        yield problem(
            "portal",
            text,
            "let the proxy in front pass Host and set X-Forwarded-Proto; check name and port of `portal.url`",
        )
        return
    flags = {part.strip().lower() for part in given[0].split(";")[1:]}
    missing = {"path=/", "secure", "httponly", "samesite=lax"} - flags
    if missing or any(flag.startswith("domain=") for flag in flags):
        text = f"{url}: our cookie arrives changed ({'; '.join(sorted(flags))})"
        yield problem(
            "cookie",
            text,
            "something in front rewrites Set-Cookie: switch that off (proxy_cookie_domain, proxy_cookie_flags and the like)",
        )
        return
    yield ok("portal", f"{url} has our login, and its cookies arrive as they were sent")
