"""From a configuration to a service: what is wrong shows before anything is bound, and what later workers begin with."""

import gc
import json
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from authproxy.config.load import Loaded, load
from authproxy.model.errors import ConfigError
from authproxy.policy.document import PolicyDocument
from authproxy.runtime import compile_runtime
from authproxy.server.reload import Watch
from authproxy.server.sockets import ListenError
from authproxy.server.start import _bind, _Service, say, start
from authproxy.telemetry.metrics import Pages
from tests.playbook import GUARDED, OPEN, configuration, write_files


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """What `start` blocks is blocked for its own process only."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, set())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def written(folder: Path, **config: object) -> Loaded:
    """A configuration in a folder."""
    return write_files(folder, configuration("http://127.0.0.1:1", **config), [OPEN, GUARDED])


def test_what_it_says_is_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    """No time, no level, no name: greppable to the letter, and there at once."""
    say("authproxy ready pid=1 listen=a")
    assert capsys.readouterr() == ("", "authproxy ready pid=1 listen=a\n")


def test_several_workers_cannot_share_a_memory(tmp_path: Path) -> None:
    """`--workers` is held to what `workers` is held to: an error with its place, before anything is bound."""
    with pytest.raises(ConfigError) as caught:
        start(written(tmp_path), 2)
    problem = caught.value.problems[0]
    assert (problem.code, "--workers 1" in problem.remedy) == ("memory-of-one-worker", True)


def test_keys_are_read_before_anything_is_bound(tmp_path: Path) -> None:
    """A key file that is wrong is an error even where the address is taken as well."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        loaded = written(tmp_path, listeners=[{"address": address}])
        good = (tmp_path / "jwks.json").read_text()
        (tmp_path / "jwks.json").write_text("{}")
        with pytest.raises(ConfigError):
            start(loaded, None)
        (tmp_path / "jwks.json").write_text(good)
        with pytest.raises(ListenError, match="in use"):
            start(loaded, None)


def test_sighup_waits_until_it_can_be_answered(tmp_path: Path) -> None:
    """A SIGHUP that comes before there is a handler does not end the process."""
    with pytest.raises(ConfigError):
        start(written(tmp_path), 2)
    # To this thread alone: another test's threads have not blocked it, and it would end them all.
    signal.pthread_kill(threading.get_ident(), signal.SIGHUP)
    assert signal.SIGHUP in signal.sigpending()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_what_is_written_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While serving, the documents of the files and their places are gone: only what was compiled of them is there."""
    written(tmp_path, state={"url": "memory:"}, listeners=[{"address": "127.0.0.1:0"}])
    left: list[object] = []

    def alone(service: _Service) -> int:
        left.extend(o for o in gc.get_objects() if isinstance(o, Loaded | PolicyDocument))
        for one in service.listening:
            one.sock.close()
        service.runtime.access_log.close()
        return 0

    gc.collect()
    monkeypatch.setattr(_Service, "alone", alone)
    start(load(tmp_path / "authproxy.yaml"), 1)  # within an assert, pytest would keep it
    assert left == []


def test_later_workers_begin_with_what_was_last_taken_over(tmp_path: Path) -> None:
    """A good reload changes what a new worker is started with; a bad one does not, and is told with its problems."""
    loaded = written(tmp_path)
    listening, admin = _bind(loaded)
    service = _Service(
        loaded.file, compile_runtime(loaded, {}), listening, admin, Pages(2), Watch(loaded)
    )
    first = service.runtime
    routes = tmp_path / "policies" / "routes.yaml"
    routes.write_text("routes: [")
    problems = service._problems()
    assert problems
    assert service.runtime is first
    routes.write_text(json.dumps({"routes": [OPEN]}))
    assert service._problems() is None
    assert [route.name for route in service.runtime.table.routes] == ["open"]
    assert service.runtime.store is first.store
    for one in listening:
        one.sock.close()
    service.runtime.access_log.close()
