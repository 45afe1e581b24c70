"""How a Redis is reached, from the words of the configuration: secrets and certificates are read here, once, when it is compiled.

Knows nothing of redis-py: a configuration is read without it.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from authproxy.config.secrets import SecretError, read_secret
from authproxy.config.state import RedisPlace, State, StateTLS
from authproxy.config.values import Secret
from authproxy.model.errors import ConfigError
from authproxy.model.source import Path as SourcePath
from authproxy.model.source import Source


@dataclass(frozen=True, slots=True)
class RedisAccess:
    """How Redis is reached: where, as whom, and within which time (seconds) each call must be answered."""

    place: RedisPlace
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    timeout: float = 0.5


def redis_access(
    state: State, source: Source, folder: Path, environ: Mapping[str, str]
) -> RedisAccess | None:
    """How the Redis of this configuration is reached; None where its state is no Redis.

    Raises:
        ConfigError: a secret or a certificate cannot be used.
    """
    place = state.redis
    if place is None:
        return None

    def secret(found: Secret | None, *path: str) -> str | None:
        try:
            return read_secret(found, folder, environ).decode() if found is not None else None
        except (SecretError, UnicodeDecodeError) as error:
            why = str(error) if isinstance(error, SecretError) else "it is not UTF-8"
            raise _problem(source, ("state", *path), "bad-secret", why) from None

    sentinel, tls = state.sentinel, state.tls
    try:
        context = _tls(tls, folder) if place.tls else None
    except (OSError, ValueError) as error:  # ssl.SSLError among them
        text = f"its TLS files cannot be used: {error}"
        raise _problem(source, ("state", "tls"), "bad-tls", text) from None
    return RedisAccess(
        place,
        state.username,
        secret(state.password, "password"),
        sentinel.username if sentinel else None,
        secret(sentinel.password, "sentinel", "password") if sentinel else None,
        context,
        tls.server_name if tls else None,
        state.timeout,
    )


def _tls(settings: StateTLS | None, folder: Path) -> ssl.SSLContext:
    ca = folder / settings.ca if settings and settings.ca else None
    context = ssl.create_default_context(cafile=ca)
    if settings and settings.certificate and settings.private_key:
        context.load_cert_chain(folder / settings.certificate, folder / settings.private_key)
    return context


def _problem(source: Source, path: SourcePath, code: str, text: str) -> ConfigError:
    return ConfigError(
        [source.problem(path, code, f"`state`: {text}", "provide it, then try again")]
    )
