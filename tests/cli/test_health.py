"""`authproxy health`: what the running proxy says of itself, as an exit code."""

from pathlib import Path

from tests.cli.program import run, succeed
from tests.end_to_end.served import Served, free_port


def configuration(folder: Path, admin: str) -> Path:
    """A configuration of one listener, with this for `admin`."""
    file = folder / "health.yaml"
    (folder / "policies").mkdir()
    route = "{name: all, match: {paths: [/**]}, upstream: app, authenticate: none}"
    (folder / "policies/all.yaml").write_text(f"routes: [{route}]\n")
    file.write_text(
        f'listeners: [{{address: "127.0.0.1:0"}}]\nadmin: {admin}\nupstreams: {{app: {{servers: ["http://127.0.0.1:9"]}}}}\n'
    )
    return file


def test_nobody_answers(tmp_path: Path) -> None:
    """Exit 1, and where it was asked."""
    result = run("health", "--config", configuration(tmp_path, '{address: "127.0.0.1:1"}'))
    assert result.exit_code == 1
    assert "nobody answers at 127.0.0.1:1: connection refused" in result.output


def test_without_an_admin_listener_nobody_can_be_asked(tmp_path: Path) -> None:
    """It says so, and does not call it healthy."""
    result = run("health", "--config", configuration(tmp_path, "false"))
    assert result.exit_code == 1
    assert "`admin` is false" in result.output


def test_who_is_asked_is_the_running_proxy(tmp_path: Path) -> None:
    """/healthz and /readyz of the admin listener that the configuration names, an address of every interface on loopback."""
    file = configuration(tmp_path, f'{{address: "0.0.0.0:{free_port()}"}}')
    served = Served(file)
    try:
        assert succeed("health", "--config", file) == "ok\n"
        assert succeed("health", "--ready", "--config", file) == "ready\n"
    finally:
        served.stop()
    assert run("health", "--config", file).exit_code == 1
