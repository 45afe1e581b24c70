"""Descriptors: all that we may have are taken, and it is said once when they are out, and once when they are back."""

import logging
import os
import resource
from collections.abc import Iterator

import pytest

from authproxy.server.descriptors import Watch, take_all


@pytest.fixture
def limit() -> Iterator[tuple[int, int]]:
    """The limit as it was, afterwards."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_is_raised(limit: tuple[int, int], caplog: pytest.LogCaptureFixture) -> None:
    """From the soft limit to the hard one, without a word where that is enough."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limit[1]))
    take_all(100)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (limit[1], limit[1])
    assert caplog.records == []


def test_too_few_are_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A hard limit that the bound on connections cannot be kept with is said at the start, with what to do."""
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (100, 100))
    monkeypatch.setattr(resource, "setrlimit", lambda _which, _limits: None)
    take_all(10)
    take_all(0)
    assert caplog.records == []
    take_all(100)
    assert "only 100 files may be open" in caplog.text
    assert "LimitNOFILE" in caplog.text


@pytest.mark.usefixtures("limit")
def test_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """However often it is looked: once that none is left, once that there are some again; and each time anew."""
    watch = Watch()
    with caplog.at_level(logging.INFO, "authproxy.server.descriptors"):
        for turn in (1, 2):
            _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            lowest = os.dup(2)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))  # none below it is free
            for _ in range(3):
                watch.look()
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            for _ in range(3):
                watch.look()
            assert len(caplog.records) == 2 * turn
    assert "no file descriptor is left" in caplog.records[0].message
    assert "again" in caplog.records[1].message
