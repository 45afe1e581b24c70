"""Where the problems of one route are noted, and which of them would only repeat a problem that is already known.

A route may be damaged: a part of it was wrong in its shape and stands in as a placeholder. What depends on that part
is not looked at, so one mistake is one problem.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from authproxy.model.errors import Problem
from authproxy.model.source import Path, Source

# code: the keys of a route it depends on beside the one it points at.
CONSEQUENCES: Mapping[str, frozenset[str]] = {
    "duplicate-route": frozenset({"name"}),
    "duplicate-limit": frozenset({"rate_limits"}),
    "empty-entry": frozenset({"allow", "deny"}),
    "missing-allow": frozenset({"allow", "authenticate"}),
    "needs-identity": frozenset({"authenticate"}),
    "prefix-not-in-path": frozenset({"match", "rewrite"}),
    "route-tie": frozenset({"match"}),
    "unknown-authenticator": frozenset({"authenticate"}),
}


@dataclass(slots=True)
class Findings:
    """The problems of the route at `path`; `damaged` are its keys that are placeholders."""

    source: Source
    path: Path
    damaged: Collection[str]
    problems: list[Problem]

    def wrong(self, path: Path, code: str, text: str, remedy: str, **where: Any) -> None:
        """Note a problem at this path inside the route, unless it only follows from the damage."""
        if CONSEQUENCES.get(code, frozenset()).isdisjoint(self.damaged):
            self.problems.append(self.source.problem(self.path + path, code, text, remedy, **where))

    def refer(self, path: Path, kind: str, name: str, known: Collection[str] | None) -> None:
        """Note a name that nothing has; None knows all of them."""
        if known is None or name in known:
            return
        there = ", ".join(sorted(known)) or "none"
        text = f"there is no {kind} `{name[:80]}`"
        self.wrong(path, f"unknown-{kind}", text, f"there is: {there}")

    def warn(self, path: Path, code: str, text: str, remedy: str, **where: Any) -> None:
        """Note what is allowed but hardly meant."""
        self.problems.append(self.source.warning(self.path + path, code, text, remedy, **where))
