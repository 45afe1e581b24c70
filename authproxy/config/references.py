"""What is wrong between two parts of a configuration that are each right by themselves.

Parts that were cut out because they are wrong are not compared: one mistake is one problem.
"""

from collections.abc import Collection, Iterator

from authproxy.config.authenticators import (
    ApiKeyAuthenticator,
    BoundTokens,
    CertificateAuthenticator,
    IntrospectionAuthenticator,
    JwtAuthenticator,
    OidcLogin,
    PasswordLogin,
)
from authproxy.config.schema import Config
from authproxy.config.values import SocketAddress
from authproxy.model.address import parse_address
from authproxy.model.errors import Problem
from authproxy.model.source import Path, Source
from authproxy.model.url import is_allowed

_ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared with, never bound


def check_references(config: Config, source: Source, cut: Collection[Path]) -> Iterator[Problem]:
    """Authenticators in each other's way, issuers that cannot be asked, and listeners in each other's way."""
    yield from _check_takers(config, source)
    yield from _check_sessions(config, source)
    yield from _check_discovery(config, source)
    if ("portal",) not in {path[:1] for path in cut}:
        yield from _check_portal(config, source)
    if not any(path[0] == "listeners" for path in cut):
        yield from _check_listeners(config, source)
    if config.state.url == "memory:" and config.workers != 1:
        text = "`memory:` is one worker's own: with several, each would count for itself"
        yield source.problem(
            ("state", "url"), "memory-of-one-worker", text, "write `lmdb:DIR`, or `workers: 1`"
        )


def _check_takers(config: Config, source: Source) -> Iterator[Problem]:
    taken: dict[tuple[str, ...], str] = {}
    for name, settings in config.authenticators.items():
        if isinstance(settings, CertificateAuthenticator | PasswordLogin | OidcLogin):
            continue
        others = {taken.setdefault(slot, name): None for slot in _slots(settings)}
        for other in others:
            if other != name:
                what, key, code = _TAKES[settings.type]
                text = f"`{name}` and `{other}` read {what} from the same place"
                path = ("authenticators", name, key)
                remedy = "make them one, or read another header"
                yield source.problem(path, code, text, remedy)


def _check_sessions(config: Config, source: Source) -> Iterator[Problem]:
    """A session's cookie is for TLS; a listener without it may only be reached from this machine or by a trusted proxy."""
    kinds = PasswordLogin | OidcLogin
    logins = [n for n, one in config.authenticators.items() if isinstance(one, kinds)]
    if not logins or config.trusted_proxies is not None:
        return
    for index, listener in enumerate(config.listeners):
        address = listener.address
        local = address.path or address.fd or _is_loopback(address.host)
        if listener.tls is None and not local:
            text = f"`{logins[0]}` makes sessions, whose cookies no browser sends without TLS"
            remedy = (
                "add `tls`, listen on 127.0.0.1, or name the proxy in front in `trusted_proxies`"
            )
            yield source.problem(("listeners", index), "session-without-tls", text, remedy)


def _check_portal(config: Config, source: Source) -> Iterator[Problem]:
    """Providers send people back to the portal, so it must be known where that is."""
    if config.portal is not None:
        return
    for name, settings in config.authenticators.items():
        if isinstance(settings, OidcLogin):
            text = f"`{name}` has no address that the provider could send people back to"
            remedy = "add `portal: {url: https://login.example.com}`, the address of these pages"
            yield source.problem(("authenticators", name, "type"), "missing-portal", text, remedy)


def _is_loopback(host: str) -> bool:
    found = parse_address(host)
    return host == "localhost" or (found is not None and found.is_loopback)


def _check_discovery(config: Config, source: Source) -> Iterator[Problem]:
    for name, settings in config.authenticators.items():
        if not isinstance(settings, JwtAuthenticator) or settings.keys.discovery is None:
            continue
        # OpenID Connect Discovery 1.0 section 4: the issuer is where its document lies, without query and fragment.
        if not is_allowed(settings.issuer) or "?" in settings.issuer:
            text = f"the issuer of `{name}` is no https URL, so nothing can be discovered there"
            path = ("authenticators", name, "issuer")
            remedy = "write its https URL without a query (http only on this machine), or `keys: {url: …}`"
            yield source.problem(path, "bad-issuer", text, remedy)


# type: what two of it would both take, where that stands, and the code of the problem
_TAKES = {
    "jwt": ("the same issuer", "issuer", "duplicate-issuer"),
    "introspection": ("tokens of the same kind", "type", "duplicate-slot"),
    "api-key": ("API keys", "type", "duplicate-slot"),
}


def _slots(
    settings: JwtAuthenticator | IntrospectionAuthenticator | ApiKeyAuthenticator,
) -> Iterator[tuple[str, ...]]:
    takes: str = settings.type
    if isinstance(settings, JwtAuthenticator):
        takes += f" {settings.issuer}"
    elif isinstance(settings, IntrospectionAuthenticator):
        takes += f" {settings.tokens}"
    for slot in settings.token_from:
        header, scheme = (slot.header or "").lower(), (slot.scheme or "").lower()
        yield takes, header, scheme, slot.cookie or ""
    if isinstance(settings, BoundTokens) and settings.dpop is not None:
        yield takes, "authorization", "dpop", ""


def _check_listeners(config: Config, source: Source) -> Iterator[Problem]:
    addresses = [listener.address for listener in config.listeners]
    for index, address in enumerate(addresses):
        if any(_collide(address, other) for other in addresses[:index]):
            path: Path = ("listeners", index, "address")
            text = f"{address} is taken by another listener"
            yield source.problem(path, "duplicate-address", text, "choose another port")
    if config.admin is False:
        return
    if any(_collide(config.admin.address, address) for address in addresses):
        path = ("admin", "address") if ("admin", "address") in source.values else ("listeners",)
        text = "the admin listener must not be a proxied one"
        yield source.problem(path, "admin-on-listener", text, "give it an address of its own")


def _collide(one: SocketAddress, other: SocketAddress) -> bool:
    if one.path or other.path or one.fd or other.fd:
        return (one.path, one.fd) == (other.path, other.fd)
    hosts = {one.host, other.host}
    return one.port == other.port != 0 and (len(hosts) == 1 or not _ANY.isdisjoint(hosts))
