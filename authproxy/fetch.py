"""Asking other servers on our own behalf: issuers, introspection. Never on a client's word, and never for long.

https only (loopback excepted), no redirects, every answer bounded in size and time, proxies as the environment says (none to this machine).
The only use of aiohttp's client, which is imported when somebody is asked: it takes longer than to read most configurations.
A caller gives a URL of the configuration and gets bytes or a `FetchError`.
"""

import asyncio
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from authproxy.model.url import is_allowed, is_loopback

if TYPE_CHECKING:
    import aiohttp

BYTES_MOST = 1 << 20
SECONDS_MOST = 10.0
USER_AGENT = "authproxy"
_NONE: Mapping[str, str] = MappingProxyType({})


class FetchError(Exception):
    """There is no answer to use; the text says why and holds nothing of the answer's body."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer with status 200, or another that was wished for; `headers` with names in lower case."""

    body: bytes
    headers: Mapping[str, str]
    status: int = 200


class Fetcher:
    """Asks with one pool of connections. `ca` is a PEM file of authorities instead of the system's.

    Raises:
        OSError, ssl.SSLError: the file cannot be used.
    """

    def __init__(self, ca: Path | None = None) -> None:
        self._tls = ssl.create_default_context(cafile=ca)
        self._sessions: dict[bool, aiohttp.ClientSession] = {}  # through proxies or not

    async def get(
        self,
        url: str,
        headers: Mapping[str, str] = _NONE,
        *,
        seconds: float = SECONDS_MOST,
    ) -> Fetched:
        """The document at `url`.

        Raises:
            FetchError: no answer within the bounds, or one that is no 200.
        """
        return await self._ask("GET", url, None, headers, seconds)

    async def post(
        self,
        url: str,
        form: Mapping[str, str],
        headers: Mapping[str, str],
        *,
        seconds: float = SECONDS_MOST,
        also: Collection[int] = (),
    ) -> Fetched:
        """The answer to a form (`application/x-www-form-urlencoded`); one of a status in `also` is an answer too.

        Raises:
            FetchError: no answer within the bounds, or one that is no 200.
        """
        return await self._ask("POST", url, form, headers, seconds, also)

    async def _ask(
        self,
        method: str,
        url: str,
        form: Mapping[str, str] | None,
        headers: Mapping[str, str],
        seconds: float,
        also: Collection[int] = (),
    ) -> Fetched:
        if not is_allowed(url):
            raise FetchError("only https is asked, or http on this machine")
        import aiohttp

        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(method, url, form, headers, also)
        except TimeoutError:
            raise FetchError(f"no answer within {seconds:g} s") from None
        except (aiohttp.ClientResponseError, aiohttp.ClientPayloadError) as error:
            # Their texts quote what came, which is the other side's to choose.
            raise FetchError(f"the answer is no HTTP: {type(error).__name__}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            text = f"no answer: {type(error).__name__}: {error}"[:300]
            raise FetchError("".join(c if c.isprintable() else " " for c in text)) from None

    async def _exchange(
        self,
        method: str,
        url: str,
        form: Mapping[str, str] | None,
        headers: Mapping[str, str],
        also: Collection[int],
    ) -> Fetched:
        wanted = {"User-Agent": USER_AGENT, "Accept": "application/json", **headers}
        async with self._opened(url).request(
            method, url, data=form, headers=wanted, allow_redirects=False, ssl=self._tls
        ) as answer:
            if (
                answer.status != 200 and answer.status not in also
            ):  # a redirect too: where it leads was not configured
                raise FetchError(f"the answer was {answer.status}")
            body = await answer.content.read(BYTES_MOST + 1)
            while not answer.content.at_eof() and len(body) <= BYTES_MOST:
                body += await answer.content.read(BYTES_MOST + 1 - len(body))
            if len(body) > BYTES_MOST:
                raise FetchError("the answer is over 1 MiB")
            fields = {name.lower(): value for name, value in answer.headers.items()}
            return Fetched(body, fields, answer.status)

    def _opened(self, url: str) -> "aiohttp.ClientSession":
        import aiohttp

        # What is asked of this machine may be plain, so it never leaves it: no proxy there.
        elsewhere = not is_loopback(urlsplit(url).hostname or "")
        session = self._sessions.get(elsewhere)
        if session is None or session.closed:
            session = self._sessions[elsewhere] = aiohttp.ClientSession(
                trust_env=elsewhere, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=True
            )
        return session

    async def close(self) -> None:
        """Close its connections; the next question opens new ones."""
        sessions = list(self._sessions.values())
        self._sessions.clear()
        for session in sessions:
            await session.close()
