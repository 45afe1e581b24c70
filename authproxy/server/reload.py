"""Reloading: everything is read and compiled anew before anything is replaced; a bad file changes nothing.

What cannot change while serving (listeners, workers, state, admin) is named, and the reload refused as a whole.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from authproxy.config.authenticators import (
    IntrospectionAuthenticator,
    JwtAuthenticator,
    OidcLogin,
    PasswordLogin,
)
from authproxy.config.listeners import Listener
from authproxy.config.load import Loaded, load, policy_paths
from authproxy.config.schema import Config
from authproxy.model.errors import ConfigError, Problem
from authproxy.runtime import Runtime, compile_runtime
from authproxy.server.tls import Certificates, read_certificates

# What a reload cannot change, and how it is told apart.
FIXED = ("listeners", "admin", "workers", "state")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A reload that can be taken over: all that can fail has been done."""

    file: Path
    runtime: Runtime
    certificates: dict[int, Certificates]


def prepare(
    file: Path, environ: Mapping[str, str], current: Runtime, watch: "Watch | None" = None
) -> Prepared:
    """Read and compile; takes its time, and touches nothing that serves. `watch` learns which files were read.

    Raises:
        ConfigError: with every problem; the current runtime is to be kept.
    """
    if watch is not None:
        watch.begin()
    loaded = load(file)
    if watch is not None:
        watch.follow(loaded)  # also where it is wrong: whoever mends it may do so in a new file
    _check_fixed(loaded, current.config)
    certificates = {
        index: read_certificates(loaded, index, listener.tls)
        for index, listener in enumerate(loaded.usable().listeners)
        if listener.tls is not None
    }
    return Prepared(loaded.file, compile_runtime(loaded, environ, current), certificates)


def _check_fixed(loaded: Loaded, current: Config) -> None:
    wanted = loaded.usable()
    problems: list[Problem] = []
    for name in FIXED:
        if _fixed_part(wanted, name) != _fixed_part(current, name):
            text, remedy = (
                f"`{name}` cannot change while serving",
                "restart to apply it, or put it back",
            )
            problems.append(loaded.source.problem((name,), "needs-restart", text, remedy, key=True))
    if problems:
        raise ConfigError(problems)


def _fixed_part(config: Config, name: str) -> object:
    if name != "listeners":
        return getattr(config, name)
    return [_fixed_listener(listener) for listener in config.listeners]


def _fixed_listener(listener: Listener) -> Listener:
    """A listener without what may change: which files hold its certificates and authorities. All else stays as it is."""
    tls = listener.tls
    if tls is None:
        return listener
    asked = tls.client_certificates and tls.client_certificates.model_copy(update={"authorities": ""})  # fmt: skip
    fixed = tls.model_copy(update={"certificates": [], "client_certificates": asked})
    return listener.model_copy(update={"tls": fixed})


class Watch:
    """Tells when the files of a configuration have changed and come to rest.

    A look lists the directories of policies and is one stat of each file (through symlinks, so the one that Kubernetes
    swaps shows). A change counts once it is the same at two looks, so a half-written file is waited for.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._file, self._config = loaded.file, loaded.config
        self._known = self._seen = self._look()

    def begin(self) -> None:
        """The files are about to be read: what changes from now on is news."""
        self._known = self._seen = self._look()

    def follow(self, loaded: Loaded) -> None:
        """They were read: watch what this configuration names from now on."""
        self._file, self._config = loaded.file, loaded.config
        now = self._look()
        self._known = self._seen = {path: self._known.get(path, now[path]) for path in now}

    def changed(self) -> bool:
        """Is there something new to load? True once for each change."""
        try:
            now = self._look()
        except OSError:  # no descriptor is left for a directory: there will be another look
            return False
        at_rest, self._seen = now == self._seen, now
        if now == self._known or not at_rest:
            return False
        self._known = now
        return True

    def _look(self) -> "dict[Path, Mark]":
        return {path: _mark(path) for path in _paths(self._file, self._config)}


Mark = tuple[int, int, int, int] | None


def _mark(path: Path) -> Mark:
    try:
        found = path.stat()
    except OSError:
        return None
    # The time of the inode's change, not of the content's: nobody can set it, and a mode that was mended shows too.
    return found.st_ctime_ns, found.st_size, found.st_dev, found.st_ino


def _paths(file: Path, config: Config | None) -> Iterator[Path]:
    """The configuration, its policies, and the files that it names."""
    yield file
    if config is None:
        return
    yield from (path for _, path in policy_paths(file.parent, config.policies))
    yield from (file.parent / name for name in _named(config))


def _named(config: Config) -> Iterator[str]:
    for listener in config.listeners:
        for pair in listener.tls.certificates if listener.tls else ():
            yield from (pair.certificate, pair.private_key)
        if listener.tls is not None and listener.tls.client_certificates is not None:
            yield listener.tls.client_certificates.authorities
    for settings in config.authenticators.values():
        if isinstance(settings, PasswordLogin):
            yield settings.users.file
        if isinstance(settings, IntrospectionAuthenticator):
            yield from (name for name in (settings.client_secret.file, settings.ca) if name)
        if isinstance(settings, OidcLogin):
            secret = settings.client_secret.file if settings.client_secret else None
            key = settings.private_key.file if settings.private_key else None
            yield from (name for name in (secret, key, settings.ca) if name is not None)
        if not isinstance(settings, JwtAuthenticator):
            continue
        yield from (name for name in (settings.keys.file, settings.keys.ca) if name is not None)
        if settings.keys.secret is not None and settings.keys.secret.file is not None:
            yield settings.keys.secret.file
    if config.identity.assertion.key is not None:
        yield config.identity.assertion.key.file
    if config.tracing is not None:
        secrets = (secret.file for secret in config.tracing.headers.values())
        yield from (name for name in (config.tracing.ca, *secrets) if name)
    for upstream in config.upstreams.values():
        tls = upstream.tls
        yield from (
            name for name in ((tls.ca, tls.certificate, tls.private_key) if tls else ()) if name
        )
