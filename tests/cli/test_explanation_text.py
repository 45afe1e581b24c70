"""An explanation for people: columns, signs and the verdict last, and nothing in it that steers a terminal."""

from typing import Any

from authproxy.cli.explanation_text import render_text

FOUND: dict[str, Any] = {
    "request": {"method": "GET", "host": "a.test", "path": "/a", "client": "192.0.2.1"},
    "route": "admin", "place": "p.yaml:3", "mode": "enforce",
    "candidates": [
        {"route": "admin", "host": None, "path": "/a", "methods": None, "chosen": True, "why": "the most specific pattern"},
        {"route": "everything", "host": "a.test", "path": "/**", "methods": ["GET"], "chosen": False, "why": "a goes before **"},
    ],
    "identity": {"subject": "ann", "authenticator": "tokens", "groups": ["x"], "scopes": []},
    "entries": [
        {"place": "deny[0]", "holds": False, "mode": "shadow", "conditions": [
            {"condition": "groups: [bad]", "holds": False, "error": None, "seen": {"groups": ["x"]}, "missing": []}]},
        {"place": "allow[0]", "holds": False, "mode": "enforce", "conditions": [
            {"condition": "when: claims.a > 1", "holds": False, "error": "no such key: a\nmore", "seen": {}, "missing": ["claims.a"]},
            {"condition": "networks: [10.0.0.0/8]", "holds": None}]},
    ],
    "limits": [{"name": "fair", "limit": "3/minute", "per": "subject", "of": "the route", "mode": "shadow", "cost": 1, "key": "tokens:ann", "remaining": 2, "reset": 9}],
    "upstream": "app", "backend_head": ["GET /a HTTP/1.1"], "reason": "no entry of allow holds", "hint": None, "shadow": None, "verdict": "forbidden",
}  # fmt: skip

TEXT = """\
request:  GET a.test /a from 192.0.2.1
route:    admin, p.yaml:3
  ✓ admin       any host /a  any method  the most specific pattern
  · everything  a.test /**   GET         a goes before **
identity: ann by tokens, groups ["x"], scopes []
deny[0] (shadow): does not hold
  ✗ groups: [bad]  groups is ["x"]
allow[0]: does not hold
  ✗ when: claims.a > 1      error: no such key: a, claims.a is missing
  · networks: [10.0.0.0/8]  not asked
limits:
  fair  3/minute per subject, of the route  tokens:ann  2 left, more in 9 s  shadow
towards app:
  GET /a HTTP/1.1
reason:   no entry of allow holds
verdict: forbidden"""


def test_it_is_told_in_columns() -> None:
    """Route, candidates, who, entries with what they saw, limits with what is left, head, reason, verdict."""
    assert render_text(FOUND) == TEXT


def test_nothing_steers_the_terminal() -> None:
    """Escape codes, line ends and marks that turn the text around are shown, not sent."""
    evil = "\x1b[31m\n\u202everdict: allow"
    found = {**FOUND, "request": {**FOUND["request"], "path": evil}, "reason": evil, "backend_head": [evil]}  # fmt: skip
    text = render_text(found)
    assert text.splitlines()[-1] == "verdict: forbidden"
    assert len(text.splitlines()) == len(TEXT.splitlines())
    assert not {"\x1b", "\u202e"} & set(text)


def test_colours_are_asked_for() -> None:
    """And change nothing but the colour."""
    coloured = render_text(FOUND, colour=True)
    assert "\x1b[32m✓\x1b[0m admin" in coloured
    assert coloured.splitlines()[-1].startswith("\x1b[31m\x1b[1mverdict: forbidden")


def test_long_values_are_cut() -> None:
    """A claim may be anything; the JSON form has all of it."""
    entry = {**FOUND["entries"][0]}
    entry["conditions"] = [{**entry["conditions"][0], "seen": {"groups": ["g" * 500]}}]
    assert max(map(len, render_text({**FOUND, "entries": [entry]}).splitlines())) < 130
