"""`authproxy doctor`, as a whole."""

import json
from pathlib import Path

import pytest

from authproxy.cli.doctor import examine
from tests.cli.program import run, succeed
from tests.end_to_end.served import free_port
from tests.web.portal.browser import office


@pytest.fixture
def config(tmp_path: Path) -> Path:
    succeed("init", tmp_path)
    return tmp_path / "authproxy.yaml"


def test_a_backend_that_is_not_there_is_told(config: Path) -> None:
    """In words and as JSON, with exit code 1; a proxy that does not run is only noted."""
    ports = {
        "127.0.0.1:9000": f"127.0.0.1:{free_port()}",
        "127.0.0.1:8443": f"127.0.0.1:{free_port()}",
    }
    text = config.read_text()
    for usual, free in ports.items():
        text = text.replace(usual, free)
    config.write_text(text)
    result = run("doctor", "--config", config)
    assert result.exit_code == 1
    assert (
        f"problem  backend: the backend `app` at http://{ports['127.0.0.1:9000']} does not answer"
        in result.output
    )
    assert "         start it, or correct `servers`" in result.output
    assert f"note     through: no proxy answers at {ports['127.0.0.1:8443']}" in result.output
    found = json.loads(run("doctor", "--format", "json", "--config", config).output)
    assert {"kind", "code", "text", "remedy"} == set(found[0])


def test_a_configuration_with_errors_is_not_looked_at(config: Path) -> None:
    """`check` tells what is wrong with it."""
    config.write_text("listeners: []")
    assert run("doctor", "--config", config).exit_code != 0


async def test_a_running_proxy_is_well(tmp_path: Path) -> None:
    """Nothing is found where nothing is wrong."""
    async with office(tmp_path) as p:
        one = p.loaded.usable().listeners[0]
        object.__setattr__(one.address, "port", p.addresses[0][1])
        (tmp_path / "users.yaml").chmod(0o600)
        found = await examine(p.loaded)
    assert [one for one in found if one.kind == "problem"] == []
    assert len([one for one in found if one.code == "forged-identity"]) == 4
