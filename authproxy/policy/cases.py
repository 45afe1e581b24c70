"""The policies' own tests: a request and an identity in, what is decided compared with what is expected.

A table of cases is so many tests. Names of identities are shared by all files; what they are is looked up here.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from authproxy.model.errors import Problem
from authproxy.model.source import Path, Source
from authproxy.policy.counting import CountedLimit
from authproxy.policy.document import (
    CaseDocument,
    CaseIdentity,
    LimitExpectation,
    PolicyDocument,
    TestsDocument,
)
from authproxy.policy.offline import (
    Decision,
    PolicySet,
    RequestError,
    decide_request,
    exchange_for,
)

NOBODY = "none"
Files = Sequence[tuple[PolicyDocument | TestsDocument, Source]]


@dataclass(frozen=True, slots=True)
class Case:
    """A test, whole, and where it stands; `identities` are those that it may name."""

    wanted: CaseDocument
    source: Source
    path: Path
    identities: Mapping[str, CaseIdentity] = field(default_factory=dict)

    @property
    def identity(self) -> CaseIdentity | None:
        """Who makes the request. A name that nobody has was a problem when the file was read."""
        named = self.wanted.identity
        return self.identities.get(named) if isinstance(named, str) else named

    @property
    def title(self) -> str:
        """What the test is called: its name, else what it asks."""
        named = self.wanted.identity
        who = named if isinstance(named, str) else named.subject if named else NOBODY
        asked = f"{self.wanted.request} by {who}" if who != NOBODY else f"{self.wanted.request}"
        return f"{self.wanted.name}: {asked}" if self.wanted.name else asked

    @property
    def place(self) -> tuple[int, int]:
        """Line and column."""
        return self.source.place(self.path)


@dataclass(frozen=True, slots=True)
class Difference:
    """An expectation that did not come true: the key of the test, what it says, and what was found."""

    key: str
    expected: str
    actual: str

    def __str__(self) -> str:
        return f"{self.key}: expected {self.expected}, got {self.actual}"


@dataclass(frozen=True, slots=True)
class Result:
    """What a test came to; `differences` is empty where it passed."""

    case: Case
    decision: Decision
    differences: tuple[Difference, ...]

    @property
    def passed(self) -> bool:
        """Is everything as expected?"""
        return not self.differences


def named_identities(files: Files) -> dict[str, CaseIdentity]:
    """The identities of all files, by their names."""
    return {name: one for document, _ in files for name, one in document.identities.items()}


def collect_cases(files: Files, identities: Mapping[str, CaseIdentity] | None = None) -> list[Case]:
    """All tests of all files, in order, a table's cases one by one; `identities` None: those of these files."""
    known = named_identities(files) if identities is None else identities
    return [
        Case(wanted, source, path, known)
        for document, source in files
        for index, test in enumerate(document.tests)
        for wanted, path in _whole(test, ("tests", index))
    ]


def _whole(test: CaseDocument, path: Path) -> Iterator[tuple[CaseDocument, Path]]:
    if test.cases is None:
        yield test, path
    for index, case in enumerate(test.cases or ()):
        said = {word: getattr(case, word) for word in case.model_fields_set}
        if test.name and case.name:
            said["name"] = f"{test.name}: {case.name}"
        yield test.model_copy(update={**said, "cases": None}), (*path, "cases", index)


def case_problems(
    files: Files, identities: Mapping[str, CaseIdentity] | None = None
) -> Iterator[Problem]:
    """Names of identities that two have or nobody has; `identities` are those of the policies, where these are other files."""
    taken = dict.fromkeys(identities or {}, "the policies")
    for document, source in files:
        for name in document.identities:
            path: Path = ("identities", name)
            if name in taken or name == NOBODY:
                text = f"the identity `{name}` is taken in {taken.get(name, 'authproxy')}"
                remedy = "names are unique over all files, and `none` is nobody"
                yield source.problem(path, "duplicate-identity", text, remedy, key=True)
            taken.setdefault(name, f"{source.file}:{source.place(path)[0]}")
    known = ", ".join(sorted(taken)) or "none; add it to `identities:`"
    for case in collect_cases(files, {}):
        named = case.wanted.identity
        if isinstance(named, str) and named != NOBODY and named not in taken:
            text = f"there is no identity `{named[:80]}`"
            path = (*case.path, "identity")
            yield case.source.problem(path, "unknown-identity", text, f"there is: {known}")


def run_case(policies: PolicySet, case: Case, now: float) -> Result:
    """Decide the test's request, and compare. `now` is the moment where the test names none."""
    wanted = case.wanted
    method, _, url = (wanted.request or "").partition(" ")
    moment = now if wanted.now is None else dt.datetime.fromisoformat(wanted.now).timestamp()
    try:
        exchange = exchange_for(method, url, client=wanted.client, now=moment)
    except RequestError as error:
        return Result(
            case,
            Decision("bad_request", reason=str(error)),
            (Difference("request", "a request", str(error)),),
        )
    decision = decide_request(policies, exchange, case.identity, wanted.headers)
    return Result(case, decision, tuple(_differences(wanted, decision)))


def _differences(wanted: CaseDocument, found: Decision) -> Iterator[Difference]:
    if wanted.expect != found.verdict:
        why = f" ({found.reason})" if found.reason else ""
        yield Difference("expect", str(wanted.expect), found.verdict + why)
    told = (
        ("route", wanted.route, found.route),
        ("reason", wanted.reason, found.reason),
        ("shadow", wanted.shadow, found.shadow),
    )
    for key, said, actual in told:
        if said is not None and said != (actual or NOBODY):
            yield Difference(key, said, actual or NOBODY)
    if wanted.limits is not None:
        yield from _limit_differences(wanted.limits, found.limits)
    yield from _header_differences(wanted.backend_headers or {}, found.backend_headers)


def _limit_differences(
    wanted: Sequence[str | LimitExpectation], found: Sequence[CountedLimit]
) -> Iterator[Difference]:
    """The very limits that are named must apply, and be as they are described."""
    said = [LimitExpectation(name=one) if isinstance(one, str) else one for one in wanted]
    there = {limit.name: limit for limit in found}
    if {one.name for one in said} != set(there):
        yield Difference("limits", _listed(one.name for one in said), _listed(there))
    for one in said:
        for word in sorted(one.model_fields_set - {"name"}) if one.name in there else ():
            expected, actual = getattr(one, word), getattr(there[one.name], word)
            if expected != actual:
                yield Difference(f"limits.{one.name}.{word}", str(expected), str(actual))


def _header_differences(
    wanted: Mapping[str, Any], found: Mapping[str, str] | None
) -> Iterator[Difference]:
    """Text: the value; true: it is there, whatever its value; false: it is not."""
    there = {name.lower(): value for name, value in (found or {}).items()}
    for name, said in wanted.items():
        actual = there.get(name.lower())
        if (actual is not None) != said if isinstance(said, bool) else actual != said:
            expected = ("any value" if said else "absent") if isinstance(said, bool) else said
            nothing = "absent" if found is not None else "nothing is forwarded"
            yield Difference(
                f"backend_headers.{name}", expected, nothing if actual is None else actual
            )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or NOBODY
