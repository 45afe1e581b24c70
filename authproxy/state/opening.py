"""From the word in the configuration, `state.url`, to what it names. Opens nothing: the worker does, after its fork.

Secrets and certificates of a Redis are read here, once, when the configuration is compiled.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path

from authproxy.config.secrets import SecretError, read_secret
from authproxy.config.state import State, StateTLS
from authproxy.config.values import Secret
from authproxy.model.errors import ConfigError
from authproxy.model.source import Path as SourcePath
from authproxy.model.source import Source
from authproxy.state.lmdb import LmdbStore
from authproxy.state.lmdb_records import LmdbRecords
from authproxy.state.memory import MemoryStore
from authproxy.state.memory_records import MemoryRecords
from authproxy.state.records import Records
from authproxy.state.redis import RedisAccess
from authproxy.state.redis_records import RedisRecords
from authproxy.state.redis_store import RedisStore
from authproxy.state.store import Store


def open_store(url: str, folder: Path, access: RedisAccess | None = None) -> Store:
    """The counters of `lmdb:DIR` (DIR relative to `folder`), `memory:`, or the Redis of `access`, not yet open.

    Raises:
        ValueError: no such kind of state, or `lmdb:` without a directory.
    """
    if access is not None:
        return RedisStore(access)
    place = _directory(url, folder)
    return MemoryStore() if place is None else LmdbStore(place)


def open_records(url: str, folder: Path, access: RedisAccess | None = None) -> Records:
    """The durable records beside them, not yet open.

    Raises:
        ValueError: as above.
    """
    if access is not None:
        return RedisRecords(access)
    place = _directory(url, folder)
    return MemoryRecords() if place is None else LmdbRecords(place)


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


def _directory(url: str, folder: Path) -> Path | None:
    kind, _, rest = url.partition(":")
    if kind == "lmdb" and rest:
        return folder / rest
    if url == "memory:":
        return None
    raise ValueError(f"`{url}` names no store: use lmdb:DIR or memory:")
