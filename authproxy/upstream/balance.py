"""Whose turn it is: round robin over an upstream's servers.

A server that could not be reached is tried last for a few seconds (passive health); never is one left out altogether,
for a guess about health must not make a service unreachable. Pure: it is told the time.
"""

REST = 5.0  # seconds


class RoundRobin:
    """Turns over `count` (≥ 1) servers, named by their place.

    Args:
        rest: seconds for which a server that failed is tried last.
    """

    __slots__ = ("_count", "_rest", "_resting", "_turn")

    def __init__(self, count: int, rest: float = REST) -> None:
        self._count = count
        self._rest = rest
        self._turn = 0
        self._resting: dict[int, float] = {}  # server -> until when

    def next(self, now: float) -> int:
        """The server whose turn it is; the turn stays with it until it is `given`."""
        return self.order(now)[0]

    def order(self, now: float) -> list[int]:
        """All servers, in the order to try them."""
        order = [(self._turn + step) % self._count for step in range(self._count)]
        if self._resting:
            order.sort(key=lambda server: self._resting.get(server, 0.0) > now)
        return order

    def given(self, server: int) -> None:
        """This server got an exchange: the turn is the next one's."""
        self._turn = (server + 1) % self._count

    def failed(self, server: int, now: float) -> None:
        """This server could not be reached."""
        self._resting[server] = now + self._rest

    def reached(self, server: int) -> None:
        """This server could be reached again."""
        self._resting.pop(server, None)
