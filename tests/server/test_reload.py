"""What a reload reads, refuses and takes over; and which changes of files are news."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from authproxy.authn.bearer import FollowingVerifier
from authproxy.authn.issue import generate_key
from authproxy.authn.oidc import OidcAuthenticator
from authproxy.config.load import Loaded, load
from authproxy.model.errors import ConfigError
from authproxy.runtime import Runtime, compile_runtime
from authproxy.server.reload import Prepared, Watch, prepare
from tests.end_to_end.credentials import Authority
from tests.playbook import GUARDED, OPEN, configuration, write_files


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """A configuration with one policy file and one key file."""
    quiet = {"access": {"format": "none"}}
    return write_files(tmp_path, configuration("http://127.0.0.1:1", logging=quiet), [OPEN, GUARDED])  # fmt: skip


def rewrite(loaded: Loaded, **changes: Any) -> None:
    """The configuration, changed."""
    config = json.loads(loaded.file.read_text())
    loaded.file.write_text(json.dumps({**config, **changes}))


def news(watch: Watch) -> list[bool]:
    """Three looks."""
    return [watch.changed() for _ in range(3)]


QUIET, NEWS = [False] * 3, [False, True, False]


def in_place(folder: Path) -> None:
    """As an editor or `cp` does it."""
    (folder / "policies" / "routes.yaml").write_text("routes: []\n")


def renamed(folder: Path) -> None:
    """As most editors and all careful programs do it."""
    (folder / "tmp").write_text((folder / "jwks.json").read_text())
    (folder / "tmp").rename(folder / "jwks.json")


def added(folder: Path) -> None:
    """A policy file more."""
    (folder / "policies" / "more.yaml").write_text("routes: []\n")


def removed(folder: Path) -> None:
    """A policy file less."""
    (folder / "policies" / "routes.yaml").unlink()


def moved_directory(folder: Path) -> None:
    """Another directory of the same name."""
    (folder / "policies").rename(folder / "old")
    (folder / "policies").mkdir()


def mode(folder: Path) -> None:
    """What could not be read may be readable now."""
    (folder / "jwks.json").chmod(0o600)


@pytest.mark.parametrize("change", [in_place, renamed, added, removed, moved_directory, mode])
def test_a_change_is_news_once_it_rests(loaded: Loaded, change: Callable[[Path], None]) -> None:
    """Nothing is news before a change, and each change is told of once, at the second look that sees the same."""
    watch = Watch(loaded)
    assert news(watch) == QUIET
    change(loaded.folder)
    assert news(watch) == NEWS
    assert news(watch) == QUIET


def test_a_file_that_is_being_written_is_waited_for(loaded: Loaded) -> None:
    """While it grows it is no news."""
    watch, path = Watch(loaded), loaded.folder / "policies" / "more.yaml"
    for size in range(5):
        path.write_text("#" * (size + 1))
        assert watch.changed() is False
    assert watch.changed() is True


def test_the_swap_of_a_symlink_is_news(loaded: Loaded) -> None:
    """As Kubernetes does it: names stay, what they lead to is another."""
    policies = loaded.folder / "policies"
    for version in ("..1", "..2"):
        (policies / version).mkdir()
        (policies / version / "routes.yaml").write_text("routes: []\n")
    (policies / "..data").symlink_to("..1")
    (policies / "routes.yaml").unlink()
    (policies / "routes.yaml").symlink_to("..data/routes.yaml")
    watch = Watch(loaded)
    assert news(watch) == QUIET
    (policies / "new").symlink_to("..2")
    (policies / "new").rename(policies / "..data")
    assert news(watch) == NEWS


def test_a_look_that_fails_is_no_news(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a descriptor for a directory nothing is known of it: no error, no reload, and the change shows later."""
    watch = Watch(loaded)

    def out_of_descriptors(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "glob", out_of_descriptors)
        assert news(watch) == QUIET
    in_place(loaded.folder)
    assert news(watch) == NEWS


@pytest.mark.parametrize("name", [".routes.yaml.swp", "README", "routes.yaml~", "4913"])
def test_what_is_no_policy_file_is_no_news(loaded: Loaded, name: str) -> None:
    """What editors leave in the directory starts no reload."""
    watch = Watch(loaded)
    (loaded.folder / "policies" / name).write_text("x")
    assert news(watch) == QUIET


def test_what_changes_while_it_is_read_is_news(loaded: Loaded) -> None:
    """Between the beginning of the reading and its end a change may have been seen or not: so it is read again."""
    watch = Watch(loaded)
    watch.begin()
    in_place(loaded.folder)
    watch.follow(loaded)
    assert news(watch) == NEWS


def test_what_was_refused_is_watched(loaded: Loaded) -> None:
    """A file that only the refused configuration names is watched too: it may be where the mistake is mended."""
    watch, runtime = Watch(loaded), compile_runtime(loaded, {})
    config = json.loads(loaded.file.read_text())
    config["authenticators"]["tokens"]["keys"] = {"file": "other.json"}
    rewrite(loaded, authenticators=config["authenticators"])
    with pytest.raises(ConfigError):
        prepare(loaded.file, {}, runtime, watch)
    assert news(watch) == QUIET
    (loaded.folder / "other.json").write_text((loaded.folder / "jwks.json").read_text())
    assert news(watch) == NEWS
    assert prepare(loaded.file, {}, runtime, watch).file == loaded.file


def asserting(loaded: Loaded, **more: Any) -> Path:
    """The assertion on; its key file."""
    key = loaded.folder / "assertion.pem"
    key.write_bytes(generate_key("ES256"))
    settings = {"enabled": True, "issuer": "https://p.test", "key": {"file": key.name}, **more}
    rewrite(loaded, identity={"assertion": settings})
    return key


def test_a_new_key_of_the_assertion_is_news(loaded: Loaded) -> None:
    """`keys rotate` needs no signal."""
    key = asserting(loaded)
    watch = Watch(load(loaded.file))
    assert news(watch) == QUIET
    key.with_suffix(".new").write_bytes(generate_key("ES256"))
    key.with_suffix(".new").rename(key)
    assert news(watch) == NEWS


def test_what_was_asserted_is_taken_over_while_key_issuer_and_ttl_are_equal(loaded: Loaded) -> None:
    """Comments in the key file change nothing; another key, issuer or ttl does."""
    key = asserting(loaded)
    runtime = compile_runtime(load(loaded.file), {})
    key.write_bytes(b"# ours\n" + key.read_bytes())
    assert prepare(loaded.file, {}, runtime).runtime.assertions is runtime.assertions
    for changes in ({"ttl": "30s"}, {"issuer": "https://q.test"}, {}):
        before = key.read_bytes()
        asserting(loaded, **changes)
        if changes:
            key.write_bytes(before)
        other = prepare(loaded.file, {}, runtime).runtime.assertions
        assert other is not None
        assert other is not runtime.assertions
        key.write_bytes(before)


def at_a_provider(loaded: Loaded, **changes: Any) -> None:
    """A login at a provider, whose client has its secret in a file."""
    sso = {"type": "oidc", "issuer": "https://id.test", "client_id": "c", "client_secret": {"file": "client.secret"}}  # fmt: skip
    tokens = json.loads(loaded.file.read_text())["authenticators"]["tokens"]
    authenticators = {"tokens": tokens, "sso": {**sso, **changes}}
    rewrite(loaded, authenticators=authenticators, portal={"url": "https://login.test"})


async def test_a_provider_is_taken_over_while_its_section_is_equal(loaded: Loaded) -> None:
    """What it said of itself is not asked for again; another secret or setting is another provider, and the old one is let go."""
    secret = loaded.folder / "client.secret"
    secret.write_text("one")
    at_a_provider(loaded)
    before = compile_runtime(load(loaded.file), {})
    same = prepare(loaded.file, {}, before).runtime
    sso = before.authenticators["sso"]
    assert isinstance(sso, OidcAuthenticator)
    assert sso.goes_on_in(same.authenticators["sso"])
    for change in ({"title": "Acme"}, {"leeway": "1s"}, {}):
        at_a_provider(loaded, **change)
        secret.write_text("one" if change else "two")
        other = prepare(loaded.file, {}, before).runtime
        assert not sso.goes_on_in(other.authenticators["sso"])
    assert not sso.goes_on_in(None)
    await sso.close()


def test_the_files_of_a_client_are_watched(loaded: Loaded) -> None:
    """A new secret, key or authority needs no signal."""
    for name, changes in (
        ("client.secret", {}),
        ("ca.pem", {"ca": "ca.pem"}),
        ("k.pem", {"client_secret": None, "private_key": {"file": "k.pem"}}),
    ):
        (loaded.folder / name).write_text("one")
        at_a_provider(loaded, **{k: v for k, v in changes.items() if v is not None})
        if "private_key" in changes:
            config = json.loads(loaded.file.read_text())
            del config["authenticators"]["sso"]["client_secret"]
            rewrite(loaded, **config)
        watch = Watch(load(loaded.file))
        assert news(watch) == QUIET
        (loaded.folder / name).write_text("another")
        assert news(watch) == NEWS


def prepared(loaded: Loaded) -> tuple[Runtime, Prepared]:
    """A runtime, and what a reload makes of it."""
    runtime = compile_runtime(loaded, {})
    return runtime, prepare(loaded.file, {}, runtime)


def test_what_is_equal_is_taken_over(loaded: Loaded) -> None:
    """State, verified identities and the log are the same objects; policies are new ones."""
    before, after = prepared(loaded)
    assert after.runtime.store is before.store
    assert after.runtime.records is before.records
    assert after.runtime.limiter is before.limiter
    assert after.runtime.cache is before.cache
    assert after.runtime.access_log is before.access_log
    assert after.runtime.table is not before.table


def test_a_log_of_decisions_comes_and_goes(loaded: Loaded) -> None:
    """Without touching the access log; one that cannot be opened is a problem at its place, and nothing is taken over."""
    before, quiet = compile_runtime(loaded, {}), {"access": {"format": "none"}}
    rewrite(loaded, logging=quiet | {"decisions": {"path": "d.log"}})
    after = prepare(loaded.file, {}, before).runtime
    assert before.decisions is None
    assert after.decisions is not None
    assert after.logs == (before.access_log, after.decisions.lines)
    assert prepare(loaded.file, {}, after).runtime.logs == after.logs
    rewrite(loaded, logging=quiet | {"decisions": {"path": "none/d.log"}})
    with pytest.raises(ConfigError) as caught:
        prepare(loaded.file, {}, after)
    assert [problem.code for problem in caught.value.problems] == ["unwritable"]
    for lines in after.logs:
        lines.close()


def test_another_log_is_another_log(loaded: Loaded) -> None:
    """Where its section has changed it is opened anew, and the old one left to requests under way."""
    before = compile_runtime(loaded, {})
    rewrite(loaded, logging={"access": {"path": "other.log"}})
    after = prepare(loaded.file, {}, before)
    assert after.runtime.access_log is not before.access_log
    assert (loaded.folder / "other.log").exists()
    after.runtime.access_log.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("listeners", [{"address": "127.0.0.1:9999"}]),
        ("listeners", [{"address": "127.0.0.1:0", "redirect_to_https": 443}]),
        ("listeners", [{"address": "127.0.0.1:0", "proxy_protocol": ["10.0.0.0/8"]}]),
        ("admin", {"address": "127.0.0.1:9998"}),
        ("workers", 3),
        ("state", {"url": "lmdb:elsewhere"}),
    ],
)
def test_what_cannot_change_while_serving_is_named(loaded: Loaded, name: str, value: Any) -> None:
    """The problem has the key's place and says what to do."""
    runtime = compile_runtime(loaded, {})
    rewrite(loaded, **{"state": {"url": "lmdb:s"}, name: value} if name == "workers" else {name: value})  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        prepare(loaded.file, {}, runtime)
    problem = next(p for p in caught.value.problems if f"`{name}`" in p.text)
    assert (problem.code, problem.file.endswith("authproxy.yaml")) == ("needs-restart", True)
    assert problem.column > 1
    assert "restart" in problem.remedy


def tls_listener(loaded: Loaded, authorities: str = "a.pem", **more: Any) -> list[dict[str, Any]]:
    """A listener that asks for client certificates, whose files need not be there."""
    wanted = {"authorities": authorities, "mode": more.pop("mode", "optional")}
    pair = {"certificate": "a.crt", "private_key": "a.key"}
    return [{"address": "127.0.0.1:0", "tls": {"certificates": [pair], "client_certificates": wanted, **more}}]  # fmt: skip


@pytest.mark.parametrize("change", [{"mode": "required"}, {"hsts": "1d"}, {"profile": "modern"}, {"authorities": "b.pem"}])  # fmt: skip
def test_how_tls_is_spoken_cannot_change(loaded: Loaded, change: dict[str, Any]) -> None:
    """Which files hold certificates and authorities may, and is looked at; all else of `tls` needs a restart."""
    rewrite(loaded, listeners=tls_listener(loaded))
    before = compile_runtime(load(loaded.file), {})
    rewrite(loaded, listeners=tls_listener(loaded, **change))
    with pytest.raises(ConfigError) as caught:
        prepare(loaded.file, {}, before)
    codes = {problem.code for problem in caught.value.problems}
    assert codes == ({"bad-authorities", "bad-certificate"} if "authorities" in change else {"needs-restart"})  # fmt: skip


def test_authorities_are_watched(loaded: Loaded) -> None:
    """As every file that the configuration names."""
    rewrite(loaded, listeners=tls_listener(loaded))
    watch = Watch(load(loaded.file))
    (loaded.folder / "a.pem").write_text("x")
    assert news(watch) == NEWS


def test_a_section_that_is_gone_is_a_change_too(loaded: Loaded) -> None:
    """Where the key is no longer there the problem still has a place."""
    runtime = compile_runtime(loaded, {})
    config = json.loads(loaded.file.read_text())
    del config["admin"]
    loaded.file.write_text(json.dumps(config))
    with pytest.raises(ConfigError) as caught:
        prepare(loaded.file, {}, runtime)
    assert [p.code for p in caught.value.problems] == ["needs-restart"]
    assert caught.value.problems[0].line == 1


def test_the_watch_of_a_broken_file_sees_it_mended(loaded: Loaded) -> None:
    """A configuration that is no YAML at all is watched until it is."""
    good, watch = loaded.file.read_text(), Watch(loaded)
    loaded.file.write_text("{")
    assert news(watch) == NEWS
    watch.begin()
    watch.follow(load(loaded.file))
    loaded.file.write_text(good)
    assert news(watch) == NEWS


def test_an_authority_of_issuers_is_watched(loaded: Loaded, tmp_path: Path) -> None:
    """Another authority is another key set, asked for anew: what the old one vouched for counts no more."""
    authority = Authority(tmp_path / "authority")
    remote: dict[str, Any] = {
        "type": "jwt",
        "issuer": "https://i.test",
        "audiences": ["api"],
        "algorithms": ["RS256"],
    }
    remote["keys"] = {"discovery": True, "ca": str(authority.file)}
    rewrite(loaded, authenticators={"tokens": remote})
    runtime = compile_runtime(load(loaded.file), {})
    watch = Watch(load(loaded.file))
    before = runtime.authenticators["tokens"]
    again = prepare(loaded.file, {}, runtime, watch).runtime.authenticators["tokens"]
    assert isinstance(before, FollowingVerifier)
    assert isinstance(again, FollowingVerifier)
    assert again.remote is before.remote
    Authority(tmp_path / "authority")
    assert news(watch) == NEWS
    other = prepare(loaded.file, {}, runtime, watch).runtime.authenticators["tokens"]
    assert isinstance(other, FollowingVerifier)
    assert other.remote is not before.remote
    assert other.remote.source.identity != before.remote.source.identity


def test_the_files_of_introspection_are_watched(loaded: Loaded) -> None:
    """A new secret of ours, or another authority, is news."""
    asks = {
        "type": "introspection",
        "url": "https://i.test",
        "client_id": "c",
        "client_secret": {"file": "secret"},
        "ca": "ca.crt",
    }
    for name in ("secret", "ca.crt"):
        (loaded.folder / name).write_text("")
    config = json.loads(loaded.file.read_text())
    rewrite(loaded, authenticators={**config["authenticators"], "opaque": asks})
    watch = Watch(load(loaded.file))
    assert news(watch) == QUIET
    for name in ("secret", "ca.crt"):
        (loaded.folder / name).write_text("another")
        assert news(watch) == NEWS
