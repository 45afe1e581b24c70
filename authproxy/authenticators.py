"""From the configuration's authenticators to those that judge: one function a `type`, each with its files read.

All that can fail about keys and secrets fails here, as problems with their places, every one at once. Nobody is asked:
the keys of an issuer elsewhere come later, or are taken over from who already has them.
"""

import hashlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from authproxy.authn.api_keys import ApiKeyVerifier
from authproxy.authn.authenticator import Authenticator, Render, length_prefixed
from authproxy.authn.bearer import FollowingVerifier, JwtVerifier
from authproxy.authn.certificate import CertificateVerifier
from authproxy.authn.client_authentication import client_of
from authproxy.authn.introspection import Asks, Introspector
from authproxy.authn.key_source import KeySource
from authproxy.authn.keys import KeyProblem, KeySet, load_key_set, secret_key_set
from authproxy.authn.oidc import OidcAuthenticator
from authproxy.authn.password import PasswordAuthenticator
from authproxy.authn.passwords import PasswordChecks
from authproxy.authn.provider import Provider
from authproxy.authn.rehashing import Rehashing
from authproxy.authn.remote_keys import RemoteKeys
from authproxy.authn.sessions import Sessions
from authproxy.config.authenticators import (
    SYMMETRIC,
    ApiKeyAuthenticator,
    CertificateAuthenticator,
    IntrospectionAuthenticator,
    JwtAuthenticator,
    OidcLogin,
    PasswordLogin,
)
from authproxy.config.load import Loaded
from authproxy.config.named_files import read_named
from authproxy.config.secrets import SecretError, read_secret
from authproxy.config.users import Users, read_users_file
from authproxy.fetch import Fetcher
from authproxy.model.errors import ConfigError, Problem
from authproxy.model.source import Path as SourcePath
from authproxy.state.records import Records
from authproxy.state.store import Store


@dataclass(frozen=True, slots=True)
class Serving:
    """What authenticators share with all else that serves. `store` counts what may be used once, `records` hold API keys;
    logins keep their `sessions`, and have passwords verified by `checks`. Of those that are `running` the ones that ask
    others are taken over, where nothing about them is different.
    """

    store: Store
    records: Records
    sessions: Sessions
    checks: PasswordChecks
    running: Mapping[str, Authenticator] = field(default_factory=dict)


def compile_authenticators(
    loaded: Loaded,
    environ: Mapping[str, str],
    render: Render,
    serves: Serving,
) -> dict[str, Authenticator]:
    """The authenticators by their names; `render` makes an identity's header bytes.

    Of those that are `running` the remote key sets and the providers are taken over where their section is the same.

    Raises:
        ConfigError: a key or a secret of one cannot be used.
    """
    config, problems = loaded.usable(), list[Problem]()
    token_bytes = config.bounds.token_bytes
    found: dict[str, Authenticator] = {}
    for name, settings in config.authenticators.items():
        if isinstance(settings, CertificateAuthenticator):
            found[name] = CertificateVerifier(name, settings, render)
        elif isinstance(settings, PasswordLogin):
            users = _users(loaded, name, settings, problems)
            if users is not None:
                found[name] = _password(loaded, name, settings, render, serves, users)
        elif isinstance(settings, OidcLogin):
            one = _oidc(loaded, name, settings, environ, render, serves, problems)
            if one is not None:
                found[name] = one
        elif isinstance(settings, IntrospectionAuthenticator):
            asks = _asks(loaded, name, settings, environ, problems)
            if asks is not None:
                found[name] = Introspector(name, settings, asks, token_bytes, render, serves.store)
        elif isinstance(settings, ApiKeyAuthenticator):
            found[name] = ApiKeyVerifier(name, settings, serves.records, render)
        elif settings.keys.remote:
            remote = _remote(loaded, name, settings, serves.running.get(name), problems)
            if remote is not None:
                found[name] = FollowingVerifier(
                    name, settings, remote, token_bytes, render, serves.store
                )
        else:
            keys = _keys(loaded, name, settings, environ, problems)
            if keys is not None:
                found[name] = JwtVerifier(name, settings, keys, token_bytes, render, serves.store)
    if problems:
        raise ConfigError(problems)
    return {name: _same(one, serves.running) for name, one in found.items()}


def followed_keys(authenticators: Mapping[str, Authenticator]) -> dict[str, RemoteKeys]:
    """The key sets of issuers and providers elsewhere, by the names of their authenticators."""
    found = {}
    for name, one in authenticators.items():
        if isinstance(one, FollowingVerifier):
            found[name] = one.remote
        elif isinstance(one, OidcAuthenticator) and one.provider.remote is not None:
            found[name] = one.provider.remote
    return found


def _same(made: Authenticator, running: Mapping[str, Authenticator]) -> Authenticator:
    """The running one where it would judge the same: it has connections, and knows what it was told a moment ago."""
    there = running.get(made.name)
    if isinstance(made, Introspector) and isinstance(there, Introspector):
        return there if there.fingerprint == made.fingerprint else made
    return made


def _asks(
    loaded: Loaded,
    name: str,
    settings: IntrospectionAuthenticator,
    environ: Mapping[str, str],
    problems: list[Problem],
) -> Asks | None:
    """How the issuer is asked."""
    path: SourcePath = ("authenticators", name, "client_secret")
    try:
        secret = read_secret(settings.client_secret, loaded.folder, environ)
        path = ("authenticators", name, "ca")
        ca = loaded.folder / settings.ca if settings.ca is not None else None
        version = sha256(length_prefixed(secret, read_named(ca) if ca else b"")).hexdigest()
        return Asks(secret, Fetcher(ca), version)
    except SecretError as error:
        text, remedy = f"`{name}`: {error}", "provide it, then try again"
        problems.append(loaded.source.problem(path, "bad-secret", text, remedy))
    except OSError as error:  # ssl.SSLError among them
        text = f"`{name}`: {settings.ca} cannot be used: {(error.strerror or str(error)).lower()}"
        remedy = "check its path and mode, and that it holds certificates (PEM)"
        problems.append(loaded.source.problem(path, "unreadable", text, remedy))
    return None


def _password(
    loaded: Loaded,
    name: str,
    settings: PasswordLogin,
    render: Render,
    serves: Serving,
    users: Users,
) -> PasswordAuthenticator:
    """A login by password; what a running one has hashed anew is still to be written."""
    file, known = loaded.folder / settings.users.file, serves.running.get(name)
    rehashing = known.rehashing if isinstance(known, PasswordAuthenticator) else None
    if rehashing is None or rehashing.file != file:
        rehashing = Rehashing(name, file, serves.checks)
    cookie = loaded.usable().session.cookie
    return PasswordAuthenticator(
        name, cookie, serves.sessions, render, users, serves.checks, rehashing
    )


def _users(
    loaded: Loaded, name: str, settings: PasswordLogin, problems: list[Problem]
) -> Users | None:
    file = loaded.folder / settings.users.file
    try:
        return read_users_file(file)
    except ConfigError as error:
        problems.extend(error.problems)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        text = f"`{name}`: {settings.users.file} cannot be read: {(error.strerror or str(error)).lower()}"
        remedy = "make it with `authproxy user add NAME`" if missing else "check its path and mode"
        path = ("authenticators", name, "users", "file")
        problems.append(loaded.source.problem(path, "unreadable", text, remedy))
    return None


def _oidc(
    loaded: Loaded,
    name: str,
    settings: OidcLogin,
    environ: Mapping[str, str],
    render: Render,
    serves: Serving,
    problems: list[Problem],
) -> OidcAuthenticator | None:
    """A login at a provider; a running one's provider goes on where its section is the same."""
    config = loaded.usable()
    provider = _provider(loaded, name, settings, environ, problems)
    if provider is None or config.portal is None:  # said by `config/references.py`
        return None
    known = serves.running.get(name)
    if isinstance(known, OidcAuthenticator) and known.provider.section == provider.section:
        provider = known.provider
    cookie, portal = config.session.cookie, config.portal.url
    return OidcAuthenticator(name, cookie, serves.sessions, render, provider, portal)


def _provider(
    loaded: Loaded,
    name: str,
    settings: OidcLogin,
    environ: Mapping[str, str],
    problems: list[Problem],
) -> Provider | None:
    """The provider of a login. Nobody is asked here: it may be away when we start."""
    part, ca = "client_secret", settings.ca
    path: SourcePath = ("authenticators", name)
    try:
        secret = b""
        if settings.client_secret is not None:
            secret = read_secret(settings.client_secret, loaded.folder, environ)
        hashed = settings.algorithms[0] in SYMMETRIC
        keys = secret_key_set(secret, settings.algorithms) if hashed else None
        part = "private_key"
        pem = read_named(loaded.folder / settings.private_key.file) if settings.private_key else b""
        client = client_of(settings, secret.decode(), pem)
        part = "ca"
        content = read_named(loaded.folder / ca) if ca is not None else b""
        fetcher = Fetcher(loaded.folder / ca if ca is not None else None)
    except UnicodeDecodeError:
        problems.append(loaded.source.problem((*path, part), "bad-secret", f"`{name}`: the secret is no UTF-8 text", "provide it, then try again"))  # fmt: skip
    except SecretError as error:
        problems.append(loaded.source.problem((*path, part), "bad-secret", f"`{name}`: {error}", "provide it, then try again"))  # fmt: skip
    except KeyProblem as error:
        problems.append(loaded.source.problem((*path, part), "bad-keys", f"`{name}`: {error.text}", error.remedy))  # fmt: skip
    except ssl.SSLError:  # an OSError too, so it comes first
        text, remedy = f"`{name}`: {ca} holds no certificate of an authority", "give the PEM file of the authority that signs the provider's certificate"  # fmt: skip
        problems.append(loaded.source.problem((*path, part), "bad-ca", text, remedy))
    except OSError as error:
        text = f"`{name}`: the file of `{part}` cannot be read: {(error.strerror or str(error)).lower()}"
        problems.append(loaded.source.problem((*path, part), "unreadable", text, "check its path and mode"))  # fmt: skip
    else:
        section = hashlib.sha256(repr((settings, secret, pem, content)).encode()).digest()
        parts = (b"provider", name.encode(), settings.issuer.encode(), content)
        identity = hashlib.sha256(length_prefixed(*parts)).digest()
        return Provider(settings, client, fetcher, keys, section, name=name, identity=identity)
    return None


def _keys(
    loaded: Loaded,
    name: str,
    settings: JwtAuthenticator,
    environ: Mapping[str, str],
    problems: list[Problem],
) -> KeySet | None:
    path: SourcePath = ("authenticators", name, "keys")
    try:
        if settings.keys.secret is not None:
            path = (*path, "secret")
            return secret_key_set(
                read_secret(settings.keys.secret, loaded.folder, environ), settings.algorithms
            )
        path = (*path, "file")
        return load_key_set(
            read_named(loaded.folder / (settings.keys.file or "")), settings.algorithms
        )
    except KeyProblem as error:
        problems.append(
            loaded.source.problem(path, "bad-keys", f"`{name}`: {error.text}", error.remedy)
        )
    except SecretError as error:
        problems.append(
            loaded.source.problem(
                path, "bad-secret", f"`{name}`: {error}", "provide it, then try again"
            )
        )
    except OSError as error:
        text = f"`{name}`: {settings.keys.file} cannot be read: {(error.strerror or str(error)).lower()}"
        problems.append(loaded.source.problem(path, "unreadable", text, "check its path and mode"))
    return None


def _remote(
    loaded: Loaded,
    name: str,
    settings: JwtAuthenticator,
    running: Authenticator | None,
    problems: list[Problem],
) -> RemoteKeys | None:
    ca = loaded.folder / settings.keys.ca if settings.keys.ca is not None else None
    path: SourcePath = ("authenticators", name, "keys", "ca")
    try:
        content = read_named(ca) if ca is not None else b""
        said = repr((name, settings.issuer, settings.algorithms, settings.keys, content))
        section = hashlib.sha256(said.encode()).digest()
        if isinstance(running, FollowingVerifier) and running.remote.section == section:
            return running.remote
        return RemoteKeys(KeySource(name, settings, ca, content), settings.keys, section)
    except ssl.SSLError:  # an OSError too, so it comes first
        text = f"`{name}`: {settings.keys.ca} holds no certificate of an authority"
        remedy = "give the PEM file of the authority that signs the issuer's certificate"
        problems.append(loaded.source.problem(path, "bad-ca", text, remedy))
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        text = f"`{name}`: {settings.keys.ca} cannot be read: {words}"
        problems.append(loaded.source.problem(path, "unreadable", text, "check its path and mode"))
    return None
