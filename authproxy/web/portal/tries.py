"""How often somebody may try to log in: by address and by account, looked at before a password or a code is."""

from authproxy.config.users import spelling
from authproxy.model.errors import Refusal
from authproxy.model.rate import parse_rate
from authproxy.policy.table import RouteLimit
from authproxy.rate_limits.step import AccountStep, Step
from authproxy.web.compat import Request

# Of one account, from wherever it is tried: guessing stays slow, and nobody is locked out for long.
ACCOUNT_LIMITS = [RouteLimit("account", parse_rate("50/hour"), "account")]
NAME_MOST = 256


class Tries:
    """The tries of whoever says that they are `username`, in any spelling of it."""

    def __init__(self, request: Request, username: str) -> None:
        self._request = request
        self._account = AccountStep(ACCOUNT_LIMITS, spelling(username[:NAME_MOST]))

    @property
    def _steps(self) -> tuple[Step, Step]:
        return self._request.runtime.failures, self._account

    def look(self) -> None:
        """May there be one more?

        Raises:
            Refusal: `rate_limited`.
        """
        for step in self._steps:
            self._request.runtime.limiter.look(step, self._request.exchange)

    def count(self) -> None:
        """Note one that failed; it is answered as what it is, the next one past the bound is not looked at."""
        for step in self._steps:
            try:
                self._request.runtime.limiter.take_always(step, self._request.exchange)
            except Refusal:
                continue
