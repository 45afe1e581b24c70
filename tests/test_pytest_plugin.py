"""The fixtures for pytest, in a pytest of their own, which finds them by itself: they work, end cleanly, and cost nothing unused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_policy_test import ROUTES
from tests.end_to_end.credentials import Issuer
from tests.end_to_end.served import configuration, write_configuration

pytest_plugins = ["pytester"]

TESTS = """
import os
from authproxy.policy import decide

URL = "https://app.test/g/1?q=1"
ENG = {"subject": "alice", "groups": ["eng"], "email": "a@app.test", "claims": {"tenant": "acme"}}

def test_policy(authproxy_policy):
    assert decide(authproxy_policy, "GET", URL, identity=ENG).allowed

def test_server(authproxy_server):
    answer = authproxy_server.request("GET", URL, identity=ENG, client="192.0.2.7", headers={"X-Forwarded-User": "root"})
    assert (answer.status, answer.code) == (200, "allow")
    assert (answer.backend["method"], answer.backend["target"]) == ("GET", "/g/1?q=1")
    headers = answer.backend["headers"]
    assert (headers["x-forwarded-user"], headers["x-forwarded-email"]) == ("alice", "a@app.test")
    assert (headers["x-forwarded-for"], headers["host"]) == ("192.0.2.7, 127.0.0.1", "app.test")
    assert "authorization" not in headers
    with open(os.environ["TOLD"], "w") as told:
        told.write(str(authproxy_server.port))

def test_refusals(authproxy_server):
    for identity, verdict, status in (({"subject": "bob"}, "forbidden", 403), (None, "unauthenticated", 401)):
        answer = authproxy_server.request("GET", URL, identity=identity)
        assert (answer.code, answer.status, answer.backend) == (verdict, status, None)
    assert authproxy_server.request("GET", "https://app.test/x").code == "no_route"
    expired = authproxy_server.token(ENG, ttl=-3600)
    assert authproxy_server.request("GET", URL, headers={"Authorization": f"Bearer {expired}"}).code == "token_expired"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose keys are nowhere: no fixture may need them."""
    upstreams = {"app": {"servers": ["http://127.0.0.1:1"]}}
    file = write_configuration(tmp_path, Issuer(), configuration(upstreams), ROUTES)
    (tmp_path / "jwks.json").unlink()
    return file


def test_policies_and_the_real_proxy_are_there(
    pytester: pytest.Pytester, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the fixtures' names alone; when the run is over nobody listens any more."""
    told = tmp_path / "told"
    monkeypatch.setenv("TOLD", str(told))
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("--authproxy-config", str(config))
    result.assert_outcomes(passed=3)
    assert not listening(int(told.read_text()))


def test_the_configuration_may_stand_in_pytests_own(
    pytester: pytest.Pytester, config: Path
) -> None:
    """From the folder of that file."""
    named = os.path.relpath(config, pytester.path)
    pytester.makeini(f"[pytest]\nauthproxy_config = {named}\n")
    pytester.makepyfile("def test_a(authproxy_policy): assert len(authproxy_policy.table.routes) == 2")  # fmt: skip
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1)


def test_a_configuration_that_is_not_there_is_said(pytester: pytest.Pytester) -> None:
    """By the option that names it, and without a traceback of ours."""
    pytester.makepyfile("def test_a(authproxy_policy): ...")
    result = pytester.runpytest_subprocess("--authproxy-config", "nowhere.yaml")
    result.assert_outcomes(errors=1)
    said = result.stdout.str()
    assert "--authproxy-config FILE" in said
    assert "nowhere.yaml:1:1: error: " in said
    assert "load.py" not in said


def listening(port: int) -> bool:
    """Does anybody listen there?"""
    table = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(f":{port:04X}" in line.split()[1] and line.split()[3] == "0A" for line in table)


def test_trap_the_plugin_costs_nothing_where_nobody_uses_it() -> None:
    """It is imported in every run of pytest on the machine: of authproxy only itself, of others only pytest."""
    program = (
        "import sys, pytest; before = set(sys.modules); import authproxy.pytest_plugin;"
        "new = set(sys.modules) - before; print(*sorted(new))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.split() == ["authproxy", "authproxy.pytest_plugin"]
