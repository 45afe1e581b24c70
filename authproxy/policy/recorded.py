"""Records of decisions, read again: a line of the decision log, or of the access log, which says less.

A log comes from elsewhere and may be damaged: each part is taken only where it is of its kind, nothing is guessed.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from authproxy.model.address import Address, parse_address
from authproxy.model.exchange import Exchange
from authproxy.model.fields import Fields
from authproxy.model.identity import Identity
from authproxy.policy.record import Record


class DamagedRecordError(ValueError):
    """This is no record of a decision; says which part is wrong."""


@dataclass(slots=True)
class Recorded:
    """A record, read again. `exchange` is as it came: method, host, raw target, client, headers, and who it was if that
    was found out.

    `reads` is what was recorded beside that, None where the record says nothing of it (a line of the access log);
    `withheld` are the parts of it that were not written down. `asked` are the authenticators that were asked, `credentials`
    the places that held something; None where that was not recorded.
    """

    exchange: Exchange
    subject: str
    code: str
    reason: str
    shadow: str
    route: str
    asked: tuple[str, ...] | None
    credentials: Mapping[str, bool] | None
    preflight: bool | None
    reads: tuple[str, ...] | None
    withheld: tuple[str, ...]
    policies: str


def replayed(record: Any) -> Recorded | None:
    """What a record says; None for a line of the access log that is about no target, as nothing was decided there.

    Raises:
        DamagedRecordError: it is not one.
    """
    if not isinstance(record, dict):
        raise DamagedRecordError("no JSON object")
    take = _Taking(record)
    path, decision = take.text("path"), take.text("decision")
    if decision not in {"allow", "refuse"}:
        raise DamagedRecordError("`decision` is neither allow nor refuse")
    if not path.startswith("/"):
        if path:
            raise DamagedRecordError("`path` does not begin with /")
        return None
    reads = take.texts("reads")
    exchange = Exchange(take.text("request_id"), _moment(take.text("time")), 0.0)
    exchange.method, exchange.host = take.text("method"), take.text("host")
    exchange.raw_target = take.text("raw_path", "") or quote(path, safe=_UNQUOTED)
    exchange.client_text = take.text("client")
    exchange.client = _client(exchange.client_text)
    headers = take.mapping("headers")
    if headers:
        exchange.fields = _fields_of(headers)
    exchange.identity = _identity_of(take)
    return Recorded(
        exchange,
        exchange.identity.subject if exchange.identity is not None else "",
        "allow" if decision == "allow" else take.text("code", "") or "refuse",
        take.text("reason", ""),
        take.text("shadow", ""),
        take.text("route", ""),
        take.texts("asked"),
        take.flags("credentials"),
        take.flag("preflight"),
        reads,
        take.texts("withheld") or (),
        take.text("policies", ""),
    )


# Every character that stands for itself in a path: so what the log holds decoded comes to the same target again.
_UNQUOTED = "/!$&'()*+,;=:@-._~"


_TIME_LONGEST = 64  # characters, of which a date and a time need 35


class _Taking:
    """Takes parts of a record, each of its kind; null is absent."""

    __slots__ = ("_record",)

    def __init__(self, record: Record) -> None:
        self._record = record

    def text(self, name: str, default: str | None = None) -> str:
        """A text."""
        found = self._record.get(name)
        if found is None:
            found = default
        if not isinstance(found, str):
            raise DamagedRecordError(f"`{name}` is no text")
        return found

    def optional(self, name: str) -> str | None:
        """A text, where there is one."""
        return None if self._record.get(name) is None else self.text(name)

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A list of texts."""
        found = self._record.get(name)
        if found is None:
            return None
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise DamagedRecordError(f"`{name}` is no list of texts")
        return tuple(found)

    def flag(self, name: str) -> bool | None:
        """True or false."""
        found = self._record.get(name)
        if found is None or isinstance(found, bool):
            return found
        raise DamagedRecordError(f"`{name}` is neither true nor false")

    def flags(self, name: str) -> dict[str, bool] | None:
        """An object of these."""
        found = self.mapping(name)
        if found is not None and not all(isinstance(one, bool) for one in found.values()):
            raise DamagedRecordError(f"`{name}` holds what is neither true nor false")
        return found

    def mapping(self, name: str) -> Record | None:
        """An object."""
        found = self._record.get(name)
        if found is None or isinstance(found, dict):
            return found
        raise DamagedRecordError(f"`{name}` is no object")


def _identity_of(take: _Taking) -> Identity | None:
    subject = take.optional("subject")
    if subject is None:
        return None
    return Identity(
        take.text("authenticator"),
        subject,
        take.texts("groups") or (),
        frozenset(take.texts("scopes") or ()),
        take.optional("email"),
        take.optional("username"),
        take.optional("name"),
        take.mapping("claims") or {},
    )


def _fields_of(headers: Record) -> Fields:
    if not all(isinstance(value, str) for value in headers.values()):
        raise DamagedRecordError("`headers` holds what is no text")
    return Fields((n.encode("latin-1", "replace"), v.encode()) for n, v in headers.items())


def _client(text: str) -> Address:
    found = parse_address(text)
    if found is None:
        raise DamagedRecordError("`client` is no address")
    return found


def _moment(text: str) -> float:
    if len(text) > _TIME_LONGEST:
        raise DamagedRecordError("`time` is no time")
    return _parsed_moment(text)


@lru_cache(maxsize=4096)
def _parsed_moment(text: str) -> float:
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise DamagedRecordError("`time` is no time") from None
