"""Client certificates as `kubectl` and its like use them: made by Debian's openssl, shown by curl, named by a policy."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end import openssl
from tests.end_to_end.credentials import Authority, Issuer
from tests.end_to_end.curl import Got, curl
from tests.end_to_end.load import Background, QuickBackend
from tests.end_to_end.served import (
    Served,
    configuration,
    run,
    wait_until,
    write_configuration,
)

ROBOT, DRONE = "spiffe://acme.test/robot", "spiffe://acme.test/drone"
MACHINES: dict[str, Any] = {"machines": {"type": "certificate", "subject": "san-uri"}}


@dataclass
class Stage:
    """The running server; its folder holds what it was started with."""

    served: Served
    folder: Path
    trusted: Path
    issuer: Issuer

    def curl(self, path: str, *options: str, token: str = "", listener: int = 0) -> Got:
        """Ask with curl, which verifies the server."""
        port = self.served.ports[listener]
        verify = ["--cacert", str(self.trusted), "--resolve", f"a.test:{port}:127.0.0.1"]
        return curl(self.folder, f"https://a.test:{port}{path}", *verify, *options, token=token)


def route(name: str, **more: Any) -> dict[str, Any]:
    """A route at /NAME for the clients' certificates."""
    return {"name": name, "match": {"paths": [f"/{name}"]}, "upstream": "app", "authenticate": ["machines"], **more}  # fmt: skip


ROUTES = [
    route("robots", allow=[{"subjects": [ROBOT]}]),
    route("acme", allow=[{"when": 'identity.subject.startsWith("spiffe://acme.test/") && claims.issuer == "CN=clients"'}]),
    route("either", authenticate=["machines", "tokens"], allow="authenticated"),
    route("open", authenticate="none"),
]  # fmt: skip


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Two workers with two listeners: one that wants certificates of `clients`, and one that asks for none."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("clients", "others"):
        openssl.authority(folder, name)
    authority, issuer = Authority(folder / "server"), Issuer()
    pair = authority.issue("a.test", "b.test")
    shown = {"certificates": [{"certificate": str(pair.certificate), "private_key": str(pair.private_key)}]}  # fmt: skip
    asked = {"authorities": "clients.crt", "mode": "optional"}
    listeners = [
        {"address": "127.0.0.1:0", "tls": {**shown, "client_certificates": asked}},
        {"address": "127.0.0.1:0", "tls": shown},
    ]
    background = Background()
    backend = QuickBackend(background)
    config = configuration({"app": {"servers": [f"http://127.0.0.1:{backend.port}"]}}, listeners=listeners, workers=2)  # fmt: skip
    config["authenticators"] |= MACHINES
    config["state"] = {"url": "lmdb:state"}
    served = Served(write_configuration(folder, issuer, config, ROUTES))
    yield Stage(served, folder, authority.file, issuer)
    status = served.stop()
    backend.stop()
    background.stop()
    assert status == 0
    assert "Traceback" not in served.errors()


def test_policy_by_san_uri(stage: Stage) -> None:
    """The URI of the certificate is the subject: the route that names it is open to it, and closed to another."""
    robot = openssl.client(stage.folder, "clients", "robot", f"URI:{ROBOT}")
    drone = openssl.client(stage.folder, "clients", "drone", f"URI:{DRONE},DNS:drone.acme.test")
    found = {who: [stage.curl(path, *shown).status for path in ("/robots", "/acme", "/open")] for who, shown in (("robot", robot), ("drone", drone), ("nobody", []))}  # fmt: skip
    assert found == {"robot": [200, 200, 200], "drone": [403, 200, 200], "nobody": [401, 401, 200]}
    got = stage.curl("/robots", *robot)
    line = stage.served.log_of(got.field("x-request-id"))
    assert (line["subject"], line["authenticator"], line["decision"]) == (
        ROBOT,
        "machines",
        "allow",
    )


def test_an_authority_that_nobody_trusts_fails_the_handshake(stage: Stage) -> None:
    """Not even what is open to anyone is answered."""
    stranger = openssl.client(stage.folder, "others", "stranger", f"URI:{ROBOT}")
    got = stage.curl("/open", *stranger)
    assert (got.exit_status != 0, got.status) == (True, 0)


def test_where_nobody_asks_a_certificate_says_nothing(stage: Stage) -> None:
    """The listener that asks for none serves the same routes, and takes nobody for a machine; headers say nothing either."""
    robot = openssl.client(stage.folder, "clients", "robot-2", f"URI:{ROBOT}")
    pem = (stage.folder / "robot-2.crt").read_text().replace("\n", "")
    assert stage.curl("/robots", *robot, listener=1).status == 401
    for name in ("Client-Cert", "X-Forwarded-Client-Cert", "X-SSL-Client-Cert"):
        assert stage.curl("/robots", "--header", f"{name}: {pem}").status == 401


def test_a_certificate_and_a_token(stage: Stage) -> None:
    """The route's list decides: the certificate first, and who has none of its kind may still have a token."""
    robot = openssl.client(stage.folder, "clients", "robot-3", f"URI:{ROBOT}")
    bare = openssl.client(stage.folder, "clients", "bare")
    token = stage.issuer.token()
    for shown, presented, subject in ((robot, token, ROBOT), (robot, "", ROBOT), (bare, token, "alice"), ([], token, "alice")):  # fmt: skip
        got = stage.curl("/either", *shown, token=presented)
        assert got.status == 200
        assert stage.served.log_of(got.field("x-request-id"))["subject"] == subject
    both = openssl.client(stage.folder, "clients", "both", f"URI:{ROBOT},URI:{DRONE}")
    assert stage.curl("/either", *both, token=token).code == "token_invalid"


def test_the_host_must_be_the_name_of_the_handshake(stage: Stage) -> None:
    """Curl asks for one name and says another one: 421, though the certificate is for both."""
    got = stage.curl("/open", "--header", "Host: b.test")
    assert (got.status, got.code) == (421, "misdirected")
    assert stage.curl("/open", "--header", "Host: b.test", listener=1).status == 200


def test_what_explain_says(stage: Stage) -> None:
    """`policy explain` decides for a certificate's identity as the server does."""
    url, config = "https://a.test/robots", ("--config", str(stage.folder / "authproxy.yaml"))
    for subject, verdict in ((ROBOT, "allow"), (DRONE, "forbidden")):
        told = run("policy", "explain", "GET", url, "--subject", subject, "--authenticator", "machines", *config)  # fmt: skip
        assert told.stdout.splitlines()[-1] == f"verdict: {verdict}"


def test_authorities_change_while_it_serves(stage: Stage) -> None:
    """A new authorities' file is picked up by every worker: the new authority's clients get in, the old one's no more."""
    old = openssl.client(stage.folder, "clients", "old", f"URI:{ROBOT}")
    new = openssl.client(stage.folder, "others", "new", f"URI:{ROBOT}")
    assert (stage.curl("/robots", *old).status, stage.curl("/robots", *new).status) == (200, 0)
    kept = (stage.folder / "clients.crt").read_text()
    try:
        (stage.folder / "next").write_text((stage.folder / "others.crt").read_text())
        (stage.folder / "next").rename(stage.folder / "clients.crt")
        assert wait_until(lambda: all(stage.curl("/robots", *new).status == 200 for _ in range(8)), 15)  # fmt: skip
        assert {stage.curl("/robots", *old).status for _ in range(8)} == {0}
        (stage.folder / "clients.crt").write_text("")
        assert wait_until(lambda: "bad-authorities" in stage.served.errors())
        assert stage.curl("/robots", *new).status == 200
    finally:
        (stage.folder / "clients.crt").write_text(kept)


@pytest.mark.parametrize("content", [None, "", "nothing"])
def test_authorities_that_are_none_refuse_to_start(tmp_path: Path, content: str | None) -> None:
    """`serve` ends with 78 and says where; `check` says the same."""
    pair = Authority(tmp_path / "server").issue("a.test")
    if content is not None:
        (tmp_path / "clients.crt").write_text(content)
    tls = {
        "certificates": [{"certificate": str(pair.certificate), "private_key": str(pair.private_key)}],
        "client_certificates": {"authorities": "clients.crt"},
    }  # fmt: skip
    config = configuration({"app": {"servers": ["http://127.0.0.1:9"]}}, listeners=[{"address": "127.0.0.1:0", "tls": tls}], authenticators=MACHINES)  # fmt: skip
    file = write_configuration(tmp_path, Issuer(), config, [route("robots", allow="authenticated")])
    served, checked = run("serve", "--config", str(file)), run("check", "--config", str(file))
    assert (served.returncode, checked.returncode) == (78, 1)
    for said in (served.stderr, checked.stdout):
        assert "error: bad-authorities: clients.crt: " in said
