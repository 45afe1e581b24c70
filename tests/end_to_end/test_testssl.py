"""testssl.sh against each profile, and against a listener that asks for client certificates: what auditors run."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.credentials import Issuer
from tests.end_to_end.nginx import need
from tests.end_to_end.served import Served, configuration, environment, run, write_configuration

# What is said of the certificate and not of the server: an authority of one's own publishes no revocation lists.
OF_THE_CERTIFICATE = {"cert_revocation", "cert_chain_of_trust"}
FINE = {"OK", "INFO", "LOW"}
OF_THE_MACHINE = {"engine_problem"}  # what its own openssl lacks
PROFILES = ["intermediate", "modern", "certified"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A listener for each profile, with certificates as `certs create` makes them."""
    folder = tmp_path_factory.mktemp("testssl")
    assert run("certs", "create", str(folder / "certs")).returncode == 0
    pair = {"certificate": "certs/server.crt", "private_key": "certs/server.key"}
    asked = {"authorities": "certs/ca.crt", "mode": "optional"}
    tls: list[dict[str, Any]] = [{"hsts": "365d"}, {"profile": "modern"}, {"client_certificates": asked}]  # fmt: skip
    listeners = [
        {"address": "127.0.0.1:0", "tls": {"certificates": [pair], **more}} for more in tls
    ]
    route = {"name": "all", "match": {"paths": ["/**"]}, "upstream": "app", "authenticate": ["tokens"], "allow": "authenticated"}  # fmt: skip
    config = configuration({"app": {"servers": ["http://127.0.0.1:9"]}}, listeners=listeners)
    running = Served(write_configuration(folder, Issuer(), config, [route]))
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.errors()


def findings(served: Served, port: int, out: Path) -> list[dict[str, str]]:
    """All that testssl.sh says of a port."""
    trusted = served.folder / "certs" / "ca.crt"
    done = subprocess.run(
        [
            need("testssl"), "--quiet", "--color", "0", "--warnings", "off",
            "--add-ca", str(trusted), "--jsonfile", str(out), f"127.0.0.1:{port}",
        ],
        env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert out.is_file(), done.stdout + done.stderr
    found: list[dict[str, str]] = json.loads(out.read_text())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
def test_nothing_above_low(served: Served, tmp_path: Path, profile: str) -> None:
    """testssl.sh finds nothing above LOW, save what any certificate of one's own authority is told."""
    found = findings(served, served.ports[PROFILES.index(profile)], tmp_path / "found.json")
    assert len(found) > 60, "it did not look at much"
    versions = {one["id"]: one["finding"] for one in found if one["id"] in {"TLS1", "TLS1_1", "TLS1_2", "TLS1_3"}}  # fmt: skip
    offered = {name for name, said in versions.items() if not said.startswith("not offered")}
    assert offered == ({"TLS1_3"} if profile == "modern" else {"TLS1_2", "TLS1_3"})
    bad = {
        one["id"]: f"{one['severity']}: {one['finding']}"
        for one in found
        if one["severity"] not in FINE and one["id"] not in OF_THE_CERTIFICATE | OF_THE_MACHINE
    }
    assert bad == {}
