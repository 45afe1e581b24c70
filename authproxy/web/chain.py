"""The order of work, in one place. A step is a function: `def step(request: Request) -> Outcome`.

It returns None where the request is to go on, the answer where it ends here, or a coroutine that comes to one of the two
where something has to be waited for. It raises a `Refusal`, and never writes one. The steps that count are taken by all
requests of a round at once (`rounds.together`).
"""

from authproxy.web.authentication import authentication
from authproxy.web.authorization import authorization
from authproxy.web.envelope import Step
from authproxy.web.intake import intake, routing
from authproxy.web.rate_limiting import address_limits, global_limits, identity_limits
from authproxy.web.redirection import redirect
from authproxy.web.relay import relay
from authproxy.web.rounds import Rounds

CHAIN: tuple[Step, ...] = (
    intake,
    global_limits,
    routing,
    address_limits,
    authentication,
    identity_limits,
    authorization,
    relay,
)


# On a listener that only sends clients elsewhere.
REDIRECTION: tuple[Step, ...] = (*CHAIN[:2], redirect)


def compose() -> Rounds:
    """What takes requests through the chain."""
    return Rounds(CHAIN)


def compose_redirection() -> Rounds:
    """The same for a listener with `redirect_to_https`."""
    return Rounds(REDIRECTION)
