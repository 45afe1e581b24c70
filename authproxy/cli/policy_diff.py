"""`authproxy policy diff`: what changes between two sets of policies, for whom, and a request that shows it.

All that is found out is `policy/difference.py`'s; here it is read, told, and turned into an exit code.
"""

import json
import shlex
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from authproxy.cli.options import Format, FormatOption

if TYPE_CHECKING:
    from authproxy.config.load import Loaded
    from authproxy.policy.difference import Comparison, Difference, Side, Witness

SHOWN_MOST = 4  # targets of a difference in the text; JSON has them all


class FailOn(StrEnum):
    """Which differences make the exit code 1."""

    any = "any"
    opens = "opens"
    closes = "closes"
    refusal = "refusal"
    shadow = "shadow"
    route = "route"
    limits = "limits"
    renamed = "renamed"
    none = "none"
    never = "never"  # another word for it


OldArgument = Annotated[str, typer.Argument(metavar="OLD", help="Policies as they were.")]
NewArgument = Annotated[str, typer.Argument(metavar="NEW", help="Policies as they shall be.")]
FailOnOption = Annotated[
    list[FailOn] | None,
    typer.Option(metavar="KIND", help="Exit 1 where there are such differences: opens, closes, refusal, shadow, route, limits, renamed, none, or any: all but renamed; repeatable."),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Read:
    """One of the two as it was read; `place` is where a route stands in it."""

    name: str
    loaded: "Loaded"
    shown: tuple[str, str]

    def place(self, route: str) -> str:
        """`file:line` of the route, as the argument names the files."""
        source, path = self.loaded.policies.places[route]
        return f"{source.file.replace(*self.shown)}:{source.place(path)[0]}"


def diff(
    old: OldArgument,
    new: NewArgument,
    fail_on: FailOnOption = None,
    format: FormatOption = Format.text,
) -> None:
    """Say which decisions change between two sets of policies, for whom, each with a request that shows it.

    OLD and NEW are directories of policies, policy files, configurations or their directories, or what git has:
    REVISION:DIRECTORY.

    Example: authproxy policy diff HEAD~1:policies policies --fail-on opens
    """
    from authproxy.policy.difference import KINDS, compare

    with _read(old) as before, _read(new) as after:
        tables = (before.loaded.usable_policies(), after.loaded.usable_policies())
        found = compare(*tables, time.time())
        sides = (before, after)
        if format is Format.json:
            print(json.dumps(_as_json(found, sides), indent=2, ensure_ascii=False))
        else:
            print("\n".join(_as_text(found, sides)))
    kinds = {difference.kind for difference in found.differences}
    failing = {str(kind) for kind in fail_on or [FailOn.any]}
    failing |= set(KINDS) - {"renamed"} if "any" in failing else set()
    if kinds & failing or found.bounds:
        raise typer.Exit(1)


@contextmanager
def _read(named: str) -> Iterator[Read]:
    """What the argument names, while its files are there."""
    from authproxy.config.load import load_policies, shown

    revision, colon, _ = named.partition(":")
    if not colon or Path(named).exists():
        yield Read(named, load_policies(Path(named)), ("", ""))
        return
    if not revision or named.startswith("-"):
        raise typer.BadParameter(f"{named[:80]!r} is no path, and no REVISION:DIRECTORY of git")
    with tempfile.TemporaryDirectory(prefix="authproxy-diff-") as folder:
        # git archive must stand at the top of the work tree; where `./` is, rev-parse knows.
        top = _git("rev-parse", "--show-cdup").decode().strip()
        said = f"git has no `{named[:80]}`; a directory is from the top of the repository, `REVISION:./DIRECTORY` is from here"
        tree = _git("rev-parse", "--verify", "--end-of-options", named, otherwise=said)
        _extract(top, tree.decode().strip(), folder)
        yield Read(named, load_policies(Path(folder)), (shown(Path(folder)), named.rstrip("/")))


def _extract(top: str, tree: str, folder: str) -> None:
    """What git has there, as files; passed on as it comes, however large it is."""
    git, tar = ["git", "-C", top, "archive", "--format=tar", tree], ["tar", "-x", "-C", folder]
    with subprocess.Popen(git, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as archive:  # noqa: S603  # the user's own git, in the user's own repository
        done = subprocess.run(tar, stdin=archive.stdout, capture_output=True, check=False)  # noqa: S603  # git's own archive, into a folder of ours
    if done.returncode or archive.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["git archive failed"]
        raise typer.BadParameter(f"what git has cannot be laid out in {folder}: {said[0][:200]}")


def _git(*words: str, otherwise: str = "") -> bytes:
    try:
        done = subprocess.run(["git", *words], capture_output=True, check=False)  # noqa: S603, S607  # the user's own git, in the user's own repository
    except FileNotFoundError:
        raise typer.BadParameter("git is not installed") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it failed"]
        raise typer.BadParameter(otherwise or f"git: {said[0][:200]}")
    return done.stdout


def _side(side: "Side", read: Read) -> dict[str, Any]:
    return {
        "verdict": side.outcome.code,
        "shadow": "forbidden" if side.outcome.shadow else None,
        "route": side.route.name if side.route else None,
        "place": read.place(side.route.name) if side.route else None,
    }


def arguments(witness: "Witness") -> list[str]:
    """What `policy explain` must be asked to show this request."""
    caller, words = witness.caller, [witness.method, witness.url]
    if caller.identity is not None:
        who = caller.identity
        words += ["--subject", who.subject, "--authenticator", who.authenticator]
        words += [w for group in who.groups for w in ("--group", group)]
        words += [w for scope in sorted(who.scopes) for w in ("--scope", scope)]
        claims = {k: v for k, v in who.claims.items() if k != "sub" or v != who.subject}
        for name, value in claims.items():
            words += ["--claim", f"{name}={json.dumps(value, ensure_ascii=False)}"]
    if str(caller.client) != "127.0.0.1":
        words += ["--client", str(caller.client)]
    return [*words, *(w for header in witness.headers for w in ("--header", ": ".join(header)))]


def _as_json(found: "Comparison", sides: tuple[Read, Read]) -> dict[str, Any]:
    kinds = Counter(difference.kind for difference in found.differences)
    return {
        "old": sides[0].name,
        "new": sides[1].name,
        "counts": dict(kinds),
        "differences": [_told(difference, sides) for difference in found.differences],
        "bounds": found.bounds,
    }


def _told(difference: "Difference", sides: tuple[Read, Read]) -> dict[str, Any]:
    witness = difference.witness
    who = witness.caller.identity
    return {
        "kind": difference.kind,
        "was": _side(difference.was, sides[0]),
        "now": _side(difference.now, sides[1]),
        "methods": list(difference.methods),
        "targets": list(difference.targets),
        "who": list(witness.caller.words),
        "who_not": list(witness.caller.lacks),
        "changes": list(difference.changes),
        "depends_on": list(difference.unknowns),
        "witness": {
            "method": witness.method,
            "url": witness.url,
            "client": str(witness.caller.client),
            "headers": dict(witness.headers),
            "identity": None if who is None else {
                "subject": who.subject, "authenticator": who.authenticator, "groups": list(who.groups),
                "scopes": sorted(who.scopes), "claims": dict(who.claims),
            },
            "explain": arguments(witness),
        },
        "confirmed": difference.confirmed,
    }  # fmt: skip


def _as_text(found: "Comparison", sides: tuple[Read, Read]) -> Iterator[str]:
    from authproxy.policy.difference import KINDS

    for difference in found.differences:
        yield from _lines(_told(difference, sides), KINDS[difference.kind])
        yield ""
    for bound in found.bounds:
        yield f"not compared: {bound}"
    kinds = Counter(difference.kind for difference in found.differences)
    counted = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
    total = len(found.differences)
    yield f"{total} difference{'s' if total > 1 else ''}: {counted}" if total else "no differences"


def _lines(told: Mapping[str, Any], meaning: str) -> Iterator[str]:
    targets = told["targets"]
    more = f", and {len(targets) - SHOWN_MOST} more" if len(targets) > SHOWN_MOST else ""
    yield f"{told['kind']}: {meaning}"
    yield f"  requests: {', '.join(told['methods'])} {', '.join(targets[:SHOWN_MOST])}{more}"
    yield f"  who:      {', '.join(told['who']) or 'anyone'}"
    if told["who_not"]:
        yield f"  and not:  {', '.join(told['who_not'])}"
    yield f"  was:      {_verdict(told['was'])}"
    yield f"  now:      {_verdict(told['now'])}"
    for change in told["changes"]:
        yield f"  changed:  {change}"
    for source in told["depends_on"]:
        yield f"  unknown:  it depends on what this comes to: when: {source}"
    confirmed = "" if told["confirmed"] else "  # shows it where the unknown comes to that"
    yield f"  witness:  authproxy policy explain {shlex.join(told['witness']['explain'])}{confirmed}"


def _verdict(side: Mapping[str, Any]) -> str:
    withheld = f" ({side['shadow']} is withheld)" if side["shadow"] else ""
    route = f" by {side['route']} ({side['place']})" if side["route"] else ""
    return f"{side['verdict']}{withheld}{route}"
