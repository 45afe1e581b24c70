"""Files of tests beside the policies (`policy_tests`): read by `policy test` and `check`, never by a server."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from authproxy.config.load import Loaded, fill, policy_paths, read_file, shown
from authproxy.config.validate import validate
from authproxy.model.errors import ConfigError, Problem
from authproxy.model.source import Source
from authproxy.policy.cases import case_problems, named_identities
from authproxy.policy.document import TestsDocument


@dataclass(slots=True)
class CaseFiles:
    """The files as read, as far as they are good, and all problems."""

    files: list[tuple[TestsDocument, Source]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_case_files(loaded: Loaded, more: Iterable[FilePath] = ()) -> CaseFiles:
    """Those that the configuration names, then `more` (files, or directories of *.yaml); each once."""
    found = CaseFiles()
    policies = {FilePath(source.file).absolute() for _, source in loaded.policy_files}
    read = {path.resolve() for path in policies}
    for path, missing in _named(loaded, more):
        if path.resolve() in read:
            continue  # a policy file, whose tests are known
        read.add(path.resolve())
        if not path.is_file():
            found.problems.append(missing)
        else:
            _read(found, path)
    found.problems += case_problems(found.files, named_identities(loaded.policy_files))
    return found


def _named(loaded: Loaded, more: Iterable[FilePath]) -> Iterator[tuple[FilePath, Problem]]:
    """Each file, and the problem that it would be not to find it."""
    named = loaded.config.policy_tests if loaded.config is not None else []
    for index, path in policy_paths(loaded.folder, list(named)):
        text, remedy = f"there is no file `{shown(path)[:200]}`", "create it, or mend the path"
        where = ("policy_tests", index)
        yield path, loaded.source.problem(where, "no-such-file", text, remedy)
    for path in more:
        for _, file in policy_paths(FilePath(), [str(path)]):
            remedy = "name a file of tests, or a directory of *.yaml"
            yield file, Problem(shown(file), 1, 1, "no-such-file", "there is no such file", remedy)


def _read(found: CaseFiles, path: FilePath) -> None:
    try:
        data, source, problems = read_file(path)
    except ConfigError as error:
        found.problems += error.problems
        return
    if isinstance(data, dict) and "routes" in data:
        text = "routes here would be tested by nobody and served by nobody"
        remedy = "name the file in `policies`, or move its tests to a file of their own"
        found.problems.append(
            source.problem(("routes",), "misplaced-routes", text, remedy, key=True)
        )
        return
    document, _, more = validate(TestsDocument, data, source, fill)
    found.problems += [*problems, *more]
    if document is not None:
        found.files.append((document, source))
