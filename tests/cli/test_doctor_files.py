"""What `doctor` reads: certificates by their dates, modes of key files, and how cookies fit the listeners."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from authproxy.cli.doctor_files import cookies, files, hosts
from authproxy.cli.doctor_findings import Finding
from authproxy.config.load import Loaded, load
from authproxy.runtime import verification
from tests.cli.program import succeed
from tests.playbook import configuration, write_files
from tests.web.portal.browser import STAFF, users_text


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    succeed("init", tmp_path)
    return load(tmp_path / "authproxy.yaml")


def kinds(found: list[Finding], code: str) -> list[str]:
    """How it stands with one thing."""
    return [one.kind for one in found if one.code == code]


@pytest.mark.parametrize(
    ("days", "kind", "said"),
    [(0, "ok", "is good until"), (810, "problem", "ends in"), (900, "problem", "ended on"), (-30, "problem", "good only from")],
)  # fmt: skip
def test_certificates_are_looked_at_in_time(
    loaded: Loaded, days: int, kind: str, said: str
) -> None:
    """Three weeks before they end, when they have, and when they have not begun."""
    found = [
        one
        for one in files(loaded, datetime.now(UTC) + timedelta(days=days))
        if one.code == "certificate"
    ]
    assert [one.kind for one in found] == [kind]
    assert said in found[0].text


def test_a_certificate_that_is_none_is_a_problem(loaded: Loaded) -> None:
    """Whatever else is there."""
    (loaded.folder / "certs/server.crt").write_text("nonsense")
    assert kinds(list(files(loaded, datetime.now(UTC))), "certificate") == ["problem"]


def test_keys_that_others_can_read_are_a_problem(loaded: Loaded) -> None:
    """With the command that mends it; users files too."""
    assert kinds(list(files(loaded, datetime.now(UTC))), "key-file-mode") == ["ok"]
    (loaded.folder / "users.yaml").chmod(0o644)
    (found,) = [one for one in files(loaded, datetime.now(UTC)) if one.code == "key-file-mode"]
    assert (found.kind, found.remedy) == ("problem", "chmod 600 users.yaml")


def office(folder: Path, **more: Any) -> list[Finding]:
    """What is said of a configuration with a login."""
    (folder / "users.yaml").write_text(users_text())
    staff = {"type": "password", "users": {"file": "users.yaml"}}
    loaded = write_files(folder, configuration("http://127.0.0.1:9", authenticators={"staff": staff}, **more), [STAFF | {"authenticate": ["staff"]}])  # fmt: skip
    decides = verification(loaded, {})
    return [*cookies(loaded, decides), *hosts(loaded, decides)]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, [("note", "cookie")]),
        ({"trusted_proxies": {"networks": ["10.0.0.0/24"]}}, [("note", "cookie")]),
        ({"trusted_proxies": {"networks": ["0.0.0.0/0", "::/0"]}}, [("note", "cookie"), ("problem", "trusted-too-many"), ("problem", "trusted-too-many")]),
        ({"portal": {"url": "https://login.test"}}, [("note", "cookie"), ("problem", "portal-scheme"), ("note", "portal-hosts")]),
        ({"portal": {"url": "https://login.test"}, "trusted_proxies": {"networks": ["10.0.0.1"]}}, [("note", "cookie"), ("note", "portal-hosts")]),
    ],
)  # fmt: skip
def test_cookies_need_tls_somewhere(
    tmp_path: Path, more: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    """On the listener, or before it by a proxy that is trusted, and few of these."""
    assert [(one.kind, one.code) for one in office(tmp_path, **more)] == expected


def test_with_tls_all_is_well(loaded: Loaded) -> None:
    """As `init` writes it."""
    assert kinds(list(cookies(loaded, verification(loaded, {}))), "cookie") == ["ok"]
