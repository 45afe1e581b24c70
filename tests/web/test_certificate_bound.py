"""Tokens bound to the client's certificate (RFC 8705), over real TLS: the connection that shows it, and no other."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests import certificates
from tests.authn.test_binding import sha_256
from tests.playbook import GUARDED, authenticator, playbook, token
from tests.server.test_client_certificates import Stage, connect
from tests.wire import request


@pytest.mark.parametrize("option", ["optional", "required"])
async def test_a_token_is_good_where_its_certificate_is_shown(tmp_path: Path, option: str) -> None:
    """Known or not; from a connection with another certificate, or with none, it is refused, whatever a header says."""
    stage = Stage(tmp_path)
    other = stage.write("other", certificates.issue(stage.ours, certificates.name("other")))
    der = certificates_der(stage.robot[0])
    bound = {"tokens": authenticator() | {"certificate_bound": option}}
    async with playbook(GUARDED, listeners=[stage.listener()], authenticators=bound) as p:
        text = token("robot", claims={"cnf": {"x5t#S256": sha_256(der)}})
        robot, stranger, nobody = [
            await connect(p, stage.client(shown)) for shown in (stage.robot, other, None)
        ]
        for link, status in ((robot, 200), (stranger, 401), (nobody, 401), (robot, 200)):
            fields = [("Host", "localhost"), ("Client-Cert", "x"), ("X-Forwarded-Client-Cert", "x")]
            await link.send(request("GET", "/guarded/1", fields, token=text))
            answer = await link.answer()
            assert answer.status == status
        reasons = [line.get("reason") or "" for line in await p.logged(4)]
        assert reasons == ["", "other-certificate", "no-certificate", ""]


def certificates_der(path: Path) -> bytes:
    """The certificate in a PEM file, as TLS carries it."""
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)
