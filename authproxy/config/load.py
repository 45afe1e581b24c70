"""The only reader of configuration and policy files: YAML with places, then models, then what they refer to.

Loading never stops at the first problem; whoever needs a usable configuration asks for `usable()`.
"""

import gc
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from authproxy.config.references import check_references
from authproxy.config.schema import Config
from authproxy.config.validate import validate
from authproxy.config.yaml import SIZE_MOST, read_yaml
from authproxy.model.errors import ConfigError, Problem
from authproxy.model.headers import HeaderRules
from authproxy.model.source import Path, Source
from authproxy.policy.cases import case_problems
from authproxy.policy.document import PolicyDocument, RouteDocument
from authproxy.policy.parse import Damage, Names, Policies, parse_policies
from authproxy.policy.table import Table

DEFAULT_PLACES = ("authproxy.yaml", "/etc/authproxy/authproxy.yaml")
PLACEHOLDER = "placeholder"


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

    @property
    def policy_digest(self) -> str:
        """A digest of the routes of all policy files, the same in whatever order and files they stand."""
        routes = sorted(r.model_dump_json() for doc, _ in self.policy_files for r in doc.routes)
        return hashlib.sha256("\n".join(routes).encode()).hexdigest()[:16]

    def usable_policies(self) -> Table:
        """The table of routes; there may be no configuration.

        Raises:
            ConfigError: there are errors.
        """
        errors = [p for p in self.problems if p.severity == "error"]
        if errors:
            raise ConfigError(errors)
        return self.policies.table

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
        if not _is(FilePath.exists, FilePath(wanted)):
            remedy = "name an existing file with --config or AUTHPROXY_CONFIG"
            raise _no_file(wanted, "there is no such file", remedy)
        return FilePath(wanted)
    for place in map(FilePath, DEFAULT_PLACES):
        if _is(FilePath.is_file, place):
            return place
    remedy = "write one with `authproxy init`, or name it with --config"
    raise _no_file(DEFAULT_PLACES[0], "there is no configuration", remedy)


def _no_file(name: str, text: str, remedy: str) -> ConfigError:
    return ConfigError([Problem(name, 1, 1, "no-such-file", text, remedy)])


def _is(kind: Callable[[FilePath], bool], path: FilePath) -> bool:
    """Is this path of the kind? What may not be looked at, or can be no path at all, is not."""
    try:
        return kind(path)
    except (OSError, ValueError):
        return False


def load(file: FilePath, policies: FilePath | None = None) -> Loaded:
    """Read the configuration and all policy files it names, or these instead; problems are kept, not raised."""
    with without_collections():
        return _load(file, policies)


@contextmanager
def without_collections() -> Iterator[None]:
    """Loading makes objects that stay, a million for 10,000 routes: looking through them for garbage, again and again,
    would be two thirds of the time.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _load(file: FilePath, policies: FilePath | None) -> Loaded:
    loaded = Loaded(file.absolute())
    data = _read(loaded, file)
    if data is None:
        return loaded
    loaded.config, cut, problems = validate(Config, data, loaded.source)
    loaded.problems += problems
    named = data.get("policies", ["policies"]) if policies is None else [str(policies.absolute())]
    damage = _read_policies(loaded, named)
    names = Names(
        upstreams=_names(data, "upstreams"),
        authenticators=_names(data, "authenticators"),
        headers=HeaderRules(loaded.config.identity.strip if loaded.config else ()),
    )
    loaded.policies = parse_policies(loaded.policy_files, names, damage)
    loaded.problems += [*loaded.policies.problems, *case_problems(loaded.policy_files)]
    if loaded.config is not None:
        loaded.problems += check_references(loaded.config, loaded.source, cut)
    loaded.problems.sort(key=lambda p: (p.file != loaded.source.file, p.file, p.line, p.column))
    return loaded


def load_policies(place: FilePath) -> Loaded:
    """Policies as `policy diff` is given them: a configuration, the directory of one, or policies without any.

    A directory with an `authproxy.yaml` is that configuration's. Policy files by themselves (one of them, or a
    directory) may refer to any upstream and authenticator.
    """
    inside = place / DEFAULT_PLACES[0]
    if _is(FilePath.is_file, inside):
        return load(inside)
    loaded = Loaded(place.absolute(), source=Source(shown(place)))
    if _is(FilePath.is_file, place):
        data = _read(loaded, place)
        if data is not None and not {"routes", "tests"} & data.keys():
            return load(place)
        loaded.problems.clear()
    damage = _read_policies(loaded, [place.name])
    loaded.policies = parse_policies(loaded.policy_files, Names(None, None, HeaderRules()), damage)
    loaded.problems += loaded.policies.problems
    return loaded


def _names(data: dict[str, Any], section: str) -> tuple[str, ...] | None:
    """The names of a section, also those of its broken parts; None where nobody can tell."""
    named = data.get(section, {})
    return tuple(named) if isinstance(named, dict) else None


def _read(loaded: Loaded, file: FilePath) -> dict[str, Any] | None:
    try:
        data, loaded.source, problems = read_file(file)
    except ConfigError as error:
        loaded.problems += error.problems
        return None
    loaded.problems += problems
    if isinstance(data, dict):
        return data
    text, remedy = "the file must hold a mapping", "write `key: value` lines"
    loaded.problems.append(loaded.source.problem((), "wrong-type", text, remedy))
    return None


def read_file(file: FilePath) -> tuple[Any, Source, list[Problem]]:
    """A file of the operator, as `read_yaml` gives it.

    Raises:
        ConfigError: it cannot be read, or is no YAML.
    """
    name = shown(file)
    try:
        with file.open("rb") as opened:
            text = opened.read(SIZE_MOST + 1)
    except (OSError, ValueError) as error:
        words = (getattr(error, "strerror", None) or "no path").lower()
        remedy = "check its path and mode"
        problem = Problem(name, 1, 1, "unreadable", f"cannot be read: {words}", remedy)
        raise ConfigError([problem]) from None
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
        if _is(FilePath.is_dir, path):
            # Dot files are what editors and Kubernetes (`..data`) leave there.
            yield from (
                (index, p)
                for p in sorted(path.glob("*.y*ml"))
                if not p.name.startswith(".") and p.suffix in {".yaml", ".yml"}
            )
        else:
            yield index, path


def _read_policies(loaded: Loaded, named: Any) -> Damage:
    """Read them all; which keys of which routes are damaged."""
    names = [n if isinstance(n, str) else "" for n in named] if isinstance(named, list) else []
    found = list(policy_paths(loaded.folder, names))
    damage: dict[tuple[str, int], set[str]] = {}
    once: set[FilePath] = set()
    for index, name in enumerate(names):
        path: Path = ("policies", index)
        files = [file for i, file in found if i == index and name]
        if name and not files:
            text = f"there are no *.yaml files in `{name[:200]}`: everything would be refused"
            problem = loaded.source.problem(path, "no-policies", text, "add a policy file")
            loaded.problems.append(problem)
        for file in files:
            if not _is(FilePath.is_file, file):
                text = f"there is no file `{shown(file)[:200]}`"
                remedy = "create it, or mend the path"
                problem = loaded.source.problem(path, "no-such-file", text, remedy)
                loaded.problems.append(problem)
            elif file.resolve() not in once:
                once.add(file.resolve())
                damage.update(_read_policy(loaded, file))
    return damage


def _read_policy(loaded: Loaded, path: FilePath) -> dict[tuple[str, int], set[str]]:
    try:
        data, source, problems = read_file(path)
    except ConfigError as error:
        loaded.problems += error.problems
        return {}
    document, cut, more = validate(PolicyDocument, data, source, fill)
    loaded.problems += [*problems, *more]
    if document is not None:
        loaded.policy_files.append((document, source))
    return _damage(source.file, cut)


def _damage(file: str, cut: set[Path]) -> dict[tuple[str, int], set[str]]:
    damage: dict[tuple[str, int], set[str]] = {}
    for path in cut:
        if len(path) > 1 and path[0] == "routes":
            keys = [str(path[2])] if len(path) > 2 else list(RouteDocument.model_fields)
            damage.setdefault((file, int(path[1])), set()).update(keys)
    return damage


def fill(path: Path) -> Any:
    """Something harmless for the broken parts of a route, so that the rest of it can be looked at.

    Items of lists are always replaced and never removed, as those behind them would no longer be where the file has them.
    """
    match path:
        case ("routes", int(index)):
            return {
                key: fill((*path, key)) for key in ("name", "match", "upstream", "authenticate")
            }
        case ("routes", index, "name"):
            return f"{PLACEHOLDER}-{index}"
        case ("routes", _, "match"):
            return {"paths": [f"/{PLACEHOLDER}"]}
        case ("routes", _, "match", "paths"):
            return [f"/{PLACEHOLDER}"]
        case ("routes", _, "upstream"):
            return PLACEHOLDER
        case ("routes", _, "authenticate"):
            return [PLACEHOLDER]
        case ("routes", _, "allow" | "deny", int(index)):
            return {"networks": [f"2001:db8::{index:x}"]}
        case ("routes", _, "rate_limits", int(index)):
            return {"name": f"{PLACEHOLDER}-{index}", "limit": "1/second", "per": "route"}
        case ("tests", int()) | ("tests", _, "cases", int()):
            return {"request": f"GET https://{PLACEHOLDER}/", "expect": "no_route"}
    return None
