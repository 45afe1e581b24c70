"""From the configuration's authenticators to those that judge: one function a `type`, each with its files read.

All that can fail about keys and secrets fails here, as problems with their places, every one at once. Nobody is asked:
the keys of an issuer elsewhere come later, or are taken over from who already has them.
"""

import hashlib
import ssl
from collections.abc import Mapping

from authproxy.authn.authenticator import Authenticator, Render
from authproxy.authn.bearer import FollowingVerifier, JwtVerifier
from authproxy.authn.certificate import CertificateVerifier
from authproxy.authn.key_source import KeySource
from authproxy.authn.keys import KeyProblem, KeySet, load_key_set, secret_key_set
from authproxy.authn.password import PasswordAuthenticator
from authproxy.authn.passwords import PasswordChecks
from authproxy.authn.remote_keys import RemoteKeys
from authproxy.authn.sessions import Sessions
from authproxy.config.authenticators import (
    CertificateAuthenticator,
    JwtAuthenticator,
    PasswordLogin,
)
from authproxy.config.load import Loaded
from authproxy.config.secrets import SecretError, read_secret
from authproxy.config.users import Users, read_users_file
from authproxy.model.errors import ConfigError, Problem
from authproxy.model.source import Path as SourcePath


def compile_authenticators(
    loaded: Loaded,
    environ: Mapping[str, str],
    render: Render,
    sessions: Sessions,
    checks: PasswordChecks,
    running: Mapping[str, Authenticator] | None = None,
) -> dict[str, Authenticator]:
    """The authenticators by their names; `render` makes an identity's header bytes. Logins keep their `sessions`, and
    have passwords verified by `checks`.

    Of those that are `running` the remote key sets are taken over where their section is the same.

    Raises:
        ConfigError: a key or a secret of one cannot be used.
    """
    config, problems = loaded.usable(), list[Problem]()
    found: dict[str, Authenticator] = {}
    for name, settings in config.authenticators.items():
        if isinstance(settings, CertificateAuthenticator):
            found[name] = CertificateVerifier(name, settings, render)
            continue
        if isinstance(settings, PasswordLogin):
            users = _users(loaded, name, settings, problems)
            if users is not None:
                cookie = config.session.cookie
                found[name] = PasswordAuthenticator(name, cookie, sessions, render, users, checks)
            continue
        token_bytes = config.bounds.token_bytes
        if settings.keys.remote:
            remote = _remote(loaded, name, settings, (running or {}).get(name), problems)
            if remote is not None:
                found[name] = FollowingVerifier(name, settings, remote, token_bytes, render)
            continue
        keys = _keys(loaded, name, settings, environ, problems)
        if keys is not None:
            found[name] = JwtVerifier(name, settings, keys, token_bytes, render)
    if problems:
        raise ConfigError(problems)
    return found


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
            (loaded.folder / (settings.keys.file or "")).read_bytes(), settings.algorithms
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
        content = ca.read_bytes() if ca is not None else b""
        said = repr((name, settings.issuer, settings.algorithms, settings.keys, content))
        section = hashlib.sha256(said.encode()).digest()
        if isinstance(running, FollowingVerifier) and running.remote.section == section:
            return running.remote
        return RemoteKeys(KeySource(name, settings, ca, content), settings, section)
    except ssl.SSLError:  # an OSError too, so it comes first
        text = f"`{name}`: {settings.keys.ca} holds no certificate of an authority"
        remedy = "give the PEM file of the authority that signs the issuer's certificate"
        problems.append(loaded.source.problem(path, "bad-ca", text, remedy))
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        text = f"`{name}`: {settings.keys.ca} cannot be read: {words}"
        problems.append(loaded.source.problem(path, "unreadable", text, "check its path and mode"))
    return None
