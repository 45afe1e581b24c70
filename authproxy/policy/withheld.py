"""What shadow mode withheld: who would have been refused, by route, reason and subject, since when.

It is read from lines of the access log or of the decision log; both say the same of it.
"""

from collections import Counter
from typing import Any

from authproxy.policy.changes import GROUPS_MOST, Groups, kept
from authproxy.policy.record import written
from authproxy.policy.recorded import Recorded


class Withheld:
    """Counts requests and those of which a refusal was withheld; `since` and `until` are the first and last of each."""

    def __init__(self) -> None:
        self.requests = 0
        self.count = 0
        self.by_route: Counter[str] = Counter()
        self.groups = Groups(("route", "code", "reason"))
        self._seen: dict[tuple[str, ...], tuple[str, str]] = {}
        self.first = self.last = ""

    def note(self, record: Recorded) -> None:
        """One more."""
        time = written(record.exchange.now)  # ISO 8601 in UTC: such texts compare as times do
        self.requests += 1
        self.first, self.last = _wider(self.first, self.last, time)
        route = kept(record.route)
        if route in self.by_route or len(self.by_route) < GROUPS_MOST:
            self.by_route[route] += 1
        if not record.shadow:
            return
        self.count += 1
        key = (route, kept(record.shadow), kept(record.reason))
        self.groups.add(key, record, record.subject)
        if key in self._seen or len(self._seen) < GROUPS_MOST:
            self._seen[key] = _wider(*self._seen.get(key, ("", "")), time)

    def told(self) -> list[dict[str, Any]]:
        """The groups, the largest first."""
        found = []
        for common, group in self.groups.largest():
            since, until = self._seen.get(tuple(common.values()), ("", ""))
            share = {"of": self.by_route[common["route"]], "since": since, "until": until}
            found.append({**common, **share, **group.told()})
        return found


def _wider(first: str, last: str, time: str) -> tuple[str, str]:
    return min(first or time, time), max(last, time)
