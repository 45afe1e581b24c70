"""The options of `policy explain`: what belongs together, and what does not."""

import pytest

from tests.cli.program import run


@pytest.mark.parametrize(
    "words",
    [
        ("GET", "https://a.test/"),
        ("--subject", "ann"),
        ("--token", "t"),
        ("--client", "192.0.2.1"),
        ("--header", "a: b"),
    ],
)
def test_a_request_that_happened_is_described_by_its_id_alone(words: tuple[str, ...]) -> None:
    """Anything beside it would be guessed at: wrong usage, before anything is read."""
    result = run("policy", "explain", *words, "--request-id", "x", "--config", "nowhere.yaml")
    assert result.exit_code == 2
    assert "--request-id" in result.stderr


def test_a_request_needs_method_and_url() -> None:
    """Or an id."""
    for words in ((), ("GET",)):
        result = run("policy", "explain", *words, "--config", "nowhere.yaml")
        assert result.exit_code == 2
        assert "METHOD" in result.stderr
