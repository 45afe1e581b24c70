"""Listeners while they serve: new certificates without a dropped connection, sessions that go no further than they may."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests import certificates
from tests.playbook import Proxy, playbook
from tests.server.test_client_certificates import Stage, connect, stage, status
from tests.wire import Link, request, until

__all__ = ["stage"]  # the fixture

RESUMING = [{}, {"maximum_version": ssl.TLSVersion.TLSv1_2}]


async def reload(p: Proxy) -> None:
    """Have it read everything again, and wait until that is taken over."""
    before = p.worker._runtime
    p.worker.reload()
    await until(lambda: p.worker._runtime is not before)
    await until(lambda: not p.worker._reloading.locked())


def shown(link: Link) -> int:
    """The serial number of the server's certificate on this connection."""
    der = link.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(der).serial_number


def renamed(folder: Path, pair: certificates.Pair) -> None:
    """New files take the names of the old ones, as certbot and most editors do it."""
    pair.write(folder, "server")


def in_place(folder: Path, pair: certificates.Pair) -> None:
    """The files are overwritten."""
    for suffix, path in zip((".crt", ".key"), pair.write(folder, "next"), strict=True):
        (folder / f"server{suffix}").write_text(path.read_text())


def swapped(folder: Path, pair: certificates.Pair) -> None:
    """What the names lead to is another directory, as Kubernetes does it: one symlink is replaced."""
    data = folder / "..data"
    if not data.exists():
        (folder / "..1").mkdir()
        data.symlink_to("..1")
        for name in ("server.crt", "server.key"):
            (folder / name).rename(folder / "..1" / name)
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..2").mkdir(exist_ok=True)
    pair.write(folder / "..2", "server")
    (folder / "..new").symlink_to("..2")
    (folder / "..new").rename(data)


@pytest.mark.parametrize("change", [renamed, in_place, swapped])
@pytest.mark.parametrize("mode", [None, "optional"])
async def test_new_certificates_drop_no_connection(
    stage: Stage, change: Callable[[Path, certificates.Pair], None], mode: str | None
) -> None:
    """Whoever is connected goes on, in the middle of a request too; whoever comes after is shown the new certificate."""
    listener = stage.listener("ours.pem" if mode else None)
    async with playbook(listeners=[listener]) as p:
        before, halfway = [await connect(p, stage.client(stage.robot)) for _ in range(2)]
        assert await status(before) == 200
        whole = request("POST", "/", {"Host": "localhost"}, b"body")
        await halfway.send(whole[:-2])
        new = certificates.server(stage.trusted, "localhost", "other.test")
        change(stage.folder, new)
        await reload(p)
        after = await connect(p, stage.client(stage.robot))
        assert (shown(after) == new.certificate.serial_number, shown(before) == shown(after)) == (True, False)  # fmt: skip
        await halfway.send(whole[-2:])
        assert (await halfway.answer()).status == 200
        assert [await status(link) for link in (before, halfway, after)] == [200] * 3


async def test_nobody_is_turned_away_meanwhile(stage: Stage) -> None:
    """Clients that connect while certificates change are all served."""
    async with playbook(listeners=[stage.listener(None)]) as p:
        served: list[int] = []

        async def client() -> None:
            for _ in range(12):
                link = await connect(p, stage.client())
                served.append(await status(link))
                link.close()

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client()) for _ in range(3)]
            while not all(task.done() for task in tasks):
                renamed(stage.folder, certificates.server(stage.trusted, "localhost"))
                await reload(p)
                await asyncio.sleep(0)
        assert served == [200] * 36


def resumed(
    address: tuple[str, int],
    tls: ssl.SSLContext,
    session: ssl.SSLSession | None,
    name: str = "localhost",
) -> tuple[int, bool, ssl.SSLSession | None]:
    """A request in a handshake that offers a session: its status (0: none), whether it was resumed, the new session."""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(address, 5) as raw,
        tls.wrap_socket(raw, server_hostname=name, session=session) as link,
    ):
        link.sendall(request("GET", "/", {"Host": name}))
        if answer := link.recv(65536):  # in TLS 1.3 a client learns only here that it was refused
            return int(answer.split(b" ")[1]), bool(link.session_reused), link.session
    return 0, False, None


@pytest.mark.parametrize("wishes", RESUMING, ids=["1.3", "1.2"])
async def test_a_session_goes_no_further_than_its_listener(stage: Stage, wishes: Any) -> None:
    """Resumed where it was made, with the certificate it was made with; elsewhere it is worth nothing, nor are tickets."""
    listeners = [stage.listener(), {**stage.listener("theirs.pem"), "address": "127.0.0.2:0"}, {**stage.listener(None), "address": "127.0.0.3:0"}]  # fmt: skip
    async with playbook(listeners=listeners) as p:
        tls = stage.client(stage.robot, **wishes)
        here, there, nobody = p.addresses
        first = await asyncio.to_thread(resumed, here, tls, None)
        assert first[:2] == (200, False)
        assert (await asyncio.to_thread(resumed, here, tls, first[2]))[:2] == (200, True)
        assert (await asyncio.to_thread(resumed, there, tls, first[2]))[:2] == (0, False)
        assert (await asyncio.to_thread(resumed, nobody, tls, first[2]))[:2] == (200, False)
        # And the other way round: what was made without a certificate brings none along.
        bare = await asyncio.to_thread(resumed, nobody, tls, None)
        assert (await asyncio.to_thread(resumed, here, tls, bare[2]))[:2] == (200, False)


@pytest.mark.parametrize("wishes", RESUMING, ids=["1.3", "1.2"])
async def test_a_session_does_not_outlive_its_authority(stage: Stage, wishes: Any) -> None:
    """OpenSSL resumes without asking for the certificate again; where authorities have changed there is nothing to resume."""
    async with playbook(listeners=[stage.listener()]) as p:
        tls = stage.client(stage.robot, **wishes)
        (here,) = p.addresses
        first = await asyncio.to_thread(resumed, here, tls, None)
        await reload(p)  # nothing has changed: the session is good
        assert (await asyncio.to_thread(resumed, here, tls, first[2]))[:2] == (200, True)
        (stage.folder / "ours.pem").write_text(stage.theirs.pem)
        await reload(p)
        assert (await asyncio.to_thread(resumed, here, tls, first[2]))[:2] == (0, False)


async def test_who_came_in_by_an_authority_leaves_with_it(stage: Stage) -> None:
    """Once authorities change, connections with a certificate end, after the request that is under way; others go on."""
    async with playbook(listeners=[stage.listener()]) as p:
        idle, busy = [await connect(p, stage.client(stage.robot)) for _ in range(2)]
        bare = await connect(p, stage.client())
        assert [await status(link) for link in (idle, busy, bare)] == [200] * 3
        whole = request("POST", "/", {"Host": "localhost"}, b"body")
        await busy.send(whole[:-2])
        await until(lambda: len(p.backend.seen) == 4)
        (stage.folder / "ours.pem").write_text(stage.ours.pem + stage.theirs.pem)
        await reload(p)
        assert await idle.rest() == b""
        await busy.send(whole[-2:])
        assert (await busy.answer()).status == 200
        assert await busy.rest() == b""
        assert await status(bare) == 200


async def test_bad_authorities_change_nothing(stage: Stage) -> None:
    """A reload with an authorities' file that names none is refused as a whole."""
    async with playbook(listeners=[stage.listener()]) as p:
        (stage.folder / "ours.pem").write_text("")
        p.worker.reload()
        await until(lambda: p.errors)
        assert "bad-authorities" in p.errors.pop()
        assert await status(await connect(p, stage.client(stage.robot))) == 200


async def test_a_drain_takes_no_connections(stage: Stage) -> None:
    """From its beginning on the port is closed, not only unanswered: whoever comes may go elsewhere at once."""
    async with playbook(listeners=[stage.listener(None)]) as p:
        link = await connect(p, stage.client())
        await link.send(b"GET / HTTP/1.1\r\n")
        p.worker.stop()
        await until(lambda: p.worker._servers[0].draining)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*p.addresses[0])
        await link.send(b"Host: localhost\r\n\r\n")
        assert (await link.answer()).status == 200


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_descriptors_do_not_pile_up(stage: Stage) -> None:
    """Replaced acceptors let go of their copy of the socket."""
    async with playbook(listeners=[stage.listener(None)]) as p:
        counts = []
        for _ in range(4):
            renamed(stage.folder, certificates.server(stage.trusted, "localhost"))
            await reload(p)
            await asyncio.sleep(0.05)
            counts.append(descriptors())
        assert counts[-1] <= counts[0] + 1
