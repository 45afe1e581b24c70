"""A page of the documentation as a script: its files are written, its commands are run, its outputs compared.

A block of YAML with a title is a file. In a block `console`, a line that begins with `$ ` is a command, and what follows is
what it prints. All commands of a page run in one shell, in the order of the page.
"""

import os
import re
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.served import environment

LONGEST = 120.0  # seconds for a page: one that hangs is one that fails
_BLOCK = re.compile(
    r'^```(console|yaml) ?(?:title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL
)
# What is another one each time.
_VARIES = (
    (re.compile(r"\b[0-9a-f]{32}\b"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "TIME"),
    (re.compile(r"\b\d+\.\d+ ?s\b"), "SECONDS"),
)


@dataclass(frozen=True, slots=True)
class Command:
    """A command, and what the page says it prints."""

    text: str
    wanted: str


class Shell:
    """One shell that keeps its variables and functions from command to command."""

    def __init__(self, folder: Path) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._mark = secrets.token_hex(8)
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=folder, env=environment(PATH=path, LC_ALL="C.UTF-8"), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self._patience = threading.Timer(LONGEST, self._end)
        self._patience.start()

    def run(self, command: str) -> str:
        """All that it prints; `$?` is what it left."""
        given, shown = self._process.stdin, self._process.stdout
        assert given is not None
        assert shown is not None
        given.write(f"{command}\n__=$?; echo {self._mark}; (exit $__)\n")
        given.flush()
        lines = []
        while (line := shown.readline()) and not line.endswith(f"{self._mark}\n"):
            lines.append(line)
        assert line, f"the shell ended at: {command}"
        return "".join(lines) + line.removesuffix(f"{self._mark}\n")

    def close(self) -> None:
        """End it, and all that it started."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._patience.cancel()
        self._end()
        self._process.wait()
        self._process.stdout.close()

    def _end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def commands(text: str) -> list[Command]:
    """The commands of a console block."""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    return [Command(*part.split("\n", 1)) for part in parts]


def without_what_varies(text: str) -> str:
    """The same, whenever and by whomever it is run."""
    for pattern, word in _VARIES:
        text = pattern.sub(word, text)
    return text


def replayed(page: str, folder: Path, ports: Mapping[str, str]) -> str:
    """The page with what its commands print here; `ports` are those of the page, and those that are free."""
    back = {here: there for there, here in ports.items()}
    shell = Shell(folder)

    def here(text: str, names: Mapping[str, str]) -> str:
        for one, other in names.items():
            text = re.sub(rf"\b{one}\b", other, text)
        return text

    def block(found: re.Match[str]) -> str:
        kind, title, text = found[1], found[2], found[3]
        if kind == "console":
            shown = [
                f"$ {one.text}\n{here(shell.run(here(one.text, ports)), back)}"
                for one in commands(text)
            ]
            return f"```console\n{''.join(shown)}```"
        if title:
            file = folder / title
            file.parent.mkdir(exist_ok=True)
            file.write_text(here(text, ports))
        return found[0]

    try:
        return _BLOCK.sub(block, page)
    finally:
        shell.close()
