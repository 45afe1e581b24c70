"""Forged names: straight to backends and through the proxy; what is said is what can be seen from outside."""

import re
from pathlib import Path

import pytest

from authproxy.cli.doctor_findings import Finding
from authproxy.cli.doctor_paths import NAMES, _backend, backends, through
from authproxy.config.load import Loaded
from authproxy.runtime import UpstreamSettings
from authproxy.upstream.connection import Timeouts
from authproxy.upstream.pool import Server
from tests.cli.answers import answering
from tests.playbook import GUARDED, OPEN, configuration, playbook, write_files
from tests.wire import until


def at(folder: Path, port: int, **more: object) -> Loaded:
    """A configuration whose backend is there."""
    return write_files(folder, configuration(f"http://127.0.0.1:{port}", **more), [OPEN, GUARDED])


def believing(head: str) -> tuple[list[str], bytes]:
    """A backend that lets in who says a name."""
    return (
        (["HTTP/1.1 200 OK"], b"")
        if "x-forwarded-user" in head.lower()
        else (["HTTP/1.1 401 No"], b"")
    )


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [("200 OK", "note", "answers 200 without the proxy"), ("401 No", "ok", "answers 401 to a forged name"), ("", "problem", "believes whoever reaches it")],
)  # fmt: skip
async def test_a_backend_is_asked_without_the_proxy(
    tmp_path: Path, status: str, kind: str, words: str
) -> None:
    """Once as nobody and once with a forged name; whether it believes the name is only said where it shows."""
    async with answering(
        believing if not status else lambda _: ([f"HTTP/1.1 {status}"], b"")
    ) as there:
        (found,) = [one async for one in backends(at(tmp_path, there.port))]
    assert (found.kind, found.code) == (kind, "forged-identity")
    assert words in found.text
    assert len(there.asked) == 2
    assert not any(name.lower() in there.asked[0].lower() for name in NAMES)
    assert all(f"\r\n{name}: doctor-" in there.asked[1] for name in NAMES)


async def test_a_backend_that_others_can_reach_is_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unless what it is told is signed."""
    async with answering(lambda _: (["HTTP/1.1 200 OK"], b"")) as there:
        monkeypatch.setattr("authproxy.cli.doctor_paths.is_loopback", lambda _host: False)
        server = Server.parse(f"http://127.0.0.1:{there.port}")
        settings = UpstreamSettings((server,), Timeouts(), None, None)
        for signed, kind in ((False, "problem"), (True, "note")):
            assert (await _backend("it", server, settings, signed=signed)).kind == kind


async def test_a_backend_that_is_away_is_a_problem(tmp_path: Path) -> None:
    """With what to do."""
    (found,) = [one async for one in backends(at(tmp_path, 1))]
    assert (found.kind, found.code) == ("problem", "backend")


async def asked(listener: int, **more: object) -> list[Finding]:
    """What is said of the routes of a running proxy."""
    async with playbook(**more) as p:  # type: ignore[arg-type]  # a play
        one = p.loaded.usable().listeners[0]
        object.__setattr__(one.address, "port", p.addresses[0][1] if listener else 1)
        found = [one async for one in through(p.loaded)]
        await until(lambda: True)
        return found


async def test_the_proxy_is_asked_with_nothing_but_a_name() -> None:
    """Routes that want a credential refuse; the open one does not pass the name on."""
    found = await asked(1)
    assert [(one.kind, one.code) for one in found] == [("ok", "forged-identity")] * 2
    assert "answers 401" in found[1].text


async def test_a_name_that_comes_through_is_a_problem() -> None:
    """Whoever passed it on: here a backend that makes it up, as no question to the right proxy brings it back."""
    found = await asked(0)
    assert [one.kind for one in found] == ["note"]
    assert "no proxy answers" in found[0].text


async def test_another_program_at_our_address_is_found_out(tmp_path: Path) -> None:
    """One that lets everybody in, and one that says the name back."""

    def echo(head: str) -> tuple[list[str], bytes]:
        name = re.search(r"doctor-[0-9a-f]{16}", head)
        guarded = head.startswith("GET /guarded/")
        return ["HTTP/1.1 200 OK"], b"" if guarded or name is None else name[0].encode()

    async with answering(echo) as there:
        loaded = at(tmp_path, 1, listeners=[{"address": f"127.0.0.1:{there.port}"}])
        found = [one async for one in through(loaded)]
    assert [one.kind for one in found] == ["problem", "problem"]
    assert "came back in the answer" in found[0].text
    assert "answers 200 to a forged name" in found[1].text
