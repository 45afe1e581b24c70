"""Two proxies of two workers each with one real Redis, under 64 clients, with leases and without: what passes of a limit that
all share, and how many calls a request costs. Everything is on loopback.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

from tests.end_to_end.fleet import Fleet, guarded
from tests.end_to_end.load import Background, Tally, hammer
from tests.redis_server import RedisServer

CLIENTS, SECONDS = 64, 12.0
TRIPS = "authproxy_state_round_trips_total"


def machines(background: Background, server: RedisServer, leases: bool) -> list[Fleet]:
    """Both proxies, who count in the same Redis."""
    limits = {
        "shared": {"limit": "1000/minute", "per": "route", "strategy": "fixed-window"},
        "sliding": {"limit": "1000/minute", "per": "route"},
        "wide": {"limit": "100000000/minute", "per": "subject"},
    }
    routes = [guarded(name, rate_limits=[limit]) for name, limit in limits.items()]
    state = {"url": server.url, "leases": leases, "timeout": "5s"}
    return [Fleet(Path(tempfile.mkdtemp(prefix="two-machines-")), background, routes=routes, state=state) for _ in range(2)]  # fmt: skip


def under_load(background: Background, fleets: list[Fleet], path: str, users: int) -> dict[str, Any]:  # fmt: skip
    """So many users' requests at both proxies for a while: what became of them, and the calls meanwhile."""
    before, tally = sum(fleet.metric(TRIPS) for fleet in fleets), Tally()
    each = CLIENTS // 2 // users
    waits = [
        background.begin(
            hammer(
                background,
                fleet.port,
                tally,
                each,
                path=f"/{path}",
                token=fleet.issuer.token(subject=f"u{user}"),
            )
        )
        for fleet in fleets
        for user in range(users)
    ]
    time.sleep(SECONDS)
    tally.stop = True
    for wait in waits:
        wait()
    time.sleep(2.5)  # until workers have brought their figures
    trips = sum(fleet.metric(TRIPS) for fleet in fleets) - before
    passed, refused = tally.statuses[200], tally.statuses[429]
    return {
        "requests": tally.served, "passed": passed, "refused": refused, "failed": len(tally.failed), "others": tally.served - passed - refused,
        "seconds": SECONDS, "calls": trips, "calls_per_request": round(trips / tally.served, 4),
    }  # fmt: skip


def real() -> dict[str, Any]:
    """Both modes, each with a Redis that is empty."""
    found: dict[str, Any] = {}
    for leases in (False, True):
        background, server = Background(), RedisServer()
        fleets = machines(background, server, leases)
        mode = "leases" if leases else "exact"
        for path, users in (("shared", 1), ("sliding", 1), ("wide", 1), ("wide", 16)):
            found[f"{mode}, {path}, {users}"] = one = under_load(background, fleets, path, users)
            print(mode, path, users, one, flush=True)
        for fleet in fleets:
            fleet.served.stop()
            fleet.backend.stop()
        background.stop()
        server.close()
    return found
