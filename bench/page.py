"""Brings a run into the documentation: plots beside its record, tables between the marks of docs/benchmark.md.

    python -m bench.page

What the page says in words is written there; every figure comes from docs/bench/results.json.
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.plots import Bar, Panel, number, plot
from bench.results import Entry

DOCS = Path(__file__).resolve().parent.parent / "docs"
RECORD, PAGE = DOCS / "bench" / "results.json", DOCS / "benchmark.md"
PLOTS = {  # file -> the workloads that it shows
    "requests": ("W1", "W2", "W3"),
    "bodies": ("W4", "W5"),
    "growth": ("W6-routes", "W6-subjects", "W6-workers"),
    "refusals": ("W7",),
    "websocket": ("W8",),
    "idle": ("W6-idle",),
}
NOTE = "median of the rounds, whiskers from the least to the most; less is better"
LESS = f"{NOTE}; striped: forwards only, checks nothing"
MORE = NOTE.replace("less", "of CPU less, of capacity more")

Run = dict[str, Any]


def ordered(run: Run, workload: str) -> list[Entry]:
    """A workload's lines: those of several variants as they were measured, others from the least."""
    entries: list[Entry] = run["workloads"][workload]["entries"]
    figure = run["workloads"][workload]["figure"]
    if any(entry["variant"] for entry in entries):
        return entries
    return sorted(entries, key=lambda entry: entry["figures"][figure]["median"])


def bar(run: Run, entry: Entry, figure: str, label: str) -> Bar:
    """A line of a plot."""
    found = entry["figures"][figure]
    checks = run["peers"][entry["peer"]]["checks"]
    kind = "ours" if entry["peer"] == "authproxy" else "" if checks else "less"
    return Bar(label, found["median"], found["least"], found["most"], kind)


def panels(run: Run, workload: str) -> list[Panel]:
    """One panel; where peers are measured with variants (W7), one for each variant."""
    about = run["workloads"][workload]
    figure, entries = about["figure"], ordered(run, workload)
    alone = len({entry["peer"] for entry in entries}) == 1
    if alone:
        bars = [bar(run, entry, figure, entry["variant"]) for entry in entries]
        return [Panel(f"{workload.split('-', maxsplit=1)[0]} {about['title']}", figure, bars)]
    made = []
    for variant in dict.fromkeys(entry["variant"] for entry in entries):
        of_it = [entry for entry in entries if entry["variant"] == variant]
        of_it.sort(key=lambda entry: entry["figures"][figure]["median"])
        bars = [bar(run, e, figure, run["peers"][e["peer"]]["title"]) for e in of_it]
        title = f"{workload.split('-', maxsplit=1)[0]} {about['title']}" + (
            variant and f": {variant}"
        )
        made.append(Panel(title, figure, bars))
    return made


def table(run: Run, workload: str) -> str:
    """A workload's figures, all of them."""
    about, entries = run["workloads"][workload], ordered(run, workload)
    names = list(entries[0]["figures"])
    variants = any(entry["variant"] for entry in entries)
    heads = [*(["what"] if variants else []), "proxy", *names]
    lines = [heads, ["---"] * (len(heads) - len(names)) + ["---:"] * len(names)]
    for entry in entries:
        cells = [entry["variant"]] if variants else []
        title = run["peers"][entry["peer"]]["title"]
        cells.append(f"**{title}**" if entry["peer"] == "authproxy" else title)
        for name in names:
            found = entry["figures"][name]
            spread = f" ({number(found['least'])} to {number(found['most'])})"
            cells.append(number(found["median"]) + (spread if name == about["figure"] else ""))
        lines.append(cells)
    return rows(lines)


def rows(lines: list[list[str]]) -> str:
    """A table of Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def machine(run: Run) -> str:
    """Where and when, and who took no part."""
    about = run["machine"]
    left = [f"{name} ({why})" for name, why in run["left_out"].items()]
    return (
        f"Measured on {run['date']} at commit `{run['commit']}`: {about['cpu']}, {about['cores']} cores, "
        f"{about['system']}; {run['rounds']} rounds. "
        f"Left out: {', '.join(left) if left else 'nobody'}."
    )


def peers(run: Run) -> str:
    """Who took part, and what each does."""
    lines = [["proxy", "version", "what it does here"], ["---"] * 3]
    lines += [[p["title"], p["version"], p["does"]] for p in run["peers"].values()]
    return rows(lines)


def budgets(run: Run) -> str:
    """What was promised, and what came of it."""
    lines = [["budget", "bound", "found", ""], ["---", "---:", "---:", "---"]]
    for verdict in run["budgets"]:
        bound = f"{'at least' if verdict['least'] else 'at most'} {verdict['bound']:g}"
        word = "met" if verdict["met"] else "**missed**"
        lines.append([verdict["budget"], bound, f"{verdict['value']:.2f}", word])
    return rows(lines)


def ahead(run: Run) -> str:
    """Where a peer needs less than authproxy, by its own figures: no line is left out."""
    lines = [["workload", "who needs less than authproxy, and how much of it"], ["---", "---"]]
    for name, about in run["workloads"].items():
        figure, entries = about["figure"], about["entries"]
        for variant in dict.fromkeys(entry["variant"] for entry in entries):
            medians = {
                e["peer"]: e["figures"][figure]["median"]
                for e in entries
                if e["variant"] == variant
            }
            ours = medians.pop("authproxy")
            less = sorted((value, peer) for peer, value in medians.items() if value < ours)
            if medians:
                told = [f"{run['peers'][peer]['title']} {value / ours:.2f}" for value, peer in less]
                what = f"{name.split('-')[0]} {about['title']}" + (variant and f": {variant}")
                lines.append([what, ", ".join(told) or "nobody"])
    return rows(lines)


SECTIONS: dict[str, Callable[[Run], str]] = {
    "machine": machine,
    "peers": peers,
    "budgets": budgets,
    "ahead": ahead,
}


def filled(text: str, run: Run) -> str:
    """The page with its marks filled; a workload that was not measured says so."""

    def section(found: re.Match[str]) -> str:
        name = found[1]
        if name in SECTIONS:
            made = SECTIONS[name](run)
        elif name in run["workloads"]:
            made = table(run, name)
        else:
            made = "Not part of this run."
        return f"<!-- {name} -->\n\n{made}\n\n<!-- end -->"

    return re.sub(r"<!-- (\S+) -->.*?<!-- end -->", section, text, flags=re.DOTALL)


def main() -> None:
    """Draw, fill in."""
    run: Run = json.loads(RECORD.read_text())
    for file, workloads in PLOTS.items():
        shown = [p for name in workloads if name in run["workloads"] for p in panels(run, name)]
        if shown:
            note = MORE if file == "growth" else NOTE if file == "refusals" else LESS
            (RECORD.parent / f"{file}.svg").write_text(plot(file, shown, note))
    PAGE.write_text(filled(PAGE.read_text(), run))
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
