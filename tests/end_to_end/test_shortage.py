"""A full disk, a reader that left, too few file descriptors, no place for state: requests go on (facts 118, 130)."""

import http.client
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.credentials import Issuer
from tests.end_to_end.served import (
    PROGRAM,
    READY,
    Served,
    configuration,
    environment,
    wait_until,
    write_configuration,
)
from tests.hostile.recorder import Recorder

ROUTES: list[dict[str, Any]] = [
    {"name": "all", "match": {"paths": ["/**"]}, "upstream": "app", "authenticate": "none"},
    {"name": "counted", "match": {"paths": ["/counted"]}, "upstream": "app", "authenticate": "none", "rate_limits": [{"limit": "100/minute", "per": "address"}]},
]  # fmt: skip
DESCRIPTORS = 100


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    """A backend."""
    made = Recorder()
    yield made
    made.close()


def write(folder: Path, recorder: Recorder, **more: Any) -> Path:
    """A configuration with what is asked for."""
    config = configuration({"app": {"servers": [f"http://127.0.0.1:{recorder.port}"]}})
    return write_configuration(folder, Issuer(), {**config, **more}, ROUTES)


def ask(port: int, path: str = "/x") -> int:
    """The status of a request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def test_a_full_disk_fails_no_request(tmp_path: Path, recorder: Recorder) -> None:
    """Where the log cannot be written lines are lost, requests are not."""
    served = Served(write(tmp_path, recorder, logging={"access": {"path": "/dev/full"}}))
    try:
        for _ in range(3):
            assert ask(served.ports[0]) == 200
            time.sleep(0.25)  # past a flush
    finally:
        assert served.stop() == 0
    assert "Traceback" not in served.errors()


def test_a_log_reader_that_leaves_ends_nothing(tmp_path: Path, recorder: Recorder) -> None:
    """`authproxy serve | head` goes on serving when head has ended, and still ends with 0."""
    file = write(tmp_path, recorder)
    with subprocess.Popen(
        [*PROGRAM, "serve", "--config", str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        ready = READY.search(process.stderr.readline().decode())
        assert ready is not None
        port = int(ready[2].rpartition(":")[2])
        process.stdout.close()
        for _ in range(3):
            assert ask(port) == 200
            time.sleep(0.25)
        process.terminate()
        said = process.stderr.read()
        assert process.wait(10) == 0
    assert b"Traceback" not in said


def test_too_few_descriptors_are_survived(tmp_path: Path, recorder: Recorder) -> None:
    """Twice as many clients as descriptors: it neither ends nor spins, and serves again once they are gone."""
    file, errors = write(tmp_path, recorder), tmp_path / "serve.err"
    limit = f"import resource, os, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({DESCRIPTORS}, {DESCRIPTORS})); os.execv(sys.argv[1], sys.argv[1:])"
    command = [PROGRAM[0], "-c", limit, *PROGRAM, "serve", "--config", str(file)]
    with errors.open("wb") as err, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=err, env=environment()) as process:  # fmt: skip
        found = wait_until(lambda: READY.search(errors.read_text()), 20)
        port = int(found[2].rpartition(":")[2])
        for _ in range(2):
            clients = [
                socket.create_connection(("127.0.0.1", port), 5) for _ in range(2 * DESCRIPTORS)
            ]
            before = _seconds_of(process.pid)
            time.sleep(1)
            assert _seconds_of(process.pid) - before < 0.3
            # a client that cannot be served is not left waiting
            assert sum(map(_is_over, clients)) >= DESCRIPTORS
            for client in clients:
                client.close()
            assert wait_until(lambda: _served(port), 5)
            time.sleep(0.3)
        process.terminate()
        assert process.wait(10) == 0
    said = errors.read_text()
    assert "only 100 files may be open" in said
    assert (said.count("no file descriptor is left"), said.count("descriptors again")) == (2, 2)
    assert len(said.splitlines()) == 6, said  # with the line that it is ready


def _is_over(client: socket.socket) -> bool:
    client.settimeout(0.01)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def _served(port: int) -> bool:
    try:
        return ask(port) == 200
    except OSError:
        return False


def _seconds_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_without_a_place_for_state_only_what_needs_it_is_refused(
    tmp_path: Path, recorder: Recorder
) -> None:
    """A state that cannot be opened is said once; routes with limits answer 503 `state_unavailable`, the others serve."""
    (tmp_path / "taken").write_text("a file where a directory should be")
    served = Served(write(tmp_path, recorder, state={"url": "lmdb:taken/state"}))
    try:
        assert ask(served.ports[0]) == 200
        assert ask(served.ports[0], "/counted") == 503
        codes = wait_until(
            lambda: len(served.log()) == 2 and [line["code"] for line in served.log()]
        )
        assert codes == [None, "state_unavailable"]
    finally:
        assert served.stop() == 0
    assert len(re.findall("state store cannot be opened", served.errors())) == 1
