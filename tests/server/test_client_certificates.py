"""Listeners that ask for client certificates: who gets in, as whom, under which name, and what outlives a handshake."""

import asyncio
import datetime as dt
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from authproxy.model.errors import ConfigError
from authproxy.server import worker
from authproxy.server.tls import read_certificates
from tests import certificates
from tests.playbook import GUARDED, OPEN, Proxy, configuration, playbook, write_files
from tests.wire import Json, Link, answering, request

OLD = {"maximum_version": ssl.TLSVersion.TLSv1_2}


@dataclass
class Stage:
    """A server's certificate, two authorities of clients, and a client of each."""

    folder: Path

    def __post_init__(self) -> None:
        self.trusted = certificates.authority("servers")
        self.ours, self.theirs = certificates.authority("ours"), certificates.authority("theirs")
        self.write("server", certificates.server(self.trusted, "localhost", "other.test"))
        (self.folder / "ours.pem").write_text(self.ours.pem)
        (self.folder / "theirs.pem").write_text(self.theirs.pem)
        self.robot = self.write("robot", certificates.issue(self.ours, certificates.name("robot")))
        self.stranger = self.write(
            "stranger", certificates.issue(self.theirs, certificates.name("stranger"))
        )

    def write(self, stem: str, pair: certificates.Pair) -> tuple[Path, Path]:
        """A pair as files."""
        return pair.write(self.folder, stem)

    def listener(
        self, authorities: str | None = "ours.pem", mode: str = "optional", **more: Any
    ) -> Json:
        """A listener that asks for certificates of these authorities."""
        pair = {"certificate": str(self.folder / "server.crt"), "private_key": str(self.folder / "server.key")}  # fmt: skip
        tls: Json = {"certificates": [pair], **more}
        if authorities is not None:
            tls["client_certificates"] = {
                "authorities": str(self.folder / authorities),
                "mode": mode,
            }
        return {"address": "127.0.0.1:0", "tls": tls}

    def client(
        self, shown: tuple[Path, Path] | None = None, **wishes: ssl.TLSVersion
    ) -> ssl.SSLContext:
        """A client that trusts the server and shows a certificate."""
        return certificates.client_context(self.trusted, shown, **wishes)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """The certificates."""
    return Stage(tmp_path)


async def connect(
    p: Proxy, tls: ssl.SSLContext, listener: int = 0, name: str = "localhost"
) -> Link:
    """A connection that asks for a name."""
    host, port = p.addresses[listener]
    link = Link(*await asyncio.open_connection(host, port, ssl=tls, server_hostname=name))
    p.links.append(link)
    return link


async def status(link: Link, host: str = "localhost") -> int:
    """What a request on this connection is answered with; 0 where it is not answered."""
    try:
        await link.send(request("GET", "/", {"Host": host}))
        return (await link.answer()).status
    except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
        return 0


async def outcome(p: Proxy, tls: ssl.SSLContext) -> int:
    """What a first request comes to; 0 where the handshake fails. In TLS 1.3 the client learns of that after it."""
    try:
        return await status(await connect(p, tls))
    except (ConnectionError, ssl.SSLError):
        return 0


@pytest.mark.parametrize("wishes", [{}, OLD], ids=["1.3", "1.2"])
@pytest.mark.parametrize("mode", ["optional", "required"])
async def test_who_gets_in(stage: Stage, mode: str, wishes: Any) -> None:
    """A good certificate always; none where it is optional; one that does not verify never, nor an expired one."""
    gone = certificates.issue(
        stage.ours, certificates.name("gone"), begins=dt.datetime(2020, 1, 1, tzinfo=dt.UTC), ends=dt.datetime(2021, 1, 1, tzinfo=dt.UTC),
    )  # fmt: skip
    async with playbook(listeners=[stage.listener(mode=mode)]) as p:
        assert await outcome(p, stage.client(stage.robot, **wishes)) == 200
        assert await outcome(p, stage.client(None, **wishes)) == (200 if mode == "optional" else 0)
        assert await outcome(p, stage.client(stage.stranger, **wishes)) == 0
        assert await outcome(p, stage.client(stage.write("gone", gone), **wishes)) == 0
        assert len(p.backend.seen) == (2 if mode == "optional" else 1)


async def test_an_intermediate_authority_is_trusted_alone(stage: Stage) -> None:
    """What the file names is trusted: also an authority whose own issuer is not in it, and none of the issuer's others."""
    between = certificates.authority("between", stage.ours)
    (stage.folder / "between.pem").write_text(between.pem)
    below = stage.write("below", certificates.issue(between, certificates.name("below")))
    async with playbook(listeners=[stage.listener("between.pem", "required")]) as p:
        assert await outcome(p, stage.client(below)) == 200
        assert await outcome(p, stage.client(stage.robot)) == 0


async def test_the_host_is_the_name_of_the_handshake(stage: Stage) -> None:
    """Another Host than the SNI is 421 where certificates are asked for, and nowhere else; the connection goes on."""
    listeners = [stage.listener(), {**stage.listener(None), "address": "127.0.0.2:0"}]
    async with playbook(listeners=listeners) as p:
        link = await connect(p, stage.client())
        await link.send(request("GET", "/", {"Host": "other.test"}))
        answer = await link.answer()
        assert (answer.status, answer.code) == (421, "misdirected")
        for host in ("localhost", "LOCALHOST", "localhost.:8443"):
            assert await status(link, host) == 200
        assert await status(link, "127.0.0.1") == 421
        assert (
            await status(await connect(p, stage.client(), name="other.test"), "other.test") == 200
        )
        assert await status(await connect(p, stage.client(), listener=1), "other.test") == 200


async def test_who_asks_for_no_name_may_name_an_address(stage: Stage) -> None:
    """Without SNI the Host is an address, of either kind, or the request is misdirected."""
    anonymous = stage.client()
    anonymous.check_hostname = False
    async with playbook(listeners=[stage.listener()]) as p:
        link = await connect(p, anonymous, name="")
        for host, expected in (("127.0.0.1", 200), ("[::1]:8443", 200), ("localhost", 421), ("127.0.0.1.nip.test", 421)):  # fmt: skip
            assert await status(link, host) == expected


async def test_a_trusted_proxy_may_name_another_host(stage: Stage) -> None:
    """The name of the handshake is held against the Host field as it was sent, not against the host that is forwarded."""
    trusted = {"networks": ["127.0.0.0/8"], "host": True}
    async with playbook(listeners=[stage.listener()], trusted_proxies=trusted) as p:
        link = await connect(p, stage.client())
        for host, expected in (("localhost", 200), ("other.test", 421)):
            await link.send(request("GET", "/", {"Host": host, "X-Forwarded-Host": "localhost"}))
            assert (await link.answer()).status == expected


def spoiled(stage: Stage) -> dict[str, tuple[str | None, str]]:
    """What an authorities' file may hold that makes it useless: its text, and what is said of it."""
    broken = stage.ours.pem.replace("A", "B", 5)
    return {
        "missing": (None, "cannot be read: no such file"),
        "empty": ("", "empty certificate data"),
        "no certificate": ("-----BEGIN NOTHING-----\n", "no certificate in it"),
        "broken": (stage.theirs.pem + broken, "is broken"),
        "revocation list": (stage.ours.pem + "-----BEGIN X509 CRL-----\n", "revocation list"),
    }


@pytest.mark.parametrize(
    "kind", ["missing", "empty", "no certificate", "broken", "revocation list"]
)
def test_authorities_that_are_none_refuse_to_start(stage: Stage, kind: str) -> None:
    """A listener never starts with fewer authorities than its file was meant to name (facts 123)."""
    text, said = spoiled(stage)[kind]
    if text is not None:
        (stage.folder / "spoiled.pem").write_text(text)
    config = configuration("http://127.0.0.1:1", listeners=[stage.listener("spoiled.pem")])
    loaded = write_files(stage.folder, config, [OPEN])
    tls = loaded.usable().listeners[0].tls
    assert tls is not None
    with pytest.raises(ConfigError) as failed:
        read_certificates(loaded, 0, tls)
    (problem,) = failed.value.problems
    assert problem.code == "bad-authorities"
    assert said in problem.text
    assert problem.column > 1


def test_text_between_authorities_is_passed_over(stage: Stage) -> None:
    """Bundles name their authorities in any language."""
    (stage.folder / "ours.pem").write_text(
        f"# Autorité n° 1\n{stage.ours.pem}# 機関\n{stage.theirs.pem}"
    )
    loaded = write_files(stage.folder, configuration("http://127.0.0.1:1", listeners=[stage.listener()]), [OPEN])  # fmt: skip
    tls = loaded.usable().listeners[0].tls
    assert tls is not None
    assert read_certificates(loaded, 0, tls).context.cert_store_stats()["x509"] == 2


MACHINES: Json = {
    "name": "machines", "match": {"paths": ["/**"]}, "upstream": "backend", "authenticate": ["machines"],
    "allow": [{"subjects": ["robot"]}],
}  # fmt: skip
CERTIFIED: Json = {"machines": {"type": "certificate", "subject": "cn"}}


async def test_the_certificate_is_the_identity(stage: Stage) -> None:
    """Its name is what the policy asks for, what the backend is told, and what the log says; without it nobody is there."""
    async with playbook(MACHINES, listeners=[stage.listener()], authenticators=CERTIFIED) as p:
        link, nobody = await connect(p, stage.client(stage.robot)), await connect(p, stage.client())
        for _ in range(3):
            assert (await status(link), await status(nobody)) == (200, 401)
        assert [m.field("x-forwarded-user") for m in p.backend.seen] == ["robot"] * 3
        lines = await p.logged(6)
        assert [(x["subject"], x["code"]) for x in lines[:2]] == [("robot", None), (None, "unauthenticated")]  # fmt: skip
        assert p.runtime.cache.hits == 2


async def test_streams_end_with_the_certificate(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """An event stream is cut at `notAfter`, and the connection's next request would be too late."""
    monkeypatch.setattr(worker, "TICK", 0.05)
    ends = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=2)
    short = stage.write("short", certificates.issue(stage.ours, certificates.name("robot"), ends=ends))  # fmt: skip

    async def events(_request: object, link: Link) -> None:
        await link.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await link.rest()

    async with playbook(MACHINES, play=events, listeners=[stage.listener()], authenticators=CERTIFIED) as p:  # fmt: skip
        link = await connect(p, stage.client(short))
        idle = await connect(p, stage.client(short))
        await link.send(request("GET", "/events", {"Host": "localhost"}))
        cut = await link.answer()
        assert (cut.status, cut.whole) == (200, False)
        assert 0 <= dt.datetime.now(dt.UTC).timestamp() - ends.timestamp() < 1
        await idle.send(request("GET", "/", {"Host": "localhost"}))
        assert (await idle.answer()).code == "token_expired"
        assert {x["code"] for x in await p.logged(2)} == {"token_expired"}


@pytest.mark.parametrize(
    ("hsts", "value"), [("365d", "max-age=31536000"), (0, "max-age=0"), (None, None)]
)
async def test_hsts_is_said_by_every_answer(stage: Stage, hsts: Any, value: str | None) -> None:
    """Once, on answers of the backend and on our own, whatever the backend says; only where the listener is told to."""
    more = {} if hsts is None else {"hsts": hsts}
    play = answering(
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nstrict-Transport-Security: max-age=1\r\n\r\n"
    )
    async with playbook(OPEN, GUARDED, play=play, listeners=[stage.listener(None, **more)]) as p:
        link = await connect(p, stage.client())
        for target, status, without in (
            ("/", 200, "max-age=1"),
            ("/guarded/x", 401, None),
            ("/a//b", 400, None),
        ):
            await link.send(request("GET", target, {"Host": "localhost"}))
            answer = await link.answer()
            assert (answer.status, answer.field("strict-transport-security")) == (
                status,
                value or without,
            )
