"""The models of `authproxy.yaml`: names and defaults as the reference documents them. JSON Schema comes from here.

Values only; whether two parts fit is `references.py`'s question, whether names point at something that of the policies.
No file is opened here.
"""

import re
from typing import Annotated, Literal

from pydantic import (
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

from authproxy.config.authenticators import Authenticators, HeaderName, Name, SigningKey
from authproxy.config.listeners import Listener
from authproxy.config.state import State
from authproxy.config.tracing import Tracing
from authproxy.config.values import (
    Count,
    Duration,
    IssuerText,
    ListenAddress,
    NetworkText,
    RemoteURL,
    ServerURL,
    Size,
    SocketAddress,
)
from authproxy.model.address import Network
from authproxy.model.errors import Refusal
from authproxy.model.host import parse_host
from authproxy.model.shape import Section, wrong
from authproxy.policy.document import RateLimit, read_rate

WORKERS_MOST = 256
TRAIL_MOST = 100_000


class Admin(Section):
    """The listener for health and readiness; never one that is proxied."""

    address: ListenAddress = SocketAddress("127.0.0.1", 9901)


class TrustedProxies(Section):
    """Whose word about the client is believed."""

    networks: Annotated[list[NetworkText], Field(min_length=1)]
    header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    host: StrictBool = False


class Session(Section):
    """The proxy's own session cookie; no backend ever sees it."""

    cookie: Annotated[StrictStr, Field(pattern=r"^__Host-[A-Za-z0-9_-]{1,64}$")] = (
        "__Host-authproxy"
    )
    idle_timeout: Duration = 1800.0
    absolute_timeout: Duration = 43200.0

    @property
    def form_cookie(self) -> str:
        """The cookie that the forms of our pages belong to, before and after a login."""
        return f"{self.cookie}-form"

    @property
    def kept_cookie(self) -> str:
        """The cookie that opens a form which outlived its session."""
        return f"{self.cookie}-kept"

    @property
    def own_cookies(self) -> tuple[str, ...]:
        """What is between browsers and us: no backend gets or sets one of these."""
        return self.cookie, self.form_cookie, self.kept_cookie


class Portal(Section):
    """Where the pages live that providers send people back to."""

    url: RemoteURL

    @field_validator("url")
    @classmethod
    def _origin(cls, value: str) -> str:
        origin = value.removesuffix("/").lower()
        if "/" in origin.partition("://")[2] or "?" in origin:
            text = "the portal is a host of its own, without a path"
            raise wrong("bad-url", text, "write it like `https://login.example.com`")
        scheme, _, authority = origin.partition("://")
        try:
            host = parse_host(authority)
        except Refusal:
            text, remedy = (
                "no request can name this host",
                "write it like `https://login.example.com`",
            )
            raise wrong("bad-url", text, remedy) from None
        if host.startswith("["):  # as browsers write it, whatever the file does
            authority = host + authority.rpartition("]")[2]
        usual = {"https": ":443", "http": ":80"}[scheme]
        return f"{scheme}://{authority.removesuffix(usual)}"

    @property
    def host(self) -> str:
        """Its host, as requests name it: without the port."""
        return parse_host(self.url.partition("://")[2])


class UpstreamTLS(Section):
    """How an https server is verified, and what it is shown."""

    ca: StrictStr | None = None
    server_name: StrictStr | None = None
    certificate: StrictStr | None = None
    private_key: StrictStr | None = None

    @model_validator(mode="after")
    def _pair(self) -> "UpstreamTLS":
        if (self.certificate is None) != (self.private_key is None):
            raise wrong(
                "bad-pair",
                "a certificate and its key come together",
                "write both `certificate` and `private_key`",
            )
        return self


class Timeouts(Section):
    """`response`: last request byte to first answer byte; `idle`: silence in a body or tunnel."""

    connect: Duration = 5.0
    response: Duration = 60.0
    idle: Duration = 300.0


class Upstream(Section):
    """The servers of one backend."""

    servers: Annotated[list[ServerURL], Field(min_length=1)]
    host: Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9._:\[\]-]{1,255}$")] = "client"
    timeouts: Timeouts = Timeouts()
    tls: UpstreamTLS | None = None


class Assertion(Section):
    """A signed identity for the backend; `ttl` is how long one is good."""

    enabled: StrictBool = False
    issuer: IssuerText | None = None
    key: SigningKey | None = None
    ttl: Duration = 60.0

    @model_validator(mode="after")
    def _whole(self) -> "Assertion":
        missing = [f"`{name}`" for name in ("issuer", "key") if getattr(self, name) is None]
        if self.enabled and missing:
            text = f"the signed assertion is enabled without {' and '.join(missing)}"
            raise wrong("incomplete-assertion", text, "write `issuer: URL` and `key: {file: PATH}`")
        if not 1 <= self.ttl <= 3600:
            text = "an assertion is good for 1s to 1h"
            raise wrong("bad-ttl", text, "write `60s`; what was copied is good for as long")
        return self


class IdentityHeaders(Section):
    """What the backend is told of the identity, and by which names."""

    profile: Literal["forwarded", "auth-request", "remote", "none"] = "forwarded"
    strip: list[HeaderName] = []
    assertion: Assertion = Assertion()


class Bounds(Section):
    """What a client may ask of us; 0 is no bound."""

    header_bytes: Size = 32 << 10
    header_fields: Count = 128
    uri_bytes: Size = 8 << 10
    token_bytes: Size = 8 << 10
    body_bytes: Size = 0
    header_timeout: Duration = 15.0
    keepalive: Duration = 75.0
    handshake: Duration = 10.0
    body_rate: Annotated[str | int, Field()] = "1KiB/s"
    connections: Count = 10_000
    drain: Duration = 30.0
    drain_delay: Duration = 0.0

    @field_validator("body_rate", mode="after")
    @classmethod
    def _rate(cls, value: str | int) -> str | int:
        if value != 0 and not re.fullmatch(r"[0-9]{1,9}(B|KiB|MiB)/s", str(value)):
            raise wrong(
                "bad-size", "this is no rate of bytes", "write it like `1KiB/s`, or 0 for none"
            )
        return value

    @property
    def body_rate_bytes(self) -> int:
        """The least that a request body must bring, in bytes a second; 0 is none."""
        number, unit = re.match(r"([0-9]+)(.*)", str(self.body_rate)).groups()  # type: ignore[union-attr]
        return int(number) * {"B/s": 1, "KiB/s": 1024, "MiB/s": 1 << 20}.get(unit, 0)


class AccessLog(Section):
    """One line a request; `-` is stdout."""

    path: StrictStr = "-"
    format: Literal["json", "combined", "none"] = "json"


class DecisionLog(Section):
    """One line a decision, with what the policies read, for `authproxy policy replay`."""

    path: StrictStr

    @field_validator("path")
    @classmethod
    def _file(cls, value: str) -> str:
        if value in {"", "-"}:
            remedy = "name a file, such as `decisions.log`"
            raise wrong("bad-path", "the decision log needs a file of its own", remedy)
        return value


class Logging(Section):
    """What is written down."""

    access: AccessLog = AccessLog()
    decisions: DecisionLog | None = None
    trail: Annotated[StrictInt, Field(ge=0, le=TRAIL_MOST)] = 1000

    @model_validator(mode="after")
    def _apart(self) -> "Logging":
        if self.decisions is not None and self.decisions.path == self.access.path:
            remedy = "give `decisions` a path of its own"
            raise wrong("bad-path", "the access log has the same file", remedy)
        return self


class GlobalLimit(RateLimit):
    """A limit that holds for every request, before any credential is looked at."""

    @field_validator("per")
    @classmethod
    def _per(cls, value: str) -> str:
        if value != "address":
            raise wrong(
                "bad-per",
                "before credentials are looked at only addresses can be counted",
                "write `per: address`",
            )
        return value


class Config(Section):
    """`authproxy.yaml`."""

    listeners: Annotated[list[Listener], Field(min_length=1)]
    admin: Admin | Literal[False] = Admin()
    workers: StrictInt | StrictStr = 1
    trusted_proxies: TrustedProxies | None = None
    state: State = State()
    authenticators: Authenticators = {}
    session: Session = Session()
    portal: Portal | None = None
    upstreams: dict[Name, Upstream] = {}
    identity: IdentityHeaders = IdentityHeaders()
    bounds: Bounds = Bounds()
    logging: Logging = Logging()
    tracing: Tracing | None = None
    rate_limits: list[GlobalLimit] = []
    failed_authentications: StrictStr = "30/minute"
    policies: Annotated[list[StrictStr], Field(min_length=1)] = ["policies"]
    policy_tests: list[Annotated[StrictStr, Field(min_length=1)]] = []

    @field_validator("workers")
    @classmethod
    def _workers(cls, value: int | str) -> int | str:
        if value == "auto" or (isinstance(value, int) and 1 <= value <= WORKERS_MOST):
            return value
        raise wrong(
            "bad-workers", "this is no number of workers", f"write 1 to {WORKERS_MOST}, or auto"
        )

    @field_validator("failed_authentications")
    @classmethod
    def _rate(cls, value: str) -> str:
        read_rate(value)
        return value

    @property
    def trusted_networks(self) -> list[Network]:
        """The networks of `trusted_proxies`; nobody's where it is absent."""
        return self.trusted_proxies.networks if self.trusted_proxies else []
