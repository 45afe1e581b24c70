"""`authproxy init`."""

import json
import shlex
from importlib.resources import files
from pathlib import Path

import pytest

from authproxy.config.load import load
from tests.cli.program import run, succeed

ROOT = Path(__file__).resolve().parents[2]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_checks_without_a_warning(tmp_path: Path) -> None:
    """What it writes passes `check --strict`."""
    succeed("init", tmp_path)
    result = run("check", "--strict", "--config", tmp_path / "authproxy.yaml")
    assert (result.exit_code, result.stdout) == (0, "")


def test_its_policies_pass_their_tests(tmp_path: Path) -> None:
    """What it writes passes `policy test`, and there are tests."""
    succeed("init", tmp_path)
    out = succeed("policy", "test", "--config", tmp_path / "authproxy.yaml")
    assert out.endswith(" passed, 0 failed\n")
    assert not out.startswith("0 ")


@pytest.mark.parametrize(
    ("who", "verdict"), [([], "unauthenticated"), (["--subject", "demo"], "allow")]
)
def test_everything_needs_a_token(tmp_path: Path, who: list[str], verdict: str) -> None:
    """GET / is refused without an identity and allowed with one."""
    succeed("init", tmp_path)
    asked = ["GET", "https://localhost/", *who, "--config"]
    assert succeed("policy", "explain", *asked, tmp_path / "authproxy.yaml").endswith(
        f"verdict: {verdict}\n"
    )


def test_its_tokens_are_good(tmp_path: Path) -> None:
    """A token that its key signs is one that its key set verifies."""
    succeed("init", tmp_path)
    config = tmp_path / "authproxy.yaml"
    token = succeed("token", "issue", "--subject", "demo", "--config", config)
    assert "verdict: good" in succeed("token", "verify", "--config", config, given=token)


def test_private_files_are_closed(tmp_path: Path) -> None:
    """Whatever holds a private key is 0600."""
    succeed("init", tmp_path)
    private = [name for name, content in contents(tmp_path).items() if b"PRIVATE KEY" in content]
    assert len(private) == 4
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in private} == {0o600}


def test_names_the_backend(tmp_path: Path) -> None:
    """--backend is where requests are sent."""
    succeed("init", tmp_path, "--backend", "http://[::1]:3000")
    loaded = load(tmp_path / "authproxy.yaml")
    assert loaded.usable().upstreams["app"].servers == ["http://[::1]:3000"]


@pytest.mark.parametrize(
    "url", ["", "example", "ftp://a", "http://a/path", "http://u:p@a", 'http://a", "http://b']
)
def test_a_backend_that_is_none(tmp_path: Path, url: str) -> None:
    """What cannot be a backend is wrong usage: exit 2, and nothing is written."""
    assert run("init", tmp_path, "--backend", url).exit_code == 2
    assert not contents(tmp_path)


def test_never_overwrites(tmp_path: Path) -> None:
    """A second run changes nothing, names every file as kept, and makes what is missing."""
    succeed("init", tmp_path)
    config = tmp_path / "authproxy.yaml"
    config.write_text(config.read_text() + "# mine\n")
    (tmp_path / "policies" / "routes.yaml").unlink()
    before = contents(tmp_path)
    out = succeed("init", tmp_path, "--backend", "http://127.0.0.1:1")
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    assert "kept authproxy.yaml" in out
    assert "wrote policies/routes.yaml" in out
    assert sum(line.startswith("kept ") for line in out.splitlines()) == len(before)


def test_says_what_to_do_next(tmp_path: Path) -> None:
    """The directory is named as a shell takes it."""
    folder = tmp_path / "my proxy"
    out = succeed("init", folder)
    assert f"cd {shlex.quote(str(folder))}\n" in out
    assert "authproxy serve" in out


def test_what_cannot_be_written(tmp_path: Path) -> None:
    """A file where the directory should be ends with one line and exit 1."""
    (tmp_path / "file").write_text("")
    result = run("init", tmp_path / "file")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)


def test_half_a_pair_of_certificates(tmp_path: Path) -> None:
    """A key without its certificate stops it with one line, after saying what it wrote."""
    succeed("init", tmp_path)
    (tmp_path / "certs" / "server.crt").unlink()
    result = run("init", tmp_path)
    assert result.exit_code == 1
    assert "server.crt" in result.stderr
    assert "kept authproxy.yaml" in result.stdout


def test_editors_find_the_schemas(tmp_path: Path) -> None:
    """The first line of each YAML file names a schema that is there and is JSON."""
    succeed("init", tmp_path)
    for name in ("authproxy.yaml", "policies/routes.yaml"):
        first = (tmp_path / name).read_text().splitlines()[0]
        schema = (tmp_path / name).parent / first.partition("$schema=")[2]
        assert json.loads(schema.read_bytes())["properties"]


def test_the_example_policies_are_what_it_writes() -> None:
    """policies/ of the repository holds the very file that `init` writes and the demo serves."""
    starter = files("authproxy.cli").joinpath("starter", "routes.yaml").read_text()
    assert (ROOT / "policies" / "routes.yaml").read_text() == starter
