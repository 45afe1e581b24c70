"""`authproxy serve` from outside: the ready line, and one clear line for each thing that can be in the way."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.credentials import Issuer
from tests.end_to_end.served import Served, configuration, run, write_configuration

ROUTES = [{"name": "all", "match": {"paths": ["/**"]}, "upstream": "app", "authenticate": "none"}]


def write(folder: Path, **more: Any) -> Path:
    """A configuration with what is asked for."""
    config = configuration({"app": {"servers": ["http://127.0.0.1:1"]}}, **more)
    return write_configuration(folder, Issuer(), config, ROUTES)


def test_the_ready_line_names_every_listener(tmp_path: Path) -> None:
    """When requests are taken one line says so, with the process and the addresses, ports resolved; systemd is told too."""
    socket_file, notify = tmp_path / "proxy.sock", tmp_path / "notify.sock"
    addresses = ["127.0.0.1:0", "[::1]:0", f"unix:{socket_file}"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(notify))
        systemd.settimeout(10)
        os.environ["NOTIFY_SOCKET"] = str(notify)
        try:
            served = Served(write(tmp_path, listeners=[{"address": a} for a in addresses]))
        finally:
            del os.environ["NOTIFY_SOCKET"]
        try:
            assert served.pid == served.process.pid
            assert [one.rpartition(":")[0] for one in served.listen[:2]] == ["127.0.0.1", "[::1]"]
            assert all(port > 0 for port in served.ports)
            assert served.listen[2] == f"unix:{socket_file}"
            assert systemd.recv(100) == b"READY=1"
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(socket_file))
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                assert client.recv(100).startswith(b"HTTP/1.1 502")
        finally:
            assert served.stop() == 0
    assert not socket_file.exists()


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    """A port that is taken is exit 1 and one line that names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("serve", "--config", str(write(tmp_path, listeners=[{"address": address}])))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"authproxy: cannot listen on {address}: address already in use\n"


@pytest.mark.parametrize(
    "settings",
    [
        {"logging": {"access": {"path": "missing/access.log"}}},
        {"logging": {"access": {"path": "."}}},
    ],
    ids=["missing folder", "a folder"],
)
def test_a_log_that_cannot_be_written_is_one_line(tmp_path: Path, settings: dict[str, Any]) -> None:
    """An access log that cannot be opened is found before anything is served: exit 78, one line that names it."""
    done = run("serve", "--config", str(write(tmp_path, **settings)))
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.count("\n") == 1
    assert settings["logging"]["access"]["path"] in done.stderr


@pytest.mark.parametrize("name", ["certificate", "key", "mismatch", "garbage"])
def test_certificates_that_cannot_be_used_are_78(tmp_path: Path, name: str) -> None:
    """A certificate or key that is missing, broken or of another is a line with its place, before anything is served."""
    from tests.end_to_end.credentials import Authority

    authority = Authority(tmp_path / "authority")
    one, other = authority.issue("one.test"), authority.issue("other.test")
    (tmp_path / "garbage.pem").write_text(
        "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"
    )
    pairs = {
        "certificate": ("missing.crt", str(one.private_key)),
        "key": (str(one.certificate), "missing.key"),
        "mismatch": (str(one.certificate), str(other.private_key)),
        "garbage": ("garbage.pem", str(one.private_key)),
    }
    certificate, key = pairs[name]
    tls = {"certificates": [{"certificate": certificate, "private_key": key}]}
    done = run(
        "serve",
        "--config",
        str(write(tmp_path, listeners=[{"address": "127.0.0.1:0", "tls": tls}])),
    )
    assert (done.returncode, done.stdout) == (78, "")
    assert ": error: bad-certificate: " in done.stderr
    assert "Traceback" not in done.stderr


def test_more_workers_than_there_can_be_are_refused(tmp_path: Path) -> None:
    """With the state in memory there can be one worker: asking for two is refused in a line, and nothing is served."""
    done = run("serve", "--workers", "2", "--config", str(write(tmp_path)))
    assert done.returncode in {1, 78}
    assert done.stderr.startswith(("authproxy: ", str(tmp_path)))
    assert "worker" in done.stderr
    assert "Traceback" not in done.stderr


def test_warnings_do_not_keep_it_from_serving(tmp_path: Path) -> None:
    """What `check` only warns of is served."""
    served = Served(write(tmp_path))
    assert served.stop() == 0


def test_a_socket_left_behind_is_taken_over(tmp_path: Path) -> None:
    """A unix socket that nobody answers on is replaced; one that somebody answers on is not."""
    path = tmp_path / "proxy.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    config = write(tmp_path, listeners=[{"address": f"unix:{path}"}])
    served = Served(config)
    second = run("serve", "--config", str(config))
    assert second.returncode == 1
    assert "address already in use" in second.stderr
    assert path.exists()
    assert served.stop() == 0
