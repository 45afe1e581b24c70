"""One question over HTTP/1.1 as `doctor` asks it: sent exactly as written, to an address of the configuration, never elsewhere.

No redirects, no cookies, no retries; a bounded answer within a bounded time. It decides nothing and trusts nothing.
"""

import asyncio
import os
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from authproxy.config.values import SocketAddress

SECONDS = 5.0
BODY_SECONDS = 1.0
BYTES_MOST = 64 << 10


class NoAnswerError(Exception):
    """Nobody answered; the text says why, in few words."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a question goes: a host and a port, or the path of a Unix socket; `tls` is how its server is verified."""

    host: str = ""
    port: int = 0
    path: str = ""
    tls: ssl.SSLContext | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered: header names in lower case, of a repeated one all values by line; the body as far as it was read."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def listening(address: SocketAddress, *, tls: bool) -> Place:
    """Where a listener of ours is asked from this machine; an address that means every interface is asked on loopback."""
    if address.path:
        return Place(path=address.path)
    context = None
    if tls:
        # It is our own listener, asked for what it answers; whether its certificate is good is looked at by itself.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104  # compared with, never bound
    return Place(host, address.port, tls=context, server_name="localhost")


async def probe(place: Place, target: str, headers: Sequence[tuple[str, str]]) -> Reply:
    """GET `target` there.

    Raises:
        NoAnswerError: there is none that could be read.
    """
    lines = [f"GET {target} HTTP/1.1", *(f"{n}: {v}" for n, v in headers), "Connection: close"]
    question = "\r\n".join([*lines, "", ""]).encode()
    try:
        async with asyncio.timeout(SECONDS):
            return _read(await _asked(place, question))
    except TimeoutError:
        raise NoAnswerError(f"nothing within {SECONDS:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise NoAnswerError(f"its certificate is not good: {error.verify_message}") from None
    except OSError as error:
        said = os.strerror(error.errno) if error.errno else type(error).__name__
        raise NoAnswerError(said.lower()) from None
    except ValueError:
        raise NoAnswerError("what was answered is no HTTP") from None


async def _asked(place: Place, question: bytes) -> bytes:
    if place.path:
        reader, writer = await asyncio.open_unix_connection(place.path)
    else:
        name = (place.server_name or place.host) if place.tls else None
        reader, writer = await asyncio.open_connection(
            place.host, place.port, ssl=place.tls, server_hostname=name
        )
    try:
        writer.write(question)
        answer = await reader.readuntil(b"\r\n\r\n")
        with suppress(
            TimeoutError
        ):  # who keeps the connection open all the same has said what we need
            async with asyncio.timeout(BODY_SECONDS):
                while len(answer) < BYTES_MOST and (data := await reader.read(BYTES_MOST)):
                    answer += data
        return answer
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise ValueError("no head") from None
    finally:
        writer.close()


def _read(answer: bytes) -> Reply:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    version, status, *_ = first.split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(version)
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        before = headers.get(name.lower())
        headers[name.lower()] = value.strip() if before is None else f"{before}\n{value.strip()}"
    return Reply(int(status), headers, body)
