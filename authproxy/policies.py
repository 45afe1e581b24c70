"""From a configuration to policies that decide without a server: no key is read, no secret is needed, nobody is asked.

So a pipeline can test policies with nothing but the files; what credentials are worth is `runtime.verification`'s matter.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

from authproxy.authn.certificate import CertificateSlot
from authproxy.authn.slots import DPOP, CookieSlot, compile_slot
from authproxy.config.authenticators import (
    ApiKeyAuthenticator,
    CertificateAuthenticator,
    IntrospectionAuthenticator,
    JwtAuthenticator,
    OidcLogin,
    PasswordLogin,
    TokenSlot,
)
from authproxy.config.load import Loaded, find_config, load
from authproxy.config.schema import Config, Upstream
from authproxy.model.headers import ASSERTION_HEADER, HeaderRules, IdentityProfile
from authproxy.model.identity import Identity
from authproxy.policy.cases import named_identities
from authproxy.policy.offline import UNKNOWN, PolicySet
from authproxy.policy.outbound import Outbound
from authproxy.policy.table import Route
from authproxy.upstream.pool import Server

AnyAuthenticator = (
    JwtAuthenticator
    | IntrospectionAuthenticator
    | ApiKeyAuthenticator
    | CertificateAuthenticator
    | PasswordLogin
    | OidcLogin
)


def load_policies(file: str | os.PathLike[str] | None = None) -> PolicySet:
    """The policies of this configuration; None: the one that the commands would find.

    Raises:
        ConfigError: there is none, or it has errors.
    """
    named = None if file is None else os.fspath(file)
    return policy_set(load(find_config(named, os.environ) if named is None else Path(named)))


def policy_set(loaded: Loaded) -> PolicySet:
    """The policies that were loaded.

    Raises:
        ConfigError: the configuration has errors.
    """
    config = loaded.usable()
    return PolicySet(
        table=loaded.policies.table,
        places=loaded.policies.places,
        identities=named_identities(loaded.policy_files),
        rules=HeaderRules(config.identity.strip),
        outbound=_outbounds(config),
        render=IdentityProfile(config.identity.profile).render,
        problems=tuple(loaded.problems),
        clock=time.time,
    )


def backend_host(settings: Upstream) -> bytes | None:
    """What the servers of this upstream are told of the host; None: the client's own."""
    if settings.host == "client":
        return None
    if settings.host == "upstream":
        return Server.parse(settings.servers[0]).authority
    return settings.host.encode()


def _outbounds(config: Config) -> Callable[[Route], Outbound]:
    """What makes the heads of a route, as the server would; each is made once."""
    cookie = config.session.cookie
    assertion = _unsigned if config.identity.assertion.enabled else None

    @cache
    def outbound(route: Route) -> Outbound:
        asked = [config.authenticators[name] for name in route.authenticators]
        headers, cookies = credential_places(asked, cookie)
        return Outbound(
            route,
            host=backend_host(config.upstreams[route.upstream]),
            own_cookies=config.session.own_cookies,
            credential_headers=headers,
            credential_cookies=cookies,
            assertion=assertion,
        )

    return outbound


def _unsigned(_identity: Identity, _now: float) -> bytes:
    """That there would be an assertion: a real one would be good, wherever it was pasted."""
    return ASSERTION_HEADER + f": {UNKNOWN}\r\n".encode()


def slots_of(config: Config) -> dict[str, frozenset[str]]:
    """The places where each authenticator looks for credentials, by the names of its slots, from its settings alone."""
    return {
        name: frozenset(_slots_of(one, config.session.cookie))
        for name, one in config.authenticators.items()
    }


def _slots_of(one: AnyAuthenticator, cookie: str) -> Iterator[str]:
    yield from (compile_slot(slot).name for slot in getattr(one, "token_from", []))
    if isinstance(one, JwtAuthenticator | IntrospectionAuthenticator) and one.dpop:
        yield DPOP.name
    if isinstance(one, CertificateAuthenticator):
        yield CertificateSlot(one.subject).name
    if isinstance(one, PasswordLogin | OidcLogin):
        yield CookieSlot(cookie).name


def credential_places(
    authenticators: Iterable[AnyAuthenticator], cookie: str
) -> tuple[set[str], set[str]]:
    """The headers (lower case) and the cookies that these authenticators read, by their settings alone.

    `cookie` is the session's. What the server compiles comes to the same; a test holds both together.
    """
    headers: set[str] = set()
    cookies: set[str] = set()
    for one in authenticators:
        slots: list[TokenSlot] = getattr(one, "token_from", [])
        headers |= {slot.header.lower() for slot in slots if slot.header is not None}
        cookies |= {slot.cookie for slot in slots if slot.cookie is not None}
        if isinstance(one, JwtAuthenticator | IntrospectionAuthenticator) and one.dpop:
            headers |= {"authorization", "dpop"}
        if isinstance(one, PasswordLogin | OidcLogin):
            cookies.add(cookie)
    return headers, cookies
