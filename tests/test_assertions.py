"""The signed assertion at load: its key is read where it is on, and what is wrong with it has a place."""

from pathlib import Path

import pytest

from authproxy.assertions import assertions
from authproxy.authn.issue import generate_key
from authproxy.model.errors import ConfigError
from authproxy.runtime import compile_runtime
from tests.test_runtime import loaded
from tests.wire import Json

ASSERTION: Json = {"enabled": True, "issuer": "https://p.test", "key": {"file": "assertion.pem"}}


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "unreadable"), (b"no key", "bad-keys"), (generate_key("RS256"), "bad-keys"), (generate_key("ES384"), "bad-keys")],
)  # fmt: skip
def test_a_key_that_cannot_sign_assertions(tmp_path: Path, content: bytes | None, code: str) -> None:  # fmt: skip
    """Nothing is served unsigned because its key is bad: the problem has its place and a remedy."""
    if content is not None:
        (tmp_path / "assertion.pem").write_bytes(content)
    config = loaded(tmp_path, identity={"assertion": ASSERTION})
    with pytest.raises(ConfigError) as failed:
        compile_runtime(config, {})
    (problem,) = failed.value.problems
    assert (problem.code, bool(problem.remedy)) == (code, True)
    place = config.source.place(("identity", "assertion", "key", "file"))
    assert (problem.line, problem.column) == place


def test_a_path_that_is_none(tmp_path: Path) -> None:
    """A NUL in it is a problem like any other."""
    config = loaded(tmp_path, identity={"assertion": {**ASSERTION, "key": {"file": "a\0b"}}})
    with pytest.raises(ConfigError) as failed:
        assertions(config)
    assert [problem.code for problem in failed.value.problems] == ["unreadable"]


def test_where_it_is_off_no_key_is_read(tmp_path: Path) -> None:
    """Its settings may stand there before its key does."""
    off = loaded(tmp_path, identity={"assertion": {**ASSERTION, "enabled": False}})
    assert assertions(off) is None


def test_where_it_is_on_the_first_key_signs(tmp_path: Path) -> None:
    """And all of the file are published."""
    (tmp_path / "assertion.pem").write_bytes(generate_key("ES256") + generate_key("ES256"))
    found = assertions(loaded(tmp_path, identity={"assertion": ASSERTION}))
    assert found is not None
    assert found.jwks.count(b'"kid"') == 2
