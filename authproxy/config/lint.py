"""What the configuration allows but probably does not mean: warnings about what nobody uses and files others can read."""

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path as FilePath

from pydantic import BaseModel

from authproxy.config.authenticators import (
    BoundTokens,
    CertificateAuthenticator,
    SigningKey,
    UsersFile,
)
from authproxy.config.ignoring import without_ignored
from authproxy.config.lint_people import lint_people
from authproxy.config.load import Loaded
from authproxy.config.schema import Config
from authproxy.config.values import Secret
from authproxy.model.errors import Problem
from authproxy.model.headers import HeaderRules
from authproxy.model.source import Path
from authproxy.policy.lint import lint

OTHERS = stat.S_IRWXG & ~stat.S_IXGRP | stat.S_IRWXO


def lint_all(loaded: Loaded, problems: Sequence[Problem] = ()) -> list[Problem]:
    """These problems and all warnings, without what the files' own comments ignore."""
    rules = HeaderRules(loaded.config.identity.strip if loaded.config is not None else ())
    found = [*problems, *lint_config(loaded), *lint(loaded.policies, rules)]
    return without_ignored(found, [loaded.source, *(source for _, source in loaded.policy_files)])


def lint_config(loaded: Loaded) -> Iterator[Problem]:
    """The warnings about the configuration, in no particular order."""
    if loaded.config is None:
        return
    yield from _unused(loaded, loaded.config)
    yield from _certificates(loaded, loaded.config)
    yield from lint_people(loaded, loaded.config)
    yield from _writable(loaded)
    for path, name in _private_files(loaded.config):
        yield from _readable(loaded, path, loaded.folder / name)


def _unused(loaded: Loaded, config: Config) -> Iterator[Problem]:
    routes = loaded.policies.table.routes
    upstreams = {route.upstream for route in routes}
    authenticators = {name for route in routes for name in route.authenticators}
    for section, names, used in (
        ("upstreams", config.upstreams, upstreams),
        ("authenticators", config.authenticators, authenticators),
    ):
        for name in names:
            if name not in used:
                kind = section.removesuffix("s")
                text, remedy = f"no route uses the {kind} `{name}`", "use it, or remove it"
                yield loaded.source.warning(
                    (section, name), f"unused-{kind}", text, remedy, key=True
                )


def _certificates(loaded: Loaded, config: Config) -> Iterator[Problem]:
    """What takes certificates that nobody is asked for, and what takes them from authorities that know nothing of each other."""
    asking = [
        (("listeners", index, "tls", "client_certificates"), tls.client_certificates)
        for index, tls in enumerate(listener.tls for listener in config.listeners)
        if tls is not None and tls.client_certificates is not None
    ]
    takers = [
        n for n, s in config.authenticators.items() if isinstance(s, CertificateAuthenticator)
    ]
    bound = [
        n
        for n, s in config.authenticators.items()
        if isinstance(s, BoundTokens) and s.certificate_bound is not None
    ]
    for name in (*takers, *bound) if not asking else ():
        what = "client certificates" if name in takers else "tokens bound to client certificates"
        text, remedy = (
            f"`{name}` takes {what}, and no listener asks for one",
            "add `client_certificates` to the `tls` of a listener",
        )
        yield loaded.source.warning(("authenticators", name), "certificate-never-asked", text, remedy, key=True)  # fmt: skip
    for path, wanted in asking[1:] if takers else ():
        if wanted.authorities != asking[0][1].authorities:
            text, remedy = (
                f"{wanted.authorities} are other authorities than those of another listener: a subject is the same, whichever signed for it",
                "name the same authorities, or let policies ask for `claims.issuer`",
            )
            yield loaded.source.warning((*path, "authorities"), "authorities-differ", text, remedy)  # fmt: skip


def _private_files(section: object, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """The files of keys, secrets and users that this part of the configuration names, whatever section they are in."""
    if isinstance(section, Secret | SigningKey | UsersFile):
        if section.file is not None:
            yield (*path, "file"), section.file
    elif isinstance(section, BaseModel):
        for name, value in section:
            if name == "private_key" and isinstance(value, str):
                yield (*path, name), value
            else:
                yield from _private_files(value, (*path, name))
    elif isinstance(section, dict):
        for name, value in section.items():
            yield from _private_files(value, (*path, name))
    elif isinstance(section, list):
        for index, value in enumerate(section):
            yield from _private_files(value, (*path, index))


def _readable(loaded: Loaded, path: Path, file: FilePath) -> Iterator[Problem]:
    try:
        mode = file.stat().st_mode
    except OSError:
        return  # whoever opens it says so
    if mode & OTHERS:
        text, remedy = (
            f"others can read {file.name} (mode {mode & 0o777:o})",
            f"chmod 600 {file.name}",
        )
        yield loaded.source.warning(path, "key-file-mode", text, remedy)


def _writable(loaded: Loaded) -> Iterator[Problem]:
    """Whoever can write one of these files decides everything."""
    files = [(loaded.source, loaded.file)]
    files += [(source, FilePath(source.file)) for _, source in loaded.policy_files]
    for source, file in files:
        try:
            mode = file.stat().st_mode
        except OSError:
            continue  # it was read a moment ago, and is being replaced
        if mode & stat.S_IWOTH:
            text = f"everybody can change {file.name} (mode {mode & 0o777:o})"
            yield source.warning((), "writable-file", text, f"chmod o-w {file.name}")
