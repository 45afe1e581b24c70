"""How often somebody may try to log in: by address and by account, looked at before a password or a code is."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from authproxy.config.users import spelling
from authproxy.model.errors import Refusal
from authproxy.model.rate import parse_rate
from authproxy.policy.table import RouteLimit
from authproxy.rate_limits.limiter import done
from authproxy.rate_limits.step import AccountStep, Step
from authproxy.web.compat import Request

# Of one account, from wherever it is tried: guessing stays slow, and nobody is locked out for long.
ACCOUNT_LIMITS = [RouteLimit("account", parse_rate("50/hour"), "account")]
NAME_MOST = 256
# How many may be verified at once in a worker, of an account and of an address: what is under way is not counted yet.
UNDER_WAY = {"account": 8, "address": 32}

_under_way: Counter[tuple[str, str]] = Counter()


class Tries:
    """The tries of whoever says that they are `username`, in any spelling of it."""

    def __init__(self, request: Request, username: str) -> None:
        self._request = request
        name = spelling(username[:NAME_MOST])
        self._account = AccountStep(ACCOUNT_LIMITS, name)
        self._whose = [("account", name), ("address", request.exchange.client_text)]

    @property
    def _steps(self) -> tuple[Step, Step]:
        return self._request.runtime.failures, self._account

    async def look(self) -> None:
        """May there be one more?

        Raises:
            Refusal: `rate_limited`.
        """
        for step in self._steps:
            await done(self._request.runtime.limiter.look(step, self._request.exchange))

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """One more try, while it is verified.

        Raises:
            Refusal: `rate_limited`: there were too many, or too many are under way.
        """
        await self.look()
        if any(_under_way[who] >= UNDER_WAY[who[0]] for who in self._whose):
            raise Refusal("rate_limited", "tries under way", headers=(("Retry-After", "1"),))
        _under_way.update(self._whose)
        try:
            yield
        finally:
            _under_way.subtract(self._whose)
            for who in self._whose:
                if not _under_way[who]:
                    del _under_way[who]

    async def count(self) -> None:
        """Note one that failed; it is answered as what it is, the next one past the bound is not looked at."""
        for step in self._steps:
            try:
                await done(self._request.runtime.limiter.take_always(step, self._request.exchange))
            except Refusal:
                continue
