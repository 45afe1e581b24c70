"""The chaos run: two proxies behind HAProxy, with faults of every kind under mixed load, and a judgement of what came of it.

    python -m tests.endurance.chaos [--seconds 600] [--seed 6] [--json FILE] [--keep DIRECTORY]

Needs redis-server and haproxy; as root the logs are on small disks, which are filled among the faults.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.results import commit, processor
from tests.endurance import faults as f
from tests.endurance.callers import Callers, Outcome
from tests.endurance.judgement import Judgement, Records, as_usual, judge
from tests.endurance.stage import Stage
from tests.endurance.trials import Credentials

PAUSE = 4.0  # seconds between two faults of a lane
CALM = 8.0  # seconds at the end without faults: all must be well again
SHOWN = 30
BEGINS = '{"time":"'  # each line of an access log


async def _run(stage: Stage, seconds: float, seed: int) -> tuple[list[Outcome], list[f.Fault]]:
    """The load, and the faults meanwhile."""
    rng, told, made = random.Random(seed), list[Outcome](), list[f.Fault]()
    credentials = Credentials(stage.issuer, random.Random(seed + 1))
    credentials.revoked = stage.issuer.token("ruth", groups=["eng"], exp=int(time.time() + seconds + 900))  # fmt: skip
    if not stage.revoke(credentials.revoked):
        raise RuntimeError("the first token could not be revoked")
    await asyncio.sleep(1)
    callers = Callers([f"https://127.0.0.1:{stage.port}"], credentials, told.append, stage.tls)
    async with callers.calling() as c:
        load = [
            *(c.requests(0.15) for _ in range(8)), *(c.people(2) for _ in range(3)),
            *(c.sockets(1.5) for _ in range(4)), c.revoking(30, stage.revoke),
        ]  # fmt: skip
        tasks = [asyncio.ensure_future(one) for one in load]
        last = time.monotonic() + seconds - CALM
        kinds = f.COMMON if all(p.disk.real for p in stage.proxies) else tuple(k for k in f.COMMON if k is not f.full_disk)  # fmt: skip
        await asyncio.gather(
            f.lane(stage, kinds, rng, PAUSE, last, made),
            f.lane(stage, f.WORKERS, random.Random(seed + 2), PAUSE * 2, last, made),
        )
        await asyncio.sleep(max(0.0, last + CALM - time.monotonic()))
        callers.over = True
        await asyncio.gather(*tasks)
    return told, sorted(made, key=lambda fault: fault.began)


def read_lines(paths: Iterable[Path]) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """The access logs' lines by request id, and those that are spoilt. The first part of a line, which is what a disk that
    became full has taken, is none of both.
    """
    lines: dict[str, Mapping[str, Any]] = {}
    spoilt = []
    for path in paths:
        for text in path.read_text(errors="replace").splitlines():
            try:
                line = json.loads(text)
                lines[line["request_id"]] = line
            except ValueError:
                if text.count('"request_id"') > 1 or not (
                    text.startswith(BEGINS) or BEGINS.startswith(text)
                ):
                    spoilt.append(text)
    return lines, spoilt


def _second_by_second(outcomes: list[Outcome], begin: float) -> list[dict[str, int]]:
    """What came back in each second."""
    kept: list[Counter[str]] = []
    for outcome in outcomes:
        second = int(outcome.at + outcome.seconds - begin)
        kept += [Counter() for _ in range(second + 1 - len(kept))]
        kind = "as usual" if as_usual(outcome) else f"{outcome.status // 100}xx" if outcome.verdict else "cut"  # fmt: skip
        kept[second][kind] += 1
    return [dict(one) for one in kept]


def _record(
    seconds: float, seed: int, records: Records, found: Judgement, begin: float
) -> dict[str, Any]:
    outcomes = records.outcomes
    kinds = Counter(o.trial.kind for o in outcomes)
    usual = Counter(o.trial.kind for o in outcomes if as_usual(o))
    reached = Counter(note["trial"].partition(":")[0].replace("-", " ") for note in records.notes)
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()), "commit": commit(),
        "machine": {"cpu": processor(), "cores": os.cpu_count()}, "seconds": seconds, "seed": seed,
        "trials": [[kind, n, usual[kind], reached[kind]] for kind, n in sorted(kinds.items())],
        "faults": [[one.kind, one.where, round(one.began - begin, 1), round(one.ended - begin, 1)] for one in records.faults],
        "explained": [[*what, n] for what, n in sorted(found.by_fault.items())],
        "longest_after": {kind: round(s, 1) for kind, s in sorted(found.longest_after.items())},
        "longest_wait": round(max(o.seconds for o in outcomes), 1),
        "wrong": found.wrong[:SHOWN], "hung": found.hung[:SHOWN], "unexplained": found.unexplained[:SHOWN],
        "totals": {"wrong": len(found.wrong), "hung": len(found.hung), "unexplained": len(found.unexplained)},
        "seconds_seen": _second_by_second(list(outcomes), begin),
    }  # fmt: skip


def chaos(seconds: float, seed: int, keep: Path | None = None) -> dict[str, Any]:
    """Run it; the record of the run, whose `findings` are empty where it passed."""
    with tempfile.TemporaryDirectory(prefix="authproxy-chaos-") as folder, ExitStack() as stack:
        stage, begin = Stage(Path(folder)), time.time()
        stage.start(stack)
        outcomes, faults = asyncio.run(_run(stage, seconds, seed))
        ends = {proxy.name: proxy.served.stop() for proxy in stage.proxies}
        errors = {proxy.name: proxy.served.errors() for proxy in stage.proxies}
        lines, spoilt = read_lines(proxy.log for proxy in stage.proxies)
        notes = [json.loads(x) for b in stage.backends for x in b.notes.read_text().splitlines()]
        records = Records(outcomes, notes, lines, faults)
        found = judge(records)
        if keep is not None:
            stage.keep(keep)
    record = _record(seconds, seed, records, found, begin)
    record["findings"] = [f"{what}: {n}" for what, n in record["totals"].items() if n]
    record["findings"] += [f"{name} ended with {status}" for name, status in ends.items() if status]
    record["findings"] += [f"a traceback of {name}: {text[text.index('Traceback'):][:2000]}" for name, text in errors.items() if "Traceback" in text]  # fmt: skip
    record["findings"] += [f"a line that is no JSON: {text}" for text in spoilt[:SHOWN]]
    return record


def main() -> int:
    """Run, write, judge."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.endurance.chaos", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--json", type=Path, help="where to write the record")
    parser.add_argument("--keep", type=Path, help="where to keep logs and notes")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # with all that was started
    record = chaos(asked.seconds, asked.seed, asked.keep)
    if asked.json:
        asked.json.write_text(json.dumps(record, ensure_ascii=False) + "\n")
    for name in ("trials", "explained", "longest_after", "longest_wait", "wrong", "hung", "unexplained"):  # fmt: skip
        sys.stdout.write(f"{name}: {json.dumps(record[name], indent=1)}\n")
    sys.stdout.write("".join(f"FAILED: {one}\n" for one in record["findings"]) or "passed\n")
    return int(bool(record["findings"]))


if __name__ == "__main__":
    sys.exit(main())
