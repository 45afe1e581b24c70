"""Provides what a folder lacks: an authority, certificates of a server and of clients, keys and their public set.

What belongs together is made together: half of a pair that is there is an error or left alone, never completed with
something that would not fit it.
"""

import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

import yaml

from authproxy.authn.issue import generate_key, public_jwks
from authproxy.authn.jwk import KeyProblem
from authproxy.authn.passwords import hash_password
from authproxy.cli.certificates import (
    LOCAL_NAMES,
    SERVER_DAYS,
    CertificateProblem,
    Pair,
    make_authority,
    make_client,
    make_server,
    names_of,
)
from authproxy.cli.writing import Report, Unwritable, read_old
from authproxy.config.users import HEADER


def provide_certificates(
    report: Report, prefix: str = "", names: Sequence[str] = (), days: int = SERVER_DAYS
) -> None:
    """An authority (`ca`) and a server certificate (`server`), as far as they are missing.

    Raises:
        Unwritable: half of a pair is there, what is there cannot be used, or nothing can be written.
    """
    authority, server = _files(prefix, "ca"), _files(prefix, "server")
    if _complete(report, server):
        # Whoever has a server certificate may have taken the authority's key to a safer place.
        for name in (*authority, *server):
            if report.there(name):
                report.kept(name)
        _check_names(report, server[0], names)
        return
    now = datetime.now(UTC)
    signer = _provide_authority(report, authority, now)
    try:
        pair = make_server(signer, [*LOCAL_NAMES, *names], now, days)
    except CertificateProblem as problem:
        raise Unwritable(f"{report.folder / authority[0]}: {problem}") from None
    _write_pair(report, server, pair)


def provide_client(report: Report, name: str, uris: Sequence[str], days: int) -> None:
    """A certificate of a client (`clients/NAME`), signed by the authority that is there, as far as it is missing.

    Raises:
        Unwritable: half of a pair is there, the authority cannot sign, what is there is not for the URIs, or nothing
            can be written.
    """
    client, authority = _files("clients/", name), _files("", "ca")
    if _complete(report, client):
        for file in client:
            report.kept(file)
        _check_names(report, client[0], uris)
        return
    signer = Pair(*(read_old(report.folder / file) for file in authority))
    try:
        pair = make_client(signer, name, uris, datetime.now(UTC), days)
    except CertificateProblem as problem:
        raise Unwritable(f"{report.folder / authority[0]}: {problem}") from None
    _write_pair(report, client, pair)


def provide_token_keys(report: Report, key: str, key_set: str, algorithm: str) -> None:
    """A key that signs tokens and its public set, as far as they are missing.

    Raises:
        Unwritable: the key that is there cannot be used, or nothing can be written.
    """
    if not report.there(key) and report.there(key_set):
        # The set may be an identity provider's: no key that is made here would be in it.
        report.kept(key_set)
        report.lines.append(f"made no {key}: it would not be in {key_set}")
        return
    provide_key(report, key, algorithm)
    try:
        public = public_jwks([read_old(report.folder / key)], [algorithm])
    except KeyProblem as problem:
        raise Unwritable(f"{report.folder / key}: {problem}") from None
    report.write(key_set, json.dumps(public, indent=2).encode() + b"\n")


def provide_key(report: Report, name: str, algorithm: str) -> None:
    """A private key of its own.

    Raises:
        Unwritable: it cannot be written.
    """
    if report.there(name):
        report.kept(name)
    else:
        report.write(name, generate_key(algorithm), private=True)


def provide_users(report: Report, name: str) -> str | None:
    """A users file with one user, `admin`; the password, which is shown once and kept nowhere. None: the file is there.

    Raises:
        Unwritable: it cannot be written.
    """
    if report.there(name):
        report.kept(name)
        return None
    password = secrets.token_urlsafe(15)
    changed = datetime.now(UTC).replace(microsecond=0)
    user = {
        "password": hash_password(password),
        "groups": ["admins"],
        "changed": changed.isoformat(),
    }
    text = HEADER + yaml.safe_dump({"users": {"admin": user}}, sort_keys=False)
    report.write(name, text.encode(), private=True)
    return password


def _files(prefix: str, stem: str) -> tuple[str, str]:
    return f"{prefix}{stem}.crt", f"{prefix}{stem}.key"


def _complete(report: Report, names: tuple[str, str]) -> bool:
    there = [name for name in names if report.there(name)]
    if len(there) == 1:
        (missing,) = set(names) - set(there)
        text = f"{report.folder / there[0]} is there without {missing}"
        raise Unwritable(f"{text}: put that back, or move the other away")
    return bool(there)


def _provide_authority(report: Report, names: tuple[str, str], now: datetime) -> Pair:
    if _complete(report, names):
        for name in names:
            report.kept(name)
        return Pair(*(read_old(report.folder / name) for name in names))
    pair = make_authority(now)
    _write_pair(report, names, pair)
    return pair


def _write_pair(report: Report, names: tuple[str, str], pair: Pair) -> None:
    report.write(names[0], pair.certificate)
    report.write(names[1], pair.private_key, private=True)


def _check_names(report: Report, name: str, wanted: Sequence[str]) -> None:
    """Names that were asked for and are not in the certificate that is kept: silence would look like success."""
    if not wanted:
        return
    try:
        known = names_of(read_old(report.folder / name))
    except CertificateProblem as problem:
        raise Unwritable(f"{report.folder / name}: {problem}") from None
    missing = [text for text in wanted if text not in known and text.lower() not in known]
    if missing:
        text = f"{report.folder / name} is kept, and is not for {', '.join(missing)}"
        raise Unwritable(f"{text}: for a new one move it and its key away")
