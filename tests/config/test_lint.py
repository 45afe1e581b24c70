"""Warnings about the configuration: what nobody uses, and files that others can read."""

from pathlib import Path

from authproxy.config.lint import lint_config
from tests.config.reading import CONFIG, POLICY, read


def warnings(folder: Path, config: str = CONFIG, policy: str = POLICY) -> list[tuple[str, str]]:
    """The code and the text of each warning."""
    return [(p.code, p.text) for p in lint_config(read(folder, config, p=policy))]


def test_what_a_route_uses_is_no_warning(tmp_path: Path) -> None:
    """The whole example is in use, and its key files are not there to be looked at."""
    assert warnings(tmp_path) == []


def test_what_no_route_uses_is_a_warning(tmp_path: Path) -> None:
    """Upstreams and authenticators, each by its name."""
    found = warnings(tmp_path, policy="routes: []")
    assert [code for code, _ in found] == ["unused-upstream"] * 2 + ["unused-authenticator"] * 2


def test_a_key_file_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    """With its mode, and what to do; one that only we can read is none."""
    for name, mode in (("a.key", 0o644), ("signing.pem", 0o600)):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(mode)
    ((code, text),) = warnings(tmp_path)
    assert code == "key-file-mode"
    assert "a.key" in text
    assert "644" in text


def test_the_key_of_the_assertion_is_a_key_file(tmp_path: Path) -> None:
    """Whoever reads it can be anybody towards the backends."""
    key = "assertion: {issuer: i, key: {file: assertion.pem}}"
    (tmp_path / "assertion.pem").write_text("")
    (tmp_path / "assertion.pem").chmod(0o640)
    ((code, text),) = warnings(tmp_path, CONFIG.replace("profile: remote", f"profile: remote, {key}"))  # fmt: skip
    assert (code, "assertion.pem" in text) == ("key-file-mode", True)


def test_a_configuration_that_cannot_be_read_has_no_warnings(tmp_path: Path) -> None:
    """Its errors come first."""
    assert warnings(tmp_path, "[]") == []
