"""The first five minutes: init, check, serve, a token, curl, as the README and `init` itself say."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.curl import curl
from tests.end_to_end.served import Served, free_port, run
from tests.hostile.recorder import Recorder

ALLOWED = "/some/where?x=1"


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int, Recorder]]:
    """What `init` wrote, with the ports that this machine has free."""
    folder, recorder, port = tmp_path_factory.mktemp("begun"), Recorder(), free_port()
    done = run("init", ".", "--backend", f"http://127.0.0.1:{recorder.port}", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    file = folder / "authproxy.yaml"
    text = file.read_text()
    assert "127.0.0.1:8443" in text
    file.write_text(text.replace(":8443", f":{port}").replace(":9901", f":{free_port()}"))
    yield folder, port, recorder
    recorder.close()


def test_what_init_writes_has_nothing_wrong(begun: tuple[Path, int, Recorder]) -> None:
    """`check --strict` and `policy test` find nothing in what `init` wrote, and `init` again overwrites nothing."""
    folder, _, _ = begun
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert run("check", "--strict", cwd=folder).returncode == 0
    tested = run("policy", "test", cwd=folder)
    assert (tested.returncode, " 0 failed" in tested.stdout) == (0, True)
    again = run("init", cwd=folder)
    assert again.returncode == 0
    assert "authproxy.yaml" in again.stdout
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_secrets_are_for_their_owner_only(begun: tuple[Path, int, Recorder]) -> None:
    """Private keys are written so that nobody else can read them."""
    keys = [p for p in begun[0].rglob("*") if p.is_file() and b"PRIVATE KEY" in p.read_bytes()]
    assert len(keys) >= 3
    assert [p for p in keys if p.stat().st_mode & 0o077] == []


def test_a_token_opens_the_way_to_the_backend(begun: tuple[Path, int, Recorder]) -> None:
    """With a token and the authority that `init` made, curl reaches the backend; without one it is told what is missing."""
    folder, port, recorder = begun
    served = Served(folder / "authproxy.yaml")
    try:
        issued = run("token", "issue", "--subject", "demo", cwd=folder)
        token = issued.stdout.strip()
        assert issued.stdout == token + "\n"
        url = f"https://localhost:{port}{ALLOWED}"
        authority = ["--cacert", str(folder / "certs" / "ca.crt")]
        got = curl(folder, url, *authority, token=token)
        assert (got.status, got.body) == (200, ALLOWED.encode())
        assert recorder.seen[-1].values("x-forwarded-user") == [b"demo"]
        assert recorder.faults == []
        refused = curl(folder, url, *authority)
        assert (refused.status, refused.code) == (401, "unauthenticated")
        assert refused.field("www-authenticate").startswith("Bearer")
        assert (
            curl(folder, url, token=token).exit_status == 60
        )  # not verified without the authority
        verified = run("token", "verify", token, cwd=folder)
        assert verified.returncode == 0
        explained = run("policy", "explain", "GET", url, "--token", token, cwd=folder)
        assert explained.stdout.strip().splitlines()[-1] == "verdict: allow"
    finally:
        assert served.stop() == 0
