"""The models of a policy file: `routes` and their `tests`. JSON Schema comes from here.

Only the shape is checked here; whether names point at something and conditions make sense is `parse.py`'s work.
"""

import datetime as dt
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

from authproxy.model.errors import REFUSALS, Refusal
from authproxy.model.host import parse_host
from authproxy.model.rate import MOVING_WINDOW_MOST, Rate, RateError, Strategy, parse_rate
from authproxy.model.shape import Section, wrong

METHOD = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$"
HOST = r"^(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$"
Text = Annotated[StrictStr, Field(min_length=1)]
Texts = Annotated[list[Text], Field(min_length=1)]
Scalar = StrictStr | StrictBool | StrictInt | StrictFloat
RouteName = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
IdentityName = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$")]
REQUEST = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+ \S+$"
HeaderName = Annotated[StrictStr, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$")]


class Match(Section):
    """Which requests a route is for; `hosts` and `methods` absent: any."""

    hosts: Annotated[list[StrictStr], Field(min_length=1)] | None = None
    paths: Annotated[list[StrictStr], Field(min_length=1)]
    methods: (
        Annotated[list[Annotated[StrictStr, Field(pattern=METHOD)]], Field(min_length=1)] | None
    ) = None

    @field_validator("hosts")
    @classmethod
    def _hosts(cls, value: list[str] | None) -> list[str] | None:
        for host in value or []:
            if re.fullmatch(HOST, host) is None and not _is_literal(host):
                remedy = 'write `name.example` or `"*.example"`, in lower case and without a port'
                raise wrong("bad-host", f"`{host[:80]}` is no host pattern", remedy)
        return value


def _is_literal(host: str) -> bool:
    """Is this an IPv6 literal, in the one spelling that hosts are matched with?"""
    try:
        return host.startswith("[") and parse_host(host) == host
    except Refusal:
        return False


class Entry(Section):
    """Conditions that must all hold. In `mode: shadow` the entry refuses nobody: whom it would is noted."""

    groups: Texts | None = None
    scopes: Texts | None = None
    subjects: Texts | None = None
    authenticators: Texts | None = None
    networks: Texts | None = None
    claims: (
        Annotated[
            dict[Text, Scalar | Annotated[list[Scalar], Field(min_length=1)]], Field(min_length=1)
        ]
        | None
    ) = None
    when: StrictStr | None = None
    mode: Literal["enforce", "shadow"] = "enforce"


Entries = Annotated[list[Entry], Field(min_length=1)]


def read_rate(value: str) -> Rate:
    """A rate, its errors pointing into the text."""
    try:
        return parse_rate(value)
    except RateError as error:
        remedy = "write N/second, N/minute, N/hour or N/day, or N/M and a unit (`10/5 second`); N is at least 1"
        raise wrong("bad-rate", str(error), remedy, error.column) from None


class RateLimit(Section):
    """A rate limit; `per` says who shares its count."""

    name: RouteName | None = None
    limit: StrictStr
    per: StrictStr
    strategy: Strategy = "sliding-window-counter"
    cost: Annotated[StrictInt, Field(ge=1)] = 1
    mode: Literal["enforce", "shadow"] = "enforce"

    @field_validator("limit")
    @classmethod
    def _limit(cls, value: str) -> str:
        read_rate(value)
        return value

    @field_validator("per")
    @classmethod
    def _per(cls, value: str) -> str:
        if value in {"subject", "address", "route"} or re.fullmatch(r"claim:\S{1,128}", value):
            return value
        raise wrong(
            "bad-per", "nobody is counted by this", "write subject, claim:NAME, address or route"
        )

    @model_validator(mode="after")
    def _possible(self) -> "RateLimit":
        if self.cost > self.rate.amount:
            remedy = "lower `cost` or raise `limit`"
            raise wrong("bad-cost", "a request costs more than the limit ever lets pass", remedy)
        if self.strategy == "moving-window" and self.rate.amount > MOVING_WINDOW_MOST:
            text = f"a moving window remembers each request, at most {MOVING_WINDOW_MOST}"
            raise wrong("bad-strategy", text, "use sliding-window-counter")
        return self

    @property
    def rate(self) -> Rate:
        """`limit` as a value."""
        return parse_rate(self.limit)


class Rewrite(Section):
    """How the backend's path differs from the client's."""

    strip_prefix: Annotated[StrictStr, Field(pattern=r"^/.*[^/]$")]


class HeaderChanges(Section):
    """Header fields towards the backend; values of `set` are CEL."""

    remove: list[HeaderName] = []
    set: dict[HeaderName, StrictStr] = {}


_NO_CHANGES = HeaderChanges()  # the same one for all routes that say nothing of them


class RouteDocument(Section):
    """One route."""

    name: RouteName
    match: Match
    upstream: StrictStr
    authenticate: Literal["none"] | Annotated[list[StrictStr], Field(min_length=1)]
    allow: Literal["authenticated"] | Entries | None = None
    deny: Entries | None = None
    second_factor: StrictBool = False
    rate_limits: Annotated[list[RateLimit], Field(min_length=1, max_length=16)] | None = None
    mode: Literal["enforce", "shadow"] = "enforce"
    rewrite: Rewrite | None = None
    headers: HeaderChanges = Field(default_factory=lambda: _NO_CHANGES)
    forward_authorization: StrictBool = False
    cors_preflight: Literal["refuse", "forward"] = "refuse"
    preserve_post: StrictBool = False
    streams: Literal["close", "finish"] = "close"
    encoded_slash: Literal["refuse", "forward"] = "refuse"
    encoded_percent: Literal["refuse", "forward"] = "refuse"
    double_slash: Literal["refuse", "forward"] = "refuse"


class CaseIdentity(Section):
    """Who a test's request comes from."""

    subject: Text
    authenticator: StrictStr | None = None
    groups: list[StrictStr] = []
    scopes: list[StrictStr] = []
    email: StrictStr | None = None
    username: StrictStr | None = None
    name: StrictStr | None = None
    claims: dict[StrictStr, Any] = {}


class LimitExpectation(Section):
    """A limit that must apply; what is not written of it is not looked at."""

    name: RouteName
    limit: StrictStr | None = None
    per: StrictStr | None = None
    key: StrictStr | None = None
    cost: StrictInt | None = None
    mode: Literal["enforce", "shadow"] | None = None

    @field_validator("limit")
    @classmethod
    def _limit(cls, value: str | None) -> str | None:
        if value is not None:
            read_rate(value)
        return value


def _verdict(value: str) -> str:
    if value == "allow" or value in REFUSALS:
        return value
    raise wrong(
        "bad-expectation",
        f"`{value[:60]}` is no verdict",
        "write `allow` or a code such as `forbidden`, `unauthenticated` or `no_route`",
    )


def _moment(value: str) -> str:
    try:
        if dt.datetime.fromisoformat(value).tzinfo is not None:
            return value
    except ValueError:
        pass
    text = f"`{value[:40]}` is no moment"
    raise wrong("bad-moment", text, "write it with its zone, like `2026-12-31T23:59:00Z`")


class CaseParts(Section):
    """A request, who makes it, and what it must come to."""

    name: Text | None = None
    request: Annotated[StrictStr, Field(pattern=REQUEST)] | None = None
    identity: StrictStr | CaseIdentity | None = None
    client: StrictStr | None = None
    headers: dict[HeaderName, StrictStr] = {}
    now: Annotated[StrictStr, AfterValidator(_moment)] | None = None
    expect: Annotated[StrictStr, AfterValidator(_verdict)] | None = None
    route: StrictStr | None = None
    reason: StrictStr | None = None
    shadow: StrictStr | None = None
    limits: list[RouteName | LimitExpectation] | None = None
    backend_headers: dict[HeaderName, StrictStr | StrictBool] | None = None


class CaseDocument(CaseParts):
    """A test; with `cases` a table of them: what a case says takes the place of what the test says."""

    cases: Annotated[list[CaseParts], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> "CaseDocument":
        for index, case in enumerate(self.cases or [self]):
            for word in ("request", "expect"):
                if getattr(case, word) is None and getattr(self, word) is None:
                    where = f"case {index} has no `{word}`" if self.cases else f"no `{word}`"
                    raise wrong("missing-key", where, f"add `{word}`")
        return self


class TestsDocument(Section):
    """A file of tests beside the policies: no server reads it."""

    __test__ = False  # not one of pytest's

    identities: dict[IdentityName, CaseIdentity] = {}
    tests: list[CaseDocument] = []


class PolicyDocument(Section):
    """A policy file."""

    routes: list[RouteDocument] = []
    identities: dict[IdentityName, CaseIdentity] = {}
    tests: list[CaseDocument] = []
