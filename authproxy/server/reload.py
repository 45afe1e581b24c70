"""Reloading: everything is read and compiled anew before anything is replaced; a bad file changes nothing.

What cannot change while serving (listeners, workers, state, admin) is named, and the reload refused as a whole.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from authproxy.config.load import Loaded, load, policy_paths
from authproxy.config.schema import Config
from authproxy.model.errors import ConfigError, Problem
from authproxy.runtime import Runtime, compile_runtime, upstream_settings, verification
from authproxy.server.tls import Certificates, read_certificates

# What a reload cannot change, and how it is told apart.
FIXED = ("listeners", "admin", "workers", "state")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A reload that can be taken over: all that can fail has been done."""

    loaded: Loaded
    runtime: Runtime
    certificates: dict[int, Certificates]


def prepare(file: Path, environ: Mapping[str, str], current: Runtime) -> Prepared:
    """Read and compile; takes its time, and touches nothing that serves.

    Raises:
        ConfigError: with every problem; the current runtime is to be kept.
    """
    loaded = load(file)
    _check_fixed(loaded, current.config)
    certificates = {
        index: read_certificates(loaded, index, listener.tls)
        for index, listener in enumerate(loaded.usable().listeners)
        if listener.tls is not None
    }
    return Prepared(loaded, compile_runtime(loaded, environ, current), certificates)


def examine(file: Path, environ: Mapping[str, str], current: Config) -> Loaded:
    """What the supervisor asks before it tells the workers: would they take this over? It is returned if so.

    Raises:
        ConfigError: no, with every problem.
    """
    loaded = load(file)
    _check_fixed(loaded, current)
    verification(loaded, environ)
    upstream_settings(loaded)
    for index, listener in enumerate(loaded.usable().listeners):
        if listener.tls is not None:
            read_certificates(loaded, index, listener.tls)
    return loaded


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
    # The certificates of a listener may change; where it listens and how TLS is spoken there may not.
    return [(x.address, x.tls.profile if x.tls else None) for x in config.listeners]


class Watch:
    """Tells when the files of a configuration have changed and come to rest.

    A look is one stat of each file (through symlinks, so the one that Kubernetes swaps shows) and of each directory of
    policies. A change counts once it is the same at two looks, so a half-written file is waited for.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.follow(loaded)

    def follow(self, loaded: Loaded) -> None:
        """Watch what this configuration names; what is there now is no news."""
        self._paths = tuple(_paths(loaded))
        self._known = self._seen = self._look()

    def changed(self) -> bool:
        """Is there something new to load? True once for each change."""
        now = self._look()
        at_rest, self._seen = now == self._seen, now
        if now == self._known or not at_rest:
            return False
        self._known = now
        return True

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_mark(path) for path in self._paths]


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _paths(loaded: Loaded) -> Iterator[Path]:
    """The configuration, its policies and their directories, and the files that it names."""
    yield loaded.file
    config = loaded.config
    if config is None:
        return
    yield from (loaded.folder / name for name in config.policies)
    yield from (path for _, path in policy_paths(loaded.folder, config.policies))
    yield from (loaded.folder / name for name in _named(config))


def _named(config: Config) -> Iterator[str]:
    for listener in config.listeners:
        for pair in listener.tls.certificates if listener.tls else ():
            yield from (pair.certificate, pair.private_key)
    for settings in config.authenticators.values():
        if settings.keys.file is not None:
            yield settings.keys.file
        if settings.keys.secret is not None and settings.keys.secret.file is not None:
            yield settings.keys.secret.file
    for upstream in config.upstreams.values():
        tls = upstream.tls
        yield from (
            name for name in ((tls.ca, tls.certificate, tls.private_key) if tls else ()) if name
        )
