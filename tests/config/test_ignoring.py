"""Warnings that are meant: ignored with a reason, in their line, by their code; and nothing else ever is."""

from pathlib import Path

import pytest

from authproxy.config.lint import lint_all
from tests.config.reading import read

CONFIG = """\
listeners: [{address: "127.0.0.1:0"}]
upstreams: {app: {servers: ["http://127.0.0.1:1"]}}
authenticators: {}
"""
OPEN = "routes:\n  - name: o\n    match: {paths: [/**]}\n    upstream: app\n    authenticate: none"


def warnings(folder: Path, policy: str, config: str = CONFIG) -> list[tuple[int, str]]:
    """Line and code of what is left."""
    loaded = read(folder, config, p=policy)
    assert loaded.problems == []
    return [(p.line, p.code) for p in lint_all(loaded)]


@pytest.mark.parametrize(
    ("comment", "left"),
    [
        ("  # authproxy: ignore open-route — a shop", []),
        ("  # authproxy: ignore open-route", [(5, "open-route"), (5, "ignore-without-reason")]),
        ("  # authproxy: ignore — a shop", [(5, "open-route"), (5, "ignore-without-reason")]),
        ("  # authproxy: ignore shadow-mode — a shop", [(5, "open-route"), (5, "unused-ignore")]),
        ("  # authproxy: ignore open-route, shadow-mode — a shop", [(5, "unused-ignore")]),
        ("  # authproxy: ignore unknown-key — a shop", [(5, "open-route"), (5, "unused-ignore")]),
        ("\n    # authproxy: ignore open-route — too late", [(5, "open-route"), (6, "unused-ignore")]),
        ("  # authproxy: ignore open-route, unused-ignore — a shop", [(5, "unused-ignore")]),
    ],
)  # fmt: skip
def test_a_warning_is_ignored_in_its_line_with_a_reason(
    tmp_path: Path, comment: str, left: list[tuple[int, str]]
) -> None:
    """What the comment does not fit stays, and the comment is named."""
    assert warnings(tmp_path, OPEN + comment + "\n") == left


def test_a_comment_before_the_line(tmp_path: Path) -> None:
    """For lines that are long enough."""
    policy = OPEN.replace("    auth", "    # authproxy: ignore open-route — a shop\n    auth")
    assert warnings(tmp_path, policy) == []


def test_the_configuration_has_comments_too(tmp_path: Path) -> None:
    """Each file speaks of itself only: the same line of another one stays."""
    old = '  old: {servers: ["http://127.0.0.1:2"]}'
    config = CONFIG.replace("{app: {", "\n  app: {").replace("]}}\n", f"]}}\n{old}  # authproxy: ignore unused-upstream, open-route — soon\n", 1)  # fmt: skip
    assert warnings(tmp_path, OPEN, config) == [(5, "open-route"), (4, "unused-ignore")]


def test_an_error_cannot_be_ignored(tmp_path: Path) -> None:
    """Whatever the comment says."""
    policy = OPEN.replace("upstream: app", "upstream: nowhere  # authproxy: ignore unknown-upstream — it will come")  # fmt: skip
    assert [p.code for p in read(tmp_path, CONFIG, p=policy).problems] == ["unknown-upstream"]
