"""Hashes replaced in the text of a users file: whatever style it is in, the rest of it stays to the letter."""

import pytest

from authproxy.config.renewed_hashes import renewed_text
from authproxy.config.yaml import read_yaml

OLD, NEW = "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$bmV3"
MARKS = "0123456789abcdef fedcba9876543210"
LATER = "aaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbb"


def renewed(text: str, marks: str = MARKS, name: str = "ann") -> str:
    data, source, problems = read_yaml(text.encode(), "users.yaml")
    assert problems == []
    return renewed_text(text, source, data["users"], {name: (NEW, marks)})


@pytest.mark.parametrize(
    "text",
    [
        "users:\n  ann:\n    password: OLD\n    groups: [eng] # e\n",
        "# é\nusers:\n    ann:  # a\n        groups: [eng]\n        password:   'OLD'   # p\n\n\n    bob: {password: OTHER}",
        'users:\n  ann: {groups: [eng], "password": "OLD"}\n', "users: {ann: {password: 'OLD', groups: [eng]}}",
        '{"users": {"ann": {"password": "OLD", "groups": ["eng"]}}}', "users:\r\n  ann:\r\n    password: OLD\r\n    groups: [eng]\r\n",
        "users:\n  bob:\n    password: OLD\n  ann: {groups: [eng],\n    password: 'OLD'}\n", "users:\n  ann:\n    groups: [eng]\n    password: OLD",
    ],
)  # fmt: skip
def test_two_entries_change_and_nothing_else(text: str) -> None:
    """In a block, in braces, as JSON; with quotes, comments and whatever ends its lines; once and again."""
    text = text.replace("OLD", OLD).replace("OTHER", OLD + "x")
    before = read_yaml(text.encode(), "u")[0]
    once = renewed(text)
    for result, marks in ((once, MARKS), (renewed(once, LATER), LATER)):
        after, _, problems = read_yaml(result.encode(), "u")
        assert problems == []
        before["users"]["ann"] |= {"password": NEW, "rehashed": marks}
        assert after == before
        rest = result.replace(f"rehashed: {marks}", "").replace(NEW, "")
        assert [one for one in rest.split() if one not in {",", ",}"}] != []
        for comment in ("# é", "# a", "# p", "# e"):
            assert (comment in text) == (comment in result)
    assert len(once) - len(text) - (len(NEW) - len(OLD)) < 60


@pytest.mark.parametrize(
    "text",
    [
        "users:\n  ann:\n    password: >-\n      OLD\n", "users:\n  bob:\n    password: &a OLD\n  ann:\n    password: *a\n",
        'users:\n  ann: {"password": "\\x24argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA"}\n', "users:\n  ? ann\n  : password: OLD\n",
    ],
)  # fmt: skip
def test_what_is_not_plain_stays(text: str) -> None:
    """Folded, behind an alias, escaped, another's line: nothing is guessed."""
    with pytest.raises(ValueError, match="in it"):
        renewed(text.replace("OLD", OLD))
