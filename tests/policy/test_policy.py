"""The front door for other programs: policies are loaded and asked, in a few lines, the same as everywhere."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from authproxy.model.errors import ConfigError
from authproxy.policy import Decision, PolicySet, RequestError, decide, load
from tests.end_to_end.credentials import Issuer
from tests.end_to_end.served import configuration, write_configuration

ROUTE = {
    "name": "eng", "match": {"paths": ["/g/**"]}, "upstream": "app", "authenticate": ["tokens"],
    "allow": [{"groups": ["eng"]}, {"when": 'now > timestamp("2026-01-01T00:00:00Z")'}],
}  # fmt: skip
URL = "https://a.test/g/1"


@pytest.fixture
def policies(tmp_path: Path) -> PolicySet:
    """One route, and an identity by name."""
    upstreams = {"app": {"servers": ["http://127.0.0.1:1"]}}
    file = write_configuration(tmp_path, Issuer(), configuration(upstreams), [ROUTE])
    with (tmp_path / "policies" / "routes.yaml").open("a") as opened:
        opened.write("identities: {alice: {subject: alice, groups: [eng]}}\n")
    return load(file)


def test_a_decision_is_asked_for_in_a_line(policies: PolicySet) -> None:
    """By a name, by a mapping, by nobody."""
    assert decide(policies, "GET", URL, identity="alice").allowed
    assert (
        decide(policies, "GET", URL, identity={"subject": "bob"}, now=1.7e9).verdict == "forbidden"
    )
    assert decide(policies, "GET", URL).verdict == "unauthenticated"
    assert decide(policies, "GET", URL, identity={"subject": "bob"}, now=1.8e9).allowed
    assert decide(policies, "GET", URL, identity={"subject": "bob"}).allowed  # now is past 2026
    found = decide(policies, "GET", URL, identity="alice", client="192.0.2.1", headers={"X-A": "1"})
    assert isinstance(found, Decision)
    assert {"X-A": "1", "X-Forwarded-For": "192.0.2.1"}.items() <= (found.backend_headers or {}).items()  # fmt: skip


def test_what_cannot_be_asked_is_an_error(policies: PolicySet, tmp_path: Path) -> None:
    """Never a verdict: a name that nobody has must not be somebody without groups."""
    with pytest.raises(KeyError):
        decide(policies, "GET", URL, identity="nobody")
    with pytest.raises(ValueError, match="subject"):
        decide(policies, "GET", URL, identity={"groups": ["eng"]})
    with pytest.raises(RequestError):
        decide(policies, "GET", "/g/1")
    with pytest.raises(ConfigError):
        load(tmp_path / "none.yaml")


def test_trap_the_function_is_not_the_module_of_its_name() -> None:
    """Whatever was imported before: `from authproxy.policy import decide` is what can be called."""
    program = "import authproxy.policy.decide; from authproxy.policy.decide import judge; from authproxy.policy import decide; assert callable(decide), decide"  # fmt: skip
    subprocess.run([sys.executable, "-c", program], check=True)
    assert inspect.isfunction(decide)
