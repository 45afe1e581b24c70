"""The program as a whole: exit codes, help, and that no mistake of an operator ends in a traceback."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer.main

from authproxy import __version__
from authproxy.cli.main import EX_CONFIG, app
from tests.end_to_end.served import PROGRAM, environment, free_port, run


def commands() -> Iterator[tuple[str, ...]]:
    """Every command and group, by its words."""

    def walk(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield words
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, (*words, name))

    # typer brings its own copy of click's classes
    yield from walk(typer.main.get_command(app), ())  # type: ignore[arg-type]


def leaves() -> list[tuple[str, ...]]:
    """The commands that do something."""
    every = list(commands())
    return [
        words for words in every if not any(o[: len(words)] == words and o != words for o in every)
    ]


def test_the_version_is_said() -> None:
    """`--version` prints the version of the package and nothing else."""
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"authproxy {__version__}\n", "")


def test_the_commands_are_those_of_the_contract() -> None:
    """What the main job needs is there, by its name."""
    wanted = {("init",), ("serve",), ("demo",), ("check",), ("token", "issue"), ("token", "inspect"), ("token", "verify"), ("policy", "explain"), ("policy", "test"), ("policy", "schema"), ("keys", "generate"), ("certs", "create")}  # fmt: skip
    assert wanted <= set(leaves())


@pytest.mark.parametrize("words", leaves(), ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    """`--help` of every command says what it does, shows an example that names it, and exits 0."""
    from typer.testing import CliRunner

    for option in ("--help", "-h"):
        result = CliRunner().invoke(app, [*words, option], env={"COLUMNS": "200"})
        assert result.exit_code == 0
        assert re.search(rf"Examples?:\s+(.* \| )?authproxy {' '.join(words)}\b", result.stdout), (
            result.stdout
        )


def test_every_option_explains_itself() -> None:
    """No option and no argument of any command is without a word of help."""
    silent = []

    def walk(command: click.Command, words: str) -> None:
        for parameter in command.params:
            if not getattr(parameter, "help", "x"):
                silent.append(f"{words} {parameter.name}")
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, f"{words} {name}")

    walk(typer.main.get_command(app), "authproxy")  # type: ignore[arg-type]
    assert silent == []


@pytest.mark.parametrize(
    "words",
    [("nonsense",), ("serve", "--nonsense"), ("policy",), ("token", "nonsense"), ("serve", "--workers", "0"), ("serve", "--workers", "x"),
     ("check", "--format", "xml"), ("policy", "explain"), ("policy", "explain", "GET"), ("token", "issue"), ()],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_is_two(words: tuple[str, ...]) -> None:
    """Wrong usage exits 2 with a hint on stderr, or the help, and never with a traceback."""
    done = run(*words)
    assert done.returncode == 2
    assert "Usage:" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def broken(folder: Path) -> Iterator[tuple[str, ...]]:
    """Ways to name a configuration that cannot be used."""
    (folder / "garbage.yaml").write_bytes(b"\xff\xfe: [")
    (folder / "unknown.yaml").write_text("listen: x\n")
    (folder / "empty.yaml").write_text("")
    (folder / "list.yaml").write_text("- a\n")
    (folder / "tag.yaml").write_text("listeners: !!python/object/apply:os.system [id]\n")
    for name in ("garbage", "unknown", "empty", "list", "tag", "missing"):
        yield ("--config", str(folder / f"{name}.yaml"))
    yield ("--config", str(folder))


@pytest.mark.parametrize(
    "words", [("serve",), ("policy", "test"), ("policy", "explain", "GET", "http://a/"), ("token", "issue", "--subject", "a"), ("token", "verify", "x.y.z")], ids=" ".join
)  # fmt: skip
def test_a_configuration_that_cannot_be_used_is_78(words: tuple[str, ...], tmp_path: Path) -> None:
    """Every command but `check` exits 78 for it, says where and why, and prints nothing on stdout."""
    for options in list(broken(tmp_path))[:: 1 if words == ("serve",) else 3]:
        done = run(*words, *options, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (EX_CONFIG, ""), (options, done.stderr)
        assert re.search(r"^\S+:\d+:\d+: error: [a-z-]+: .+ — .+$", done.stderr, re.MULTILINE), (
            done.stderr
        )
        assert "Traceback" not in done.stderr


def test_check_is_one_for_all_of_them(tmp_path: Path) -> None:
    """`check` exits 1 for what the others exit 78 for, also when a file cannot be read."""
    for options in broken(tmp_path):
        done = run("check", *options, cwd=tmp_path)
        assert done.returncode == 1, (options, done.stderr)
        assert re.search(r"^\S+:\d+:\d+: error: ", done.stdout, re.MULTILINE)
        assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_is_no_error() -> None:
    """`authproxy policy schema | head -1` ends without a traceback."""
    command = [*PROGRAM, "policy", "schema"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(20) in {0, 1}
    assert b"Traceback" not in said


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell: str) -> None:
    """The program prints a completion script for the shells that people use."""
    code = f"import os; os.environ['_AUTHPROXY_COMPLETE'] = 'source_{shell}'; from authproxy.cli.main import app; app(prog_name='authproxy')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
        timeout=30,
    )
    assert done.returncode == 0
    assert "authproxy" in done.stdout


def test_the_help_is_quick() -> None:
    """`--help` imports neither the server nor the state: it is there at once."""
    code = "import sys; from authproxy.cli import main; print([m for m in ('aiohttp', 'lmdb', 'cel_expr_python', 'cryptography', 'pydantic') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
        timeout=30,
    )
    assert done.stdout == "[]\n"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """In plain words, without the number of the error."""
    done = run("policy", "shadow-report", "nowhere.log", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        1,
        "authproxy: nowhere.log: no such file or directory\n",
    )


def test_a_state_that_is_away_is_told_once(tmp_path: Path) -> None:
    """By the command that wanted it: what the state logs on the way there is for a server's log."""
    assert run("init", ".", cwd=tmp_path).returncode == 0
    file = tmp_path / "authproxy.yaml"
    file.write_text(f'state: {{url: "redis://127.0.0.1:{free_port()}"}}\n' + file.read_text())
    done = run("session", "list", cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("authproxy: the state cannot be used: redis://127.0.0.1:")
