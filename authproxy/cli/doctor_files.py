"""What `doctor` reads and does not ask: certificates, key files, and whether cookies and addresses fit the listeners."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from authproxy.authn.logins import LoginAuthenticator
from authproxy.cli.doctor_findings import Finding, note, ok, problem
from authproxy.config.lint import lint_config
from authproxy.config.load import Loaded
from authproxy.config.named_files import read_named
from authproxy.config.schema import Config
from authproxy.runtime import Verification

SOON = timedelta(days=21)
# Whoever trusts as many addresses as this trusts clients.
WIDE = {4: 8, 6: 16}


def files(loaded: Loaded, now: datetime) -> Iterator[Finding]:
    """Certificates that end, and keys that others can read."""
    for path in _certificates(loaded.usable(), loaded.folder):
        yield _certificate(path, now)
    modes = [one for one in lint_config(loaded) if one.code == "key-file-mode"]
    for one in modes:
        yield problem("key-file-mode", f"{one.file}:{one.line}: {one.text}", one.remedy)
    if not modes:
        yield ok("key-file-mode", "nobody else can read the files of keys and users")


def _certificates(config: Config, folder: Path) -> Iterator[Path]:
    for listener in config.listeners:
        for pair in listener.tls.certificates if listener.tls else ():
            yield folder / pair.certificate
    for upstream in config.upstreams.values():
        if upstream.tls is not None and upstream.tls.certificate is not None:
            yield folder / upstream.tls.certificate


def _certificate(path: Path, now: datetime) -> Finding:
    try:
        found = x509.load_pem_x509_certificates(read_named(path))[0]
    except (OSError, ValueError) as error:
        return problem(
            "certificate",
            f"{path.name} cannot be read: {error}",
            "check its path and that it is PEM",
        )
    begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
    if now < begins:
        text = f"{path.name} is good only from {begins:%Y-%m-%d %H:%M} UTC on"
        return problem("certificate", text, "look whether the clock of this machine is right")
    if now >= ends:
        return problem(
            "certificate",
            f"{path.name} ended on {ends:%Y-%m-%d}",
            "replace it; it is taken over without a restart",
        )
    if ends - now < SOON:
        days = (ends - now).days
        return problem(
            "certificate",
            f"{path.name} ends in {days} days, on {ends:%Y-%m-%d}",
            "replace it in time",
        )
    return ok("certificate", f"{path.name} is good until {ends:%Y-%m-%d}")


def cookies(loaded: Loaded, decides: Verification) -> Iterator[Finding]:
    """Whether browsers will keep the session's cookie, and whom we believe that they use TLS."""
    config = loaded.usable()
    if not decides.logins:
        return
    plain = [str(one.address) for one in config.listeners if one.tls is None]
    if not plain:
        yield ok("cookie", "every listener has TLS, so browsers keep the session's cookie")
        return
    named = ", ".join(plain)
    if config.trusted_proxies is None:
        text = f"{named} has no TLS: browsers keep the session's cookie from localhost only"
        yield note(
            "cookie",
            text,
            "for anybody else add `tls`, or a proxy in front that is named in `trusted_proxies`",
        )
    else:
        text = f"{named} has no TLS: what the trusted proxy says of it is believed"
        yield note(
            "cookie",
            text,
            "the proxy in front must set `X-Forwarded-Proto: https` (or `proto=`) itself, and drop what clients send",
        )
        yield from _wide(config)
    if (
        config.portal is not None
        and config.portal.url.startswith("https:")
        and not _can_be_https(config)
    ):
        text = f"{config.portal.url} is https, but no listener has TLS and no proxy in front is trusted to say so"
        yield problem(
            "portal-scheme",
            text,
            "add `tls` to a listener, or name the proxy in front in `trusted_proxies`",
        )


def _can_be_https(config: Config) -> bool:
    return config.trusted_proxies is not None or any(one.tls for one in config.listeners)


def _wide(config: Config) -> Iterator[Finding]:
    for network in config.trusted_networks:
        if network.prefixlen < WIDE[network.version]:
            text = f"`trusted_proxies` names {network}: whoever connects from there says who the client is, and that it is https"
            yield problem(
                "trusted-too-many", text, "name the addresses of the proxies in front, and no more"
            )


def hosts(loaded: Loaded, decides: Verification) -> Iterator[Finding]:
    """Routes whose login cannot be at the portal."""
    portal = loaded.usable().portal
    if portal is None:
        return
    for route in loaded.policies.table.routes:
        logs_in = any(
            isinstance(decides.authenticators[n], LoginAuthenticator) for n in route.authenticators
        )
        if logs_in and "" in route.hosts:
            text = f"the route `{route.name}` has no `hosts`: where no other route names the host, its login is on that host, not at the portal"
            yield note("portal-hosts", text, "name its hosts, so that one login serves them all")
