"""Comments about warnings: where they stand, of which line they speak, and what only looks like one."""

import pytest

from authproxy.config.yaml import read_yaml


def ignores(text: str) -> list[tuple[int, tuple[str, ...], str]]:
    """Line, codes and reason of each."""
    _, source, _ = read_yaml(text.encode(), "f.yaml")
    return [(i.line, i.codes, i.reason) for i in source.ignores]


@pytest.mark.parametrize(
    ("comment", "codes", "reason"),
    [
        ("# authproxy: ignore a-b — why", ("a-b",), "why"),
        ("#authproxy:ignore a - why", ("a",), "why"),
        ("# authproxy: ignore a -- why so", ("a",), "why so"),
        ("# authproxy: ignore a: why", ("a",), "why"),
        ("# authproxy: ignore a, b ,c — why", ("a", "b", "c"), "why"),
        ("# authproxy: ignore a", ("a",), ""),
        ("# authproxy: ignore a —", (), ""),
        ("# authproxy: ignore", (), ""),
        ("# authproxy: ignore — why", (), ""),
        ("# authproxy: ignore a why", (), ""),
    ],
)
def test_what_a_comment_says(comment: str, codes: tuple[str, ...], reason: str) -> None:
    """Codes, and a reason behind a dash or a colon; what cannot be read says nothing, and is still seen."""
    assert ignores(f"k: v  {comment}\n") == [(1, codes, reason)]


def test_alone_it_speaks_of_the_next_line_that_is_not() -> None:
    """Other comments and empty lines in between do not count; at the end of the file it speaks of itself."""
    text = "# authproxy: ignore a — x\n\n# more\n  # authproxy: ignore b — y\nk: v\n# authproxy: ignore c — z\n"
    assert ignores(text) == [(5, ("a",), "x"), (5, ("b",), "y"), (6, ("c",), "z")]


@pytest.mark.parametrize(
    "text",
    [
        "k: '# authproxy: ignore a — b'\n",
        'k: "x # authproxy: ignore a — b"\n',
        "k: |\n  x # authproxy: ignore a — b\nm: n\n",
        "k: >-\n  # authproxy: ignore a — b\n",
        "k: 'x\n  # authproxy: ignore a — b\n  y'\n",
        "k: x#authproxy: ignore a — b\n".replace(": ignore", "-ignore"),
        "k: v # authproxy: ignored a — b\n",
    ],
)
def test_what_stands_in_a_text_is_no_comment(text: str) -> None:
    """Else a value could silence `check`."""
    assert ignores(text) == []


def test_a_comment_may_follow_what_begins_a_block() -> None:
    """`when: |  # …` is one."""
    assert ignores("k: |  # authproxy: ignore a — b\n  text\n") == [(1, ("a",), "b")]


def test_many_comments_cost_no_more_than_they_are() -> None:
    """Twenty thousand of them among as many texts, within the time of reading the file."""
    assert len(ignores("".join(f"k{n}: v # authproxy: ignore a — b\n" for n in range(20_000)))) == 20_000  # fmt: skip
