"""Fixtures for pytest: the policies of a configuration, and the real proxy with test tokens (docs/testing-policies.md).

pytest imports this in every run of everybody who has authproxy installed: nothing is imported here but pytest, until a
fixture is used.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from authproxy.cli.trial import TrialServer
    from authproxy.policy import PolicySet

OPTION = "authproxy_config"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--authproxy-config FILE`, or `authproxy_config` in pytest's own configuration."""
    text = "The authproxy.yaml that the fixtures of authproxy use."
    group = parser.getgroup("authproxy")
    group.addoption("--authproxy-config", metavar="FILE", dest=OPTION, help=text)
    parser.addini(OPTION, text, type="string", default="")


def _config(config: pytest.Config) -> str | None:
    """The file: of the command line, else of pytest's configuration (from its own folder), else as the commands find it."""
    named = config.getoption(OPTION)
    if named:
        return str(named)
    written = str(config.getini(OPTION))
    return str(config.rootpath / written) if written else None


@contextmanager
def _usable() -> Iterator[None]:
    """Where the configuration cannot be used, its problems are what the test says: no traceback of ours."""
    from authproxy.model.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        where = f"--authproxy-config FILE, or {OPTION} in pytest's configuration, says which it is"
        text = "\n".join(map(str, error.problems))
        pytest.fail(f"authproxy's configuration cannot be used ({where}):\n{text}", pytrace=False)


@pytest.fixture(scope="session")
def authproxy_policy(pytestconfig: pytest.Config) -> "PolicySet":
    """The policies, ready for `authproxy.policy.decide`; no key and no secret is read."""
    from authproxy.policy import load

    with _usable():
        return load(_config(pytestconfig))


@pytest.fixture(scope="session")
def authproxy_server(pytestconfig: pytest.Config) -> "Iterator[TrialServer]":
    """The real proxy with these policies on a free port of the loopback, a backend that tells what it got, and test tokens."""
    from authproxy.cli.trial import serve_trial

    with _usable(), serve_trial(_config(pytestconfig)) as server:
        yield server
