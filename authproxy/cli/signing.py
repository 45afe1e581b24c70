"""The keys that sign for us, as the configuration names them: test tokens (`issue_with`), a client's word (`private_key`)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from authproxy.authn.issue import public_jwks, sign_test_token
from authproxy.authn.jwk import KeyProblem
from authproxy.config.authenticators import SYMMETRIC, JwtAuthenticator, OidcLogin
from authproxy.config.load import Loaded
from authproxy.config.named_files import read_named
from authproxy.model.errors import ConfigError
from authproxy.model.source import Path as SourcePath


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a test token should say; `audience` None is the first that is configured, `ttl` is in seconds."""

    subject: str
    groups: Sequence[str] = ()
    scopes: Sequence[str] = ()
    audience: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)
    ttl: float = 3600


def issuing(loaded: Loaded) -> dict[str, JwtAuthenticator]:
    """The authenticators that tokens can be made for, in the order of the file.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    authenticators = loaded.usable().authenticators
    return {
        name: found
        for name, found in authenticators.items()
        if isinstance(found, JwtAuthenticator) and found.issue_with
    }


def mint(loaded: Loaded, name: str, wanted: Wanted, now: float) -> str:
    """A token that this authenticator of `issuing` takes, unless what is wanted speaks against it.

    Raises:
        ConfigError: its signing key cannot be used.
    """
    settings = issuing(loaded)[name]
    with _pointing_at_key(loaded, name):
        return sign_test_token(
            settings,
            _read_key(loaded, settings),
            subject=wanted.subject,
            groups=wanted.groups,
            scopes=wanted.scopes,
            audience=wanted.audience,
            claims=wanted.claims,
            ttl=wanted.ttl,
            now=now,
        )


def signing_jwks(loaded: Loaded) -> dict[str, list[dict[str, str]]]:
    """The public halves of all signing keys, each once; the secrets of HS* have none.

    Raises:
        ConfigError: the configuration, or a key that it names, cannot be used.
    """
    found: dict[str, dict[str, str]] = {}
    for name, settings in issuing(loaded).items():
        if settings.algorithms[0] in SYMMETRIC:
            continue
        with _pointing_at_key(loaded, name):
            for key in public_jwks([_read_key(loaded, settings)], settings.algorithms)["keys"]:
                found.setdefault(key["kid"], key)
    return {"keys": list(found.values())}


def client_jwks(loaded: Loaded, name: str) -> dict[str, list[dict[str, str]]] | None:
    """The public half of the `private_key` that this authenticator proves itself to its provider with; None: it has none.

    Raises:
        ConfigError: the configuration, or the key, cannot be used.
    """
    settings = loaded.usable().authenticators.get(name)
    if not isinstance(settings, OidcLogin) or settings.private_key is None:
        return None
    with _pointing_at_key(loaded, name, "private_key"):
        return public_jwks([read_named(loaded.folder / settings.private_key.file)])
    return None


def _read_key(loaded: Loaded, settings: JwtAuthenticator) -> bytes:
    assert settings.issue_with is not None, "only those of `issuing` are asked"
    content = read_named(loaded.folder / settings.issue_with.file)
    if settings.algorithms[0] in SYMMETRIC:
        # As secrets are read elsewhere: an editor's newline is no part of it.
        return content.removesuffix(b"\n").removesuffix(b"\r")
    return content


@contextmanager
def _pointing_at_key(loaded: Loaded, name: str, key: str = "issue_with") -> Iterator[None]:
    """What goes wrong with the key becomes a problem at its place in the configuration."""
    where: SourcePath = ("authenticators", name, key, "file")
    try:
        yield
    except KeyProblem as error:
        text, code, remedy = error.text, "bad-keys", error.remedy
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        text, code = f"the signing key cannot be read: {words}", "unreadable"
        remedy = "check its path and mode"
    else:
        return
    raise ConfigError([loaded.source.problem(where, code, f"`{name}`: {text}", remedy)])
