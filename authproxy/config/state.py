"""The model of `state`: where counters, sessions and revocations live, and how a Redis is reached.

Values only; nothing is opened and nobody is asked here. A URL with a password in it is refused and never quoted.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictStr, field_validator, model_validator

from authproxy.config.values import Duration, Secret
from authproxy.model.shape import Section, wrong

REMEDY = "write `lmdb:DIR`, `redis://HOST:PORT/DB`, `rediss://…` or `memory:`"
SCHEMES = {"redis": False, "rediss": True, "redis+sentinel": False, "rediss+sentinel": True}
DEFAULT_PORT, SENTINEL_PORT = 6379, 26379
DATABASE_MOST = 65535
TIMEOUT_LEAST, TIMEOUT_MOST = 0.01, 10.0

_HOST = r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})"
_SERVER = re.compile(rf"(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?")
_URL = re.compile(r"(?P<scheme>[a-z+]+)://(?P<servers>[^/?#]+)(?P<path>/[^?#]*)?")
_SERVICE = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """Where a Redis is: `servers` are its own address, or those of the sentinels that know where the primary of `service` is."""

    url: str
    tls: bool
    servers: tuple[tuple[str, int], ...]
    database: int
    service: str | None

    def __str__(self) -> str:
        return self.url


def parse_redis_url(text: str) -> RedisPlace | None:
    """`redis://HOST[:PORT][/DB]`, `rediss://…`, `redis+sentinel://HOST[:PORT],…/SERVICE[/DB]`, `rediss+sentinel://…`.

    None where it is none of them.
    """
    url = _URL.fullmatch(text)
    if url is None or url["scheme"] not in SCHEMES:
        return None
    sentinel = url["scheme"].endswith("+sentinel")
    servers = [_server(one, sentinel) for one in url["servers"].split(",")]
    parts = [part for part in (url["path"] or "").split("/") if part]
    service = parts.pop(0) if sentinel and parts else None
    database = parts.pop(0) if parts else "0"
    known = [one for one in servers if one is not None]
    if (
        parts
        or len(known) < len(servers)
        or (len(servers) > 1 and not sentinel)
        or (sentinel and (service is None or not _SERVICE.fullmatch(service)))
        or not re.fullmatch(r"[0-9]{1,5}", database)
        or int(database) > DATABASE_MOST
    ):
        return None
    return RedisPlace(text, SCHEMES[url["scheme"]], tuple(known), int(database), service)


def _server(text: str, sentinel: bool) -> tuple[str, int] | None:
    found = _SERVER.fullmatch(text)
    if found is None:
        return None
    port = int(found["port"]) if found["port"] else SENTINEL_PORT if sentinel else DEFAULT_PORT
    return (found["host"].strip("[]"), port) if 0 < port < 65536 else None


class StateTLS(Section):
    """How a Redis behind `rediss://` is verified, and what it is shown."""

    ca: StrictStr | None = None
    server_name: StrictStr | None = None
    certificate: StrictStr | None = None
    private_key: StrictStr | None = None

    @model_validator(mode="after")
    def _pair(self) -> "StateTLS":
        if (self.certificate is None) != (self.private_key is None):
            text, remedy = "a certificate and its key come together", "write both `certificate` and `private_key`"  # fmt: skip
            raise wrong("bad-pair", text, remedy)
        return self


class SentinelAccess(Section):
    """As whom the sentinels are asked, where they want to know; it is not the user of the Redis behind them."""

    username: StrictStr | None = None
    password: Secret


class State(Section):
    """Where counters, sessions and revocations live."""

    url: StrictStr | None = None
    username: Annotated[StrictStr, Field(min_length=1)] | None = None
    password: Secret | None = None
    tls: StateTLS | None = None
    sentinel: SentinelAccess | None = None
    timeout: Duration = 0.5
    leases: StrictBool = False
    on_failure: Literal["refuse", "allow_limits"] = "refuse"

    @field_validator("url")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is None or value == "memory:" or re.fullmatch(r"lmdb:.+", value):
            return value
        if value.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
            if "@" in value:
                said = "a user or password must not stand in the URL"
                raise wrong("literal-secret", said, "write `username: NAME` and `password: {env: NAME}` or `{file: PATH}` beside `url`")  # fmt: skip
            if parse_redis_url(value) is not None:
                return value
            remedy = (
                "write `redis://HOST:PORT/DB`, or `redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB`"
            )
            raise wrong("bad-url", "this is no address of a Redis", remedy)
        raise wrong("bad-url", "this is no place for state", REMEDY)

    @field_validator("timeout")
    @classmethod
    def _bounded(cls, value: float) -> float:
        if TIMEOUT_LEAST <= value <= TIMEOUT_MOST:
            return value
        raise wrong("bad-timeout", "requests wait for the state this long", "write 10ms to 10s")

    @model_validator(mode="after")
    def _fits(self) -> "State":
        place = self.redis
        given = [
            name
            for name in ("username", "password", "tls", "sentinel", "leases")
            if getattr(self, name)
        ]
        if place is None and given:
            raise wrong("needs-redis", f"`{given[0]}` is for a Redis", "remove it, or write `url: redis://…`")  # fmt: skip
        if place is not None and self.tls is not None and not place.tls:
            raise wrong("tls-unused", "`tls` is for `rediss://`", "write `url: rediss://…`")
        if place is not None and self.sentinel is not None and place.service is None:
            raise wrong("sentinel-unused", "`sentinel` is for `redis+sentinel://`", "remove it")
        if self.username is not None and self.password is None:
            raise wrong("no-password", "a user comes with a password", "write `password: {env: NAME}`")  # fmt: skip
        return self

    @property
    def redis(self) -> RedisPlace | None:
        """Where the Redis is; None where it is none."""
        return parse_redis_url(self.url) if self.url else None
