"""Warnings: what is allowed but probably not meant."""

import pytest

from authproxy.model.headers import HeaderRules
from authproxy.policy.lint import lint
from tests.policy.reading import parsed, route_text


def warnings(more: str = "", **parts: str) -> list[str]:
    return [p.code for p in lint(parsed(route_text(more, **parts)), HeaderRules())]


@pytest.mark.parametrize(
    ("more", "parts", "found"),
    [
        ("", {}, []),
        ("", {"authenticate": "none", "allow": ""}, ["open-route"]),
        ("", {"authenticate": "none", "allow": "[{networks: [10.0.0.0/8]}]"}, []),
        ("mode: shadow", {}, ["shadow-mode"]),
        ("deny: [{groups: [a], mode: shadow}, {groups: [a]}]", {}, ["shadow-mode"]),
        ("", {"allow": "[{groups: [a], mode: shadow}, {groups: [a]}]"}, ["shadow-mode"]),
        ("", {"allow": "[{groups: [a]}, {groups: [a], scopes: [b]}]"}, ["unreachable-entry"]),
        ("", {"allow": "[{groups: [a], scopes: [b]}, {groups: [a]}]"}, []),
        ("deny: [{groups: [a]}, {groups: [a]}]", {}, ["unreachable-entry"]),
        ("", {"authenticate": "[tokens, staff]", "allow": "[{subjects: [a]}]"}, ["ambiguous-subjects"]),
        ("", {"authenticate": "[tokens, staff]", "allow": "[{subjects: [a], authenticators: [tokens]}]"}, []),
        ("", {"authenticate": "[tokens]", "allow": "[{subjects: [a]}]"}, []),
    ],
)  # fmt: skip
def test_what_is_probably_not_meant_is_a_warning(
    more: str, parts: dict[str, str], found: list[str]
) -> None:
    """Open routes, shadow mode, entries that never decide, subjects of several authenticators."""
    assert warnings(more, **parts) == found


def test_a_warning_is_no_error_and_has_a_place() -> None:
    """It says where, and what to do."""
    (problem,) = lint(parsed(route_text("mode: shadow")), HeaderRules())
    assert problem.severity == "warning"
    assert (problem.file, problem.line) == ("0.yaml", 1)
    assert problem.column > 1
    assert problem.remedy
