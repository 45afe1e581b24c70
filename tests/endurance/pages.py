"""Brings the runs into the documentation: plots beside their records, figures between the marks of the pages.

    python -m tests.endurance.pages

What the pages say in words is written there; every figure comes from docs/endurance/*.json.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.endurance.plots import Band, Line, plot
from tests.endurance.soak import figures, findings
from tests.endurance.watch import MIB

DOCS = Path(__file__).resolve().parents[2] / "docs"
ROOM = DOCS / "endurance"
Record = dict[str, Any]
COLOURS = {"as usual": 0, "5xx": 1, "cut": 2}


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table whose first column are words and all others numbers."""
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def about(run: Record) -> str:
    """When, what and where."""
    machine = run["machine"]
    return f"Run of {run['date']}, commit {run['commit']}, {machine['cores']} cores of {machine['cpu']}, {run['seconds'] / 60:g} minutes"


def verdict(found: Sequence[str]) -> str:
    """Did it pass?"""
    return "**passed**" if not found else "**failed:** " + "; ".join(found)


def soak_part(run: Record) -> str:
    """The figures of a soak."""
    rows = [
        (
            line["process"], *line["MiB"], *(f"{rise} ± {error}" for rise, error in (line["MiB an hour"], line["private MiB an hour"])),
            f"{line['descriptors'][0]} to {line['descriptors'][1]}", "{} ± {}".format(*line["descriptors an hour"]),
        )
        for line in figures(run)
    ]  # fmt: skip
    heads = ["process", "MiB after the warm-up", "at the end", "MiB an hour", "of it private", "descriptors", "an hour"]  # fmt: skip
    said = f"State in {run['state']}; {run['requests']:,} trials, {run['reloads'] // 2} reloads, {run['cpu_seconds']:g} s of CPU in all; the warm-up took {run['warm_up'] / 60:g} minutes"
    return f"{about(run)}. {said}: {verdict(findings(run))}.\n\n{table(heads, rows)}"


def soak_plot(run: Record) -> str:
    """Memory of each process over time."""
    samples = run["samples"]
    lines = [
        Line(one["process"], samples["seconds"], [value / MIB for value in one["resident"]], number)
        for number, one in enumerate(samples["processes"])
    ]
    bands = [Band(0, run["warm_up"], "warm-up")]
    return plot(
        f"Soak, state in {run['state']}: resident memory, MiB", lines, bands, run["seconds"]
    )


def chaos_parts(run: Record) -> dict[str, str]:
    """The tables of a chaos run."""
    totals, trials = run["totals"], run["trials"]
    sent, usual = sum(t[1] for t in trials), sum(t[2] for t in trials)
    said = (
        f"{about(run)}, seed {run['seed']}: {verdict(run['findings'])}.\n\n"
        f"{sent:,} trials, {usual:,} of them ended as on a quiet day and {sent - usual:,} did not. "
        f"Let in wrongly: {totals['wrong']}. Hung: {totals['hung']}; the longest wait was {run['longest_wait']} s. Errors without an explanation: {totals['unexplained']}."
    )
    kinds = table(["trial", "sent", "as on a quiet day", "seen by a backend"], trials)
    began = Counter(fault[0] for fault in run["faults"])
    lasted: Counter[str] = Counter()
    for kind, _, begin, end in run["faults"]:
        lasted[kind] += end - begin
    explained: dict[str, list[str]] = {kind: [] for kind in began}
    for fault, what, count in run["explained"]:
        explained.setdefault(fault, []).append(f"{count} of {what}")
    rows = [
        (kind, count, f"{lasted[kind]:.0f} s", ", ".join(explained[kind]) or "none", run["longest_after"].get(kind, "-"))
        for kind, count in sorted(began.items())
    ]  # fmt: skip
    heads = ["fault", "times", "in all", "what clients saw of it", "last seen, seconds after its end"]  # fmt: skip
    return {"verdict": said, "trials": kinds, "faults": table(heads, rows)}


def chaos_plot(run: Record) -> str:
    """What came back in each second, and the faults."""
    seen = run["seconds_seen"]
    lines = [
        Line(name, list(range(len(seen))), [one.get(name, 0) for one in seen], colour)
        for name, colour in COLOURS.items()
    ]
    bands = [Band(begin, end, kind) for kind, _, begin, end in run["faults"]]
    return plot("Chaos: answers in each second", lines, bands, len(seen))


def filled(page: Path, parts: dict[str, str]) -> None:
    """Put each part between its marks."""
    text = page.read_text()
    for name, part in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        text, found = re.subn(
            re.escape(begin) + ".*?" + re.escape(end),
            lambda _, new=f"{begin}\n{part}\n{end}": new,  # type: ignore[misc]
            text, flags=re.DOTALL,
        )  # fmt: skip
        if found != 1:
            raise SystemExit(f"{page} has no place for {name}")
    page.write_text(text)


def main() -> None:
    """Both pages, from the records that there are."""
    soaks = {file.stem: json.loads(file.read_text()) for file in sorted(ROOM.glob("soak-*.json"))}
    for name, run in soaks.items():
        (ROOM / f"{name}.svg").write_text(soak_plot(run))
    filled(DOCS / "soak.md", {name: soak_part(run) for name, run in soaks.items()})
    run = json.loads((ROOM / "chaos.json").read_text())
    (ROOM / "chaos.svg").write_text(chaos_plot(run))
    filled(DOCS / "chaos.md", chaos_parts(run))


if __name__ == "__main__":
    main()
