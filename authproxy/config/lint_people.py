"""Warnings about what policies ask of people whom the configuration knows: which kinds of identities have scopes or groups, and
who is in the users files.

Only what nobody else could bring is said: a token may hold any group, a users file holds those that stand in it.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path as FilePath

from authproxy.config.authenticators import CertificateAuthenticator, PasswordLogin
from authproxy.config.load import Loaded
from authproxy.config.schema import Config
from authproxy.config.users import Users, read_users_file
from authproxy.model.errors import ConfigError, Problem
from authproxy.model.source import Path, Source
from authproxy.policy.document import Entry, RouteDocument

# What identities of a kind never have.
_LACKS = {"scopes": (PasswordLogin, CertificateAuthenticator), "groups": (CertificateAuthenticator,)}  # fmt: skip
Listed = tuple[Path, Source, Entry, Sequence[str]]


def lint_people(loaded: Loaded, config: Config) -> Iterator[Problem]:
    """The warnings about entries that no identity of the route can satisfy, and about groups that nobody names."""
    for path, source, entry, names in _entries(loaded):
        yield from _lacking(config, path, source, entry, names)
    users = _users(loaded, config)
    if users:
        yield from _unknown_groups(loaded, users)
        yield from _unused_groups(loaded, config, users)


def _entries(loaded: Loaded) -> Iterator[Listed]:
    """Every entry with its place, and the authenticators whose identities could satisfy it."""
    for name, wanted in loaded.policies.documents.items():
        if wanted.authenticate == "none":
            continue
        source, path = loaded.policies.places[name]
        for listed, index, entry in _listed(wanted):
            narrowed = entry.authenticators
            names = [n for n in wanted.authenticate if narrowed is None or n in narrowed]
            yield (*path, listed, index), source, entry, names


def _listed(wanted: RouteDocument) -> Iterator[tuple[str, int, Entry]]:
    for listed, entries in (("deny", wanted.deny), ("allow", wanted.allow)):
        if isinstance(entries, list):
            yield from ((listed, index, entry) for index, entry in enumerate(entries))


def _lacking(
    config: Config, path: Path, source: Source, entry: Entry, names: Sequence[str]
) -> Iterator[Problem]:
    for word, kinds in _LACKS.items():
        asked = getattr(entry, word) is not None and names
        if asked and all(isinstance(config.authenticators.get(n), kinds) for n in names):
            listed = ", ".join(names)
            text = f"this entry never holds: nobody has {word} who comes by {listed}"
            remedy = "ask for something else, or name an authenticator that gives them"
            yield source.warning((*path, word), "impossible-entry", text, remedy, key=True)


def _users(loaded: Loaded, config: Config) -> dict[str, Users]:
    """The users of each authenticator with a users file that can be read; whoever needs the file says what is wrong."""
    found: dict[str, Users] = {}
    for name, settings in config.authenticators.items():
        if isinstance(settings, PasswordLogin):
            try:
                found[name] = read_users_file(loaded.folder / settings.users.file)
            except (ConfigError, OSError):
                continue
    return found


def _groups(users: Users) -> set[str]:
    return {group for user in users.by_name.values() for group in user.groups}


def _unknown_groups(loaded: Loaded, users: dict[str, Users]) -> Iterator[Problem]:
    """Of `allow` only: that nobody is in the groups of a `deny` may be as it should."""
    known = {name: _groups(of) for name, of in users.items()}
    for path, source, entry, names in _entries(loaded):
        if entry.groups is None or path[-2] != "allow" or not set(names) <= set(known):
            continue
        if set().union(*(known[name] for name in names)).isdisjoint(entry.groups):
            text = f"nobody in the users file is in {_written(entry.groups)}"
            remedy = "mend the name, or give it to a user with `authproxy user add NAME --group G`"
            yield source.warning((*path, "groups"), "unknown-group", text, remedy)


def _unused_groups(loaded: Loaded, config: Config, users: dict[str, Users]) -> Iterator[Problem]:
    if config.identity.profile != "none" or config.identity.assertion.enabled:
        return  # backends may know them
    documents = loaded.policies.documents.values()
    entries = [entry for wanted in documents for _, _, entry in _listed(wanted)]
    named = {group for entry in entries for group in entry.groups or ()}
    texts = [entry.when for entry in entries if entry.when is not None]
    texts += [value for wanted in documents for value in wanted.headers.set.values()]
    if any("groups" in text or "claims" in text for text in texts):
        return  # an expression can ask for any of them
    for name, of in users.items():
        unused = _groups(of) - named
        settings = config.authenticators[name]
        if unused and isinstance(settings, PasswordLogin):
            file = FilePath(settings.users.file).name
            text = f"no policy names {_written(sorted(unused))} of {file}, and no backend is told of it"
            path: Path = ("authenticators", name, "users")
            remedy = "mend the name in the policies, or in the users file"
            yield loaded.source.warning(path, "unused-group", text, remedy)


def _written(groups: Collection[str]) -> str:
    shown = [f"`{group[:60]}`" for group in list(groups)[:5]]
    return ", ".join(shown) + (" and more" if len(groups) > len(shown) else "")
