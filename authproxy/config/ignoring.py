"""What is left of the warnings once the comments about them are read; a comment that has nothing to say is one itself.

Errors cannot be ignored, and nothing can be ignored without a reason.
"""

from collections.abc import Iterable, Iterator, Sequence

from authproxy.model.errors import Problem
from authproxy.model.lints import LINTS
from authproxy.model.source import Ignore, Source

_OF_COMMENTS = frozenset({"unused-ignore", "ignore-without-reason"})


def without_ignored(problems: Sequence[Problem], sources: Iterable[Source]) -> list[Problem]:
    """The problems that no comment of their line in these files ignores, and what is wrong with the comments."""
    comments = [(source, ignore) for source in sources for ignore in source.ignores]
    if not comments:
        return list(problems)
    ignored: dict[tuple[str, int, str], bool] = {
        (source.file, ignore.line, code): False
        for source, ignore in comments
        for code in (ignore.codes if ignore.reason else ())
    }
    left = []
    for problem in problems:
        key = (problem.file, problem.line, problem.code)
        if problem.severity == "warning" and key in ignored:
            ignored[key] = True
        else:
            left.append(problem)
    for source, ignore in comments:
        used = {c for c in ignore.codes if ignored.get((source.file, ignore.line, c))}
        left += _about(source.file, ignore, used)
    return left


def _about(file: str, ignore: Ignore, used: Iterable[str]) -> Iterator[Problem]:
    """What is wrong with a comment."""
    line, column = ignore.place
    if not ignore.codes or not ignore.reason:
        text = "this comment ignores nothing: it says " + ("no code" if not ignore.codes else "no reason")  # fmt: skip
        remedy = "write `# authproxy: ignore CODE — why it is meant so`"
        yield Problem(file, line, column, "ignore-without-reason", text, remedy, "warning")
        return
    for code in dict.fromkeys(ignore.codes):
        if code in used:
            continue
        text = f"no warning `{code[:60]}` stands in line {ignore.line}"
        if code in _OF_COMMENTS:
            text = f"`{code}` cannot be ignored"
        elif code not in LINTS:
            text = f"there is no warning `{code[:60]}`; errors cannot be ignored"
        remedy = "remove it from the comment"
        yield Problem(file, line, column, "unused-ignore", text, remedy, "warning")
