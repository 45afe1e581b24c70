"""The revocation list from outside of the server: putting on it, and reading it where that can be done.

It is the running server's own, found by its configuration. What would be written where no server reads is refused, for
nobody would notice.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from authproxy.authn.revocation import (
    SUBJECT_KEPT,
    Revocations,
    revoke_credential,
    revoke_subject,
)
from authproxy.cli.token_verdict import good_identities, judge_token
from authproxy.config.load import Loaded
from authproxy.runtime import Verification, state_records, state_url, verification
from authproxy.state.records import Records
from authproxy.state.store import StateUnavailable


class NotRevoked(Exception):  # noqa: N818  # what the operator is told
    """Nothing was put on the list, and why."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """What was put on the list: in words, by which authenticators, and until when it is kept there."""

    what: str
    authenticators: tuple[str, ...]
    until: float

    def __str__(self) -> str:
        names = ", ".join(self.authenticators)
        return f"revoked: {self.what}, for {names}, until {moment(self.until)}"


def revoke_token(loaded: Loaded, environ: Mapping[str, str], token: str, now: float) -> Revoked:
    """Revoke a token that is good now, for each authenticator that would take it.

    Raises:
        NotRevoked: it is not good, or the list cannot be written.
    """
    decides = verification(loaded, environ)
    identities = good_identities(decides, token, now)
    if not identities:
        verdict = judge_token(decides, token, now)
        raise NotRevoked(f"the token is not good, so it is not revoked: {verdict.code}, {verdict.reason}")  # fmt: skip
    ends = [
        (one, (one.expires_at or now + SUBJECT_KEPT) + _leeway(decides, one.authenticator))
        for one in identities
    ]

    async def put(records: Records) -> None:
        for one, until in ends:
            await revoke_credential(records, one.authenticator, one.credential_id, until, now)

    _write(loaded, environ, put)
    names = tuple(one.authenticator for one in identities)
    what = f"the token of `{identities[0].subject}`"
    return Revoked(what, names, max(until for _, until in ends))


def revoke_id(
    loaded: Loaded, environ: Mapping[str, str], authenticator: str, jti: str, until: float, now: float
) -> Revoked:  # fmt: skip
    """Revoke what this authenticator would take under this `jti`, as long as it can be good.

    Raises:
        NotRevoked: the list cannot be written.
    """
    end = until + _leeway(verification(loaded, environ), authenticator)

    async def put(records: Records) -> None:
        await revoke_credential(records, authenticator, jti, end, now)

    _write(loaded, environ, put)
    return Revoked(f"the token with jti `{jti}`", (authenticator,), end)


def revoke_all_of(
    loaded: Loaded, environ: Mapping[str, str], authenticator: str, subject: str, until: float | None, now: float
) -> Revoked:  # fmt: skip
    """Revoke all that this subject was issued until now.

    Raises:
        NotRevoked: the list cannot be written.
    """
    end = now + SUBJECT_KEPT if until is None else until

    async def put(records: Records) -> None:
        await revoke_subject(records, authenticator, subject, end, now)

    _write(loaded, environ, put)
    return Revoked(f"all that `{subject}` was issued until {moment(now)}", (authenticator,), end)


def known_revocations(
    loaded: Loaded, environ: Mapping[str, str], now: float
) -> tuple[Revocations, str]:
    """The list of the running server, or an empty one and why it could not be read. Makes no files."""
    url = state_url(loaded.usable(), environ)
    if url == "memory:":
        return Revocations(), "with `state.url: memory:` each worker keeps its own"
    if url.startswith("lmdb:"):
        try:
            (_place(loaded, url) / "records").stat()
        except FileNotFoundError:
            return Revocations(), ""  # nobody ever wrote there
        except OSError as error:
            return Revocations(), str(error)
    found = Revocations(records := state_records(loaded, environ))
    try:
        asyncio.run(_refreshed(found, now))
    except StateUnavailable as error:
        return Revocations(), str(error)
    finally:
        records.close()
    return found, ""


async def _refreshed(found: Revocations, now: float) -> None:
    await found.refresh(now)


def moment(seconds: float) -> str:
    """As RFC 3339 has it, UTC."""
    return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%dT%H:%M:%SZ}"


def _leeway(decides: Verification, authenticator: str) -> float:
    return decides.authenticators[authenticator].leeway


def _place(loaded: Loaded, url: str) -> Path:
    return loaded.folder / url.partition(":")[2]


def _write(loaded: Loaded, environ: Mapping[str, str], put: Any) -> None:
    url = state_url(loaded.usable(), environ)
    if url == "memory:":
        raise NotRevoked("with `state.url: memory:` the list is in each worker's memory and cannot be reached: use lmdb:DIR")  # fmt: skip
    place = _place(loaded, url)
    if not loaded.usable().state.url and not place.exists():
        raise NotRevoked(
            f"no server has kept its state in {place}: set `state.url`, or STATE_DIRECTORY as the service has it"
        )
    records = state_records(loaded, environ)
    work: Coroutine[Any, Any, None] = put(records)
    try:
        asyncio.run(work)
    except StateUnavailable as error:
        raise NotRevoked(str(error)) from None
    finally:
        records.close()
