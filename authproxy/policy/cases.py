"""The policy files' own tests: a request and an identity in, the verdict compared with what is expected."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from authproxy.model.address import parse_address
from authproxy.model.exchange import Exchange
from authproxy.model.fields import Fields
from authproxy.model.headers import HeaderRules, Kind
from authproxy.model.identity import Identity
from authproxy.model.source import Path, Source
from authproxy.policy.decide import Trace, Verdict, judge, presenting
from authproxy.policy.document import CaseDocument, CaseIdentity, PolicyDocument
from authproxy.policy.table import Table

DEFAULT_RULES = HeaderRules()
_URL = re.compile(r"(https?)://([^/?#]*)(.*)", re.DOTALL)


class URLError(ValueError):
    """The text is no absolute http or https URL."""


@dataclass(frozen=True, slots=True)
class Case:
    """A test of a policy file, and where it stands."""

    wanted: CaseDocument
    source: Source
    path: Path


@dataclass(frozen=True, slots=True)
class Result:
    """What a test came to; `failures` is empty where it passed."""

    case: Case
    verdict: Verdict
    trace: Trace
    failures: tuple[str, ...]


def collect_cases(files: Sequence[tuple[PolicyDocument, Source]]) -> list[Case]:
    """All tests of all files, in order."""
    return [Case(t, source, ("tests", i)) for doc, source in files for i, t in enumerate(doc.tests)]


def exchange_for(
    method: str, url: str, *, client: str | None, headers: Sequence[tuple[str, str]], now: float
) -> Exchange:
    """The exchange that a request like this would make.

    Raises:
        URLError: the URL or the client's address cannot be read.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise URLError(f"`{url[:200]}` is no absolute URL: write https://host/path")
    exchange = Exchange("", now, 0.0)
    exchange.method, exchange.scheme, exchange.host_field = method, found[1], found[2]
    rest = found[3]
    exchange.raw_target = rest if rest.startswith("/") else "/" + rest
    if client is not None:
        address = parse_address(client)
        if address is None:
            raise URLError(f"`{client[:80]}` is no IP address")
        exchange.peer = exchange.client = address
    exchange.client_text = str(exchange.client)
    exchange.chain = (exchange.client_text,)
    exchange.fields = Fields(
        (n.encode("latin-1", "replace"), v.encode("utf-8", "replace")) for n, v in headers
    )
    return exchange


def identity_of(wanted: CaseIdentity, authenticators: Sequence[str]) -> Identity:
    """The identity a test describes; of the route's first authenticator where it names none."""
    claims = dict(wanted.claims)
    claims.setdefault("sub", wanted.subject)
    return Identity(
        authenticator=wanted.authenticator or next(iter(authenticators), ""),
        subject=wanted.subject,
        groups=tuple(wanted.groups),
        scopes=frozenset(wanted.scopes),
        email=wanted.email,
        username=wanted.username,
        name=wanted.name,
        claims=claims,
    )


def run_case(table: Table, case: Case, now: float, rules: HeaderRules = DEFAULT_RULES) -> Result:
    """Decide the test's request and compare; `rules` say which of its headers a policy ever sees."""
    wanted, trace = case.wanted, Trace()
    method, _, url = wanted.request.partition(" ")
    try:
        exchange = exchange_for(
            method, url, client=wanted.client, headers=_seen(wanted, rules), now=now
        )
    except URLError as error:
        return Result(case, Verdict("bad_request", None, str(error)), trace, (str(error),))
    verdict = judge(
        table,
        exchange,
        lambda route, x: presenting(_identity(wanted, route.authenticators))(route, x),
        trace,
    )
    failures = []
    if verdict.code != wanted.expect:
        why = f" ({verdict.reason})" if verdict.reason else ""
        failures.append(f"expected {wanted.expect}, got {verdict.code}{why}")
    got = verdict.route.name if verdict.route is not None else None
    if wanted.route is not None and wanted.route != got:
        failures.append(f"expected route {wanted.route}, got {got or 'none'}")
    return Result(case, verdict, trace, tuple(failures))


def _seen(wanted: CaseDocument, rules: HeaderRules) -> list[tuple[str, str]]:
    """The headers that intake lets pass: a test must not hold by an identity header that is always dropped."""
    return [
        (name, value)
        for name, value in wanted.headers.items()
        if rules.kind(name.encode()) in {Kind.PASS, Kind.METHOD_OVERRIDE}
    ]


def _identity(wanted: CaseDocument, authenticators: Sequence[str]) -> Identity | None:
    return None if wanted.identity is None else identity_of(wanted.identity, authenticators)
