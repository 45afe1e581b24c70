"""Debian's openssl as the authority: keys, requests and certificates as its own manual makes them."""

import subprocess
from pathlib import Path

from tests.end_to_end.nginx import need
from tests.end_to_end.served import environment

CONSTRAINTS = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"


def openssl(folder: Path, *arguments: str) -> str:
    """Run it to its end; what it printed."""
    done = subprocess.run(
        [need("openssl"), *arguments], cwd=folder, env=environment(), capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def authority(folder: Path, name: str) -> None:
    """NAME.crt and NAME.key: an authority that is its own issuer."""
    openssl(
        folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc",
        "-keyout", f"{name}.key", "-out", f"{name}.crt", "-days", "2", "-subj", f"/CN={name}",
    )  # fmt: skip


def client(
    folder: Path, signer: str, name: str, alternative: str = "", days: str = "1"
) -> list[str]:
    """NAME.crt and NAME.key, signed; `alternative` as openssl writes it. What curl is told to show them."""
    openssl(folder, "req", "-new", "-newkey", "rsa:2048", "-noenc", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/O=acme/CN={name}")  # fmt: skip
    extensions = CONSTRAINTS + "extendedKeyUsage=clientAuth\n"
    extensions += f"subjectAltName={alternative}\n" if alternative else ""
    (folder / "extensions").write_text(extensions)
    openssl(
        folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{signer}.crt", "-CAkey", f"{signer}.key",
        "-CAcreateserial", "-days", days, "-extfile", "extensions", "-out", f"{name}.crt",
    )  # fmt: skip
    return ["--cert", str(folder / f"{name}.crt"), "--key", str(folder / f"{name}.key")]
