"""The program as a test calls it: arguments in, what it printed and its exit code out."""

from pathlib import Path

from typer.testing import CliRunner, Result

from authproxy.cli.main import app


def run(*args: str | Path, given: str | None = None) -> Result:
    """Run a command in this process; ConfigError stays in `exception`, as `main` is what prints it."""
    return CliRunner().invoke(app, [str(arg) for arg in args], input=given)


def succeed(*args: str | Path, given: str | None = None) -> str:
    """Its stdout; fails where the command does."""
    result = run(*args, given=given)
    assert result.exit_code == 0, result.output
    return result.stdout
