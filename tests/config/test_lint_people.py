"""Warnings about what nobody can have: scopes of a login, groups that no user is in, groups that nobody asks for."""

from pathlib import Path

import pytest

from authproxy.config.lint_people import lint_people
from tests.config.reading import CONFIG, read

HASH = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA"
STAFF = "authenticators:\n  staff: {type: password, users: {file: users.yaml}}\n  robots: {type: certificate, subject: cn}\n"


def warnings(
    folder: Path, route: str, *, groups: str = "[eng]", profile: str = "remote", users: bool = True
) -> list[str]:
    """The codes for one route."""
    if users:
        text = f"users:\n  ann:\n    password: {HASH}\n    groups: {groups}\n"
        (folder / "users.yaml").write_text(text)
    config = CONFIG.replace("authenticators:\n", STAFF).replace("profile: remote", f"profile: {profile}")  # fmt: skip
    policy = f"routes:\n  - {{name: r, match: {{paths: [/**]}}, upstream: orders, {route}}}\n"
    loaded = read(folder, config, p=policy)
    assert [str(p) for p in loaded.problems] == []
    return [p.code for p in lint_people(loaded, loaded.usable())]


@pytest.mark.parametrize(
    ("route", "found"),
    [
        ("authenticate: [staff], allow: [{scopes: [a]}]", ["impossible-entry"]),
        ("authenticate: [staff, robots], allow: [{scopes: [a]}]", ["impossible-entry"]),
        ("authenticate: [staff, tokens], allow: [{scopes: [a]}]", []),
        ("authenticate: [staff, tokens], allow: [{scopes: [a], authenticators: [staff]}]", ["impossible-entry"]),
        ("authenticate: [robots], allow: authenticated, deny: [{groups: [a]}]", ["impossible-entry"]),
        ("authenticate: [staff], allow: [{groups: [eng]}]", []),
        ("authenticate: [staff], allow: [{groups: [enginering, eng]}]", []),
        ("authenticate: [staff], allow: [{groups: [enginering]}]", ["unknown-group"]),
        ("authenticate: [staff, tokens], allow: [{groups: [enginering]}]", []),
        ("authenticate: [staff, tokens], allow: [{groups: [enginering], authenticators: [staff]}]", ["unknown-group"]),
        ("authenticate: [staff], allow: authenticated, deny: [{groups: [suspended]}]", []),
        ("authenticate: none", []),
    ],
)  # fmt: skip
def test_what_nobody_can_have(tmp_path: Path, route: str, found: list[str]) -> None:
    """Only where everybody who could come is known; a `deny` may be for nobody at the moment."""
    assert warnings(tmp_path, route) == found


def test_a_group_that_nobody_asks_for(tmp_path: Path) -> None:
    """Only where neither backends nor expressions could know of it."""
    allow = "authenticate: [staff], allow: [{groups: [eng]}]"
    assert warnings(tmp_path, allow, groups="[eng, old]", profile="none") == ["unused-group"]
    assert warnings(tmp_path, allow, groups="[eng, old]") == []
    when = (
        'authenticate: [staff], allow: [{groups: [eng]}, {when: \'"o" + "ld" in identity.groups\'}]'
    )
    assert warnings(tmp_path, when, groups="[eng, old]", profile="none") == []


def test_without_the_users_file_nothing_is_said(tmp_path: Path) -> None:
    """Whoever needs it says what is wrong with it."""
    route = "authenticate: [staff], allow: [{groups: [enginering]}]"
    assert warnings(tmp_path, route, users=False) == []
    assert warnings(tmp_path, route, groups="{") == []
