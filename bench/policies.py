"""How policies grow: `check` and one look-up with 10 and with 10,000 routes. `python -m bench.policies`."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from authproxy.config.load import load
from authproxy.model.target import Target, parse_target
from authproxy.policy.table import Table

COUNTS = (10, 10_000)
PER_FILE = 100
HOSTS = 500
LOOKUPS = 10_000
ROUNDS = 40
CONFIG = """\
listeners: [{address: "127.0.0.1:0"}]
admin: false
state: {url: "memory:"}
authenticators: {staff: {type: certificate, subject: cn}}
upstreams: {app: {servers: ["http://127.0.0.1:9000"]}}
"""
ROUTE = """\
  - name: route-{n}
    match: {{hosts: [svc{host}.example.test], paths: [/api/v{version}/**], methods: [GET, HEAD]}}
    upstream: app
    authenticate: [staff]
    allow:
      - {{groups: [team-{team}, ops]}}
      - {{scopes: [svc{n}.read]}}
    deny: [{{groups: [suspended]}}]
    rate_limits: [{{limit: 100/minute, per: subject}}]
"""


def write(folder: Path, count: int) -> Path:
    """A configuration with so many routes, a hundred a file."""
    (folder / "policies").mkdir(parents=True)
    for begin in range(0, count, PER_FILE):
        routes = [
            ROUTE.format(n=n, host=n % HOSTS, version=n // HOSTS, team=n % 97)
            for n in range(begin, min(begin + PER_FILE, count))
        ]
        (folder / "policies" / f"{begin:05}.yaml").write_text("routes:\n" + "".join(routes))
    file = folder / "authproxy.yaml"
    file.write_text(CONFIG)
    return file


def check_seconds(file: Path) -> float:
    """How long `authproxy check` takes, from its start to its end; the best of five.

    Its bytecode is there from the first time on, as that of an installed program is.
    """
    command = [sys.executable, "-m", "authproxy.cli.main", "check", "--config", str(file)]
    environ = os.environ | {"PYTHONPYCACHEPREFIX": str(file.parent / "bytecode")}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    taken = []
    for _ in range(5):
        begun = time.monotonic()
        subprocess.run(command, check=True, capture_output=True, env=environ)
        taken.append(time.monotonic() - begun)
    return min(taken)


def lookup_seconds(table: Table, asked: Sequence[tuple[str, Target]]) -> float:
    """CPU time of one `find`, these requests in turn; the best of many rounds."""
    best = 1.0
    for _ in range(ROUNDS):
        begun = time.process_time()
        for _ in range(LOOKUPS // len(asked)):
            for host, target in asked:
                target.memo.clear()  # as if nobody had asked before: the search is what is measured
                table.find(host, "GET", target)
        best = min(best, (time.process_time() - begun) / LOOKUPS)
    return best


def asked(table: Table, number: int) -> list[tuple[str, Target]]:
    """So many requests, spread over all routes."""
    routes = table.routes[:: max(len(table.routes) // number, 1)][:number]
    return [(r.hosts[0], parse_target(r.paths[0].replace("**", "orders/1"))) for r in routes]


def main() -> None:
    """Measure, and print a table."""
    print("| routes | `check` | look-up, 10 requests in turn | look-up, 200 requests in turn |")
    print("|---|---|---|---|")
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            file = write(Path(folder) / "site", count)
            table = load(file).policies.table
            few, many = (lookup_seconds(table, asked(table, n)) * 1e9 for n in (10, 200))
            checked = check_seconds(file)
        print(f"| {count:,} | {checked:.2f} s | {few:.0f} ns | {many:.0f} ns |")


if __name__ == "__main__":
    main()
