"""What `doctor` asks of the Redis of the state: does it answer, how soon, does it keep what it has, and is the way there ours."""

import time
from collections.abc import AsyncIterator

from authproxy.cli.doctor_findings import Finding, note, ok, problem
from authproxy.model.address import parse_address
from authproxy.runtime import Verification
from authproxy.state.redis_records import RedisRecords
from authproxy.state.store import StateUnavailable

TRIES = 5
SLOW = 0.005  # seconds; each step of a request that has limits waits as long


async def state(decides: Verification) -> AsyncIterator[Finding]:
    """Nothing where the state is no Redis."""
    records = decides.records
    if not isinstance(records, RedisRecords):
        return
    redis, place = records.redis, records.redis.access.place
    try:
        await redis.call("PING")
        took = []
        for _ in range(TRIES):
            begin = time.perf_counter()
            await redis.call("PING")
            took.append(time.perf_counter() - begin)
    except StateUnavailable as error:
        text = f"the state: {error}"
        yield problem("state", text, "check `state`, the Redis and its ACL, name resolution, firewall and `tls`")  # fmt: skip
        return
    finally:
        records.close()
    text = f"{redis.name} answers in {min(took) * 1000:.1f} ms"
    if min(took) > SLOW:
        yield note("state", text, "put it nearer: each step of a request that has limits waits as long")  # fmt: skip
    else:
        yield ok("state", text)
    if redis.warning is not None:
        yield problem("state-evicts", f"{redis.name}: {redis.warning}", "set `maxmemory-policy noeviction` there")  # fmt: skip
    if not place.tls and not all(_is_here(host) for host, _ in place.servers):
        yield note("state-in-clear", f"{redis.name} is not encrypted", "use `rediss://`, unless the network between is yours alone")  # fmt: skip


def _is_here(host: str) -> bool:
    address = parse_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)
