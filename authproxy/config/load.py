"""The only reader of configuration and policy files: YAML with places, then models, then what they refer to.

Loading never stops at the first problem; whoever needs a usable configuration asks for `usable()`.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from authproxy.config.schema import Config
from authproxy.config.validate import validate
from authproxy.config.yaml import read_yaml
from authproxy.model.errors import ConfigError, Problem
from authproxy.model.headers import HeaderRules
from authproxy.model.source import Path, Source
from authproxy.policy.document import PolicyDocument
from authproxy.policy.parse import Names, Policies, parse_policies

DEFAULT_PLACES = ("authproxy.yaml", "/etc/authproxy/authproxy.yaml")
PLACEHOLDER = "\0"
# What a route whose other parts are broken cannot be blamed for.
_CONSEQUENCES = frozenset(
    {"missing-allow", "route-tie", "empty-entry", "duplicate-route", "needs-identity"}
)


@dataclass(slots=True)
class Loaded:
    """A configuration as read: its parts as far as they are good, and all problems."""

    file: FilePath
    config: Config | None = None
    source: Source = field(default_factory=lambda: Source("authproxy.yaml"))
    policy_files: list[tuple[PolicyDocument, Source]] = field(default_factory=list)
    policies: Policies = field(default_factory=Policies)
    problems: list[Problem] = field(default_factory=list)

    @property
    def folder(self) -> FilePath:
        """Where relative paths of the configuration begin."""
        return self.file.parent

    def usable(self) -> Config:
        """The configuration.

        Raises:
            ConfigError: it has errors.
        """
        errors = [p for p in self.problems if p.severity == "error"]
        if errors or self.config is None:
            raise ConfigError(errors)
        return self.config


def find_config(named: str | None, environ: Mapping[str, str]) -> FilePath:
    """The first of: the named file, `$AUTHPROXY_CONFIG`, `./authproxy.yaml`, `/etc/authproxy/authproxy.yaml`.

    Raises:
        ConfigError: a named one does not exist, or there is none at all.
    """
    wanted = named or environ.get("AUTHPROXY_CONFIG")
    if wanted:
        if not FilePath(wanted).is_file():
            remedy = "name an existing file with --config or AUTHPROXY_CONFIG"
            raise ConfigError(
                [Problem(wanted, 1, 1, "no-such-file", "there is no such file", remedy)]
            )
        return FilePath(wanted)
    for place in DEFAULT_PLACES:
        if FilePath(place).is_file():
            return FilePath(place)
    remedy = "write one with `authproxy init`, or name it with --config"
    raise ConfigError(
        [Problem(DEFAULT_PLACES[0], 1, 1, "no-such-file", "there is no configuration", remedy)]
    )


def load(file: FilePath) -> Loaded:
    """Read the configuration and all policy files it names; problems are kept, not raised."""
    loaded = Loaded(file.absolute())
    data = _read(loaded, file)
    if data is None:
        return loaded
    loaded.config, _, problems = validate(Config, data, loaded.source)
    loaded.problems += problems
    raw: dict[str, Any] = data if isinstance(data, dict) else {}
    damaged = list(_read_policies(loaded, raw.get("policies", ["policies"])))
    names = Names(
        upstreams=(*_names(raw.get("upstreams")), PLACEHOLDER),
        authenticators=(*_names(raw.get("authenticators")), PLACEHOLDER),
        headers=HeaderRules(loaded.config.identity.strip if loaded.config else ()),
    )
    loaded.policies = parse_policies(loaded.policy_files, names)
    loaded.problems += [p for p in loaded.policies.problems if not _blameless(p, damaged)]
    loaded.problems += _check_references(loaded)
    loaded.problems.sort(key=lambda p: (p.file != loaded.source.file, p.file, p.line, p.column))
    return loaded


def _names(section: Any) -> tuple[str, ...]:
    return tuple(section) if isinstance(section, dict) else ()


def _read(loaded: Loaded, file: FilePath) -> Any:
    try:
        data, source, problems = _read_file(file)
    except ConfigError as error:
        loaded.problems += error.problems
        return None
    loaded.source = source
    loaded.problems += problems
    if not isinstance(data, dict):
        loaded.problems.append(
            source.problem(
                (), "wrong-type", "the file must hold a mapping", "write `key: value` lines"
            )
        )
        return None
    return data


def _read_file(file: FilePath) -> tuple[Any, Source, list[Problem]]:
    name = shown(file)
    try:
        text = file.read_bytes()
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        raise ConfigError(
            [
                Problem(
                    name, 1, 1, "unreadable", f"cannot be read: {words}", "check its path and mode"
                )
            ]
        ) from None
    return read_yaml(text, name)


def shown(file: FilePath) -> str:
    """The file as problems name it: from the working directory where it lies below it."""
    try:
        return str(file.absolute().relative_to(FilePath.cwd()))
    except (ValueError, OSError):
        return str(file)


def policy_paths(folder: FilePath, named: list[str]) -> Iterator[tuple[int, FilePath]]:
    """The policy files: those named, and `*.yaml` in the named directories, by name; with the index of what named each."""
    for index, name in enumerate(named):
        path = folder / name
        if path.is_dir():
            # Dot files are what editors and Kubernetes (`..data`) leave there.
            yield from (
                (index, p)
                for p in sorted(path.glob("*.y*ml"))
                if not p.name.startswith(".") and p.suffix in {".yaml", ".yml"}
            )
        else:
            yield index, path


def _read_policies(loaded: Loaded, named: Any) -> Iterator[tuple[str, int, int]]:
    """Read them; yields (file, first line, last line) of each route that is damaged."""
    if not isinstance(named, list) or not all(isinstance(n, str) for n in named):
        return
    found = list(policy_paths(loaded.folder, named))
    for index in set(range(len(named))) - {i for i, _ in found}:
        text = f"there are no *.yaml files in `{named[index][:200]}`: everything would be refused"
        loaded.problems.append(
            loaded.source.problem(("policies", index), "no-policies", text, "add a policy file")
        )
    for index, path in found:
        if not path.is_file():
            text = f"there is no file or directory `{named[index][:200]}`"
            loaded.problems.append(
                loaded.source.problem(
                    ("policies", index), "no-such-file", text, "create it, or mend the path"
                )
            )
            continue
        yield from _read_policy(loaded, path)


def _read_policy(loaded: Loaded, path: FilePath) -> Iterator[tuple[str, int, int]]:
    try:
        data, source, problems = _read_file(path)
    except ConfigError as error:
        loaded.problems += error.problems
        return
    loaded.problems += problems
    document, cut, problems = validate(PolicyDocument, data, source, _fill)
    loaded.problems += problems
    if document is not None:
        loaded.policy_files.append((document, source))
        for index in {c[1] for c in cut if len(c) > 1 and c[0] == "routes"}:
            start = source.place(("routes", index))[0]
            after = source.values.get(("routes", int(index) + 1))
            yield source.file, start, after[0] - 1 if after else 1 << 30


def _fill(path: Path) -> Any:
    """Something harmless for the required parts of a broken route, so that the rest of it can be looked at."""
    if len(path) >= 3 and path[0] == "routes":
        inside = {
            "name": f"placeholder-{path[1]}",
            "upstream": PLACEHOLDER,
            "authenticate": [PLACEHOLDER],
        }
        inside["match"] = {"paths": [f"/placeholder-{path[1]}"]}  # type: ignore[assignment]
        if len(path) == 3:
            return inside.get(str(path[2]))
        if path[2:] == ("match", "paths"):
            return [f"/placeholder-{path[1]}"]
    return None


def _blameless(problem: Problem, damaged: list[tuple[str, int, int]]) -> bool:
    return problem.code in _CONSEQUENCES and any(
        problem.file == file and first <= problem.line <= last for file, first, last in damaged
    )


def _check_references(loaded: Loaded) -> Iterator[Problem]:
    """What is wrong between two parts that are each right by themselves."""
    config = loaded.config
    if config is None:
        return
    issuers: dict[tuple[str, str], str] = {}
    for name, settings in config.authenticators.items():
        for slot in settings.token_from:
            place = (
                f"{(slot.header or '').lower()} {(slot.scheme or '').lower()} {slot.cookie or ''}"
            )
            other = issuers.setdefault((settings.issuer, place), name)
            if other != name:
                text = f"`{name}` and `{other}` read the same issuer from the same place"
                path: Path = ("authenticators", name, "issuer")
                yield loaded.source.problem(
                    path, "duplicate-issuer", text, "make them one, or read another header"
                )
    addresses = [str(listener.address) for listener in config.listeners]
    for index, address in enumerate(addresses):
        if address in addresses[:index] and not address.endswith(":0"):
            yield loaded.source.problem(
                ("listeners", index, "address"),
                "duplicate-address",
                f"{address} is taken by another listener",
                "choose another port",
            )
    if config.admin is not False and str(config.admin.address) in addresses:
        path = (
            ("admin", "address") if ("admin", "address") in loaded.source.values else ("listeners",)
        )
        yield loaded.source.problem(
            path,
            "admin-on-listener",
            "the admin listener must not be a proxied one",
            "give it an address of its own",
        )


def config_environment() -> Mapping[str, str]:
    """The environment that configuration and secrets are read from."""
    return os.environ
