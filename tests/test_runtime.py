"""From a configuration to engines: all that can fail about files and names fails here, with its place."""

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from authproxy.config.load import Loaded
from authproxy.model.errors import ConfigError
from authproxy.model.exchange import Exchange
from authproxy.model.target import parse_target
from authproxy.runtime import Runtime, compile_runtime, state_url, upstream_settings, verification
from tests.playbook import GUARDED, OPEN, authenticator, configuration, write_files
from tests.wire import Json

SERVER = "http://127.0.0.1:9000"


def loaded(folder: Path, *routes: Json, **changes: Any) -> Loaded:
    """A configuration in this folder."""
    return write_files(folder, configuration(SERVER, **changes), routes or (OPEN, GUARDED))


@contextmanager
def compiled(config: Loaded) -> Iterator[Runtime]:
    """What it is served with; the log is closed in the end."""
    runtime = compile_runtime(config, {})
    try:
        yield runtime
    finally:
        runtime.access_log.close()


def problems(error: ConfigError) -> list[tuple[str, str]]:
    """Code and place of each."""
    return [
        (problem.code, f"{Path(problem.file).name}:{problem.line}") for problem in error.problems
    ]


def test_every_route_has_its_engine(tmp_path: Path) -> None:
    """A route that asks nobody authenticates nobody; its limits are split into those before and after the identity."""
    limits = [{"limit": "1/second", "per": "address"}, {"limit": "1/second", "per": "subject"}]
    with compiled(loaded(tmp_path, OPEN, GUARDED | {"rate_limits": limits})) as runtime:
        engines = {route.name: engine for route, engine in runtime.engines.items()}
        assert set(engines) == {"open", "guarded"}
        assert engines["open"].authentication is None
        assert engines["guarded"].authentication is not None
        assert not engines["guarded"].address_step.empty
        assert not engines["guarded"].identity_step.empty
        assert engines["open"].address_step.empty
        assert runtime.global_step.empty
        assert not runtime.failures.empty
        own = {b"__Host-authproxy", b"__Host-authproxy-form", b"__Host-authproxy-kept"}
        assert runtime.own_cookies == own


def test_global_limits_have_names(tmp_path: Path) -> None:
    """Limits without a name get one of their own, so that two never share a count."""
    limits = [{"limit": "1/second", "per": "address"}, {"limit": "9/minute", "per": "address"}]
    with compiled(loaded(tmp_path, rate_limits=limits)) as runtime:
        keys = {charge.key for charge in runtime.global_step.charges(Exchange("id", 0.0, 0.0))}
        assert len(keys) == 2


def test_bad_keys_are_problems_of_their_authenticator(tmp_path: Path) -> None:
    """Keys that are missing, unreadable or none at all are each named, all in one go."""
    (tmp_path / "rubbish").write_text("rubbish")
    config = loaded(
        tmp_path,
        OPEN,
        authenticators={
            "missing": authenticator() | {"keys": {"file": "no.json"}, "issuer": "https://a.test"},
            "rubbish": authenticator() | {"keys": {"file": "rubbish"}, "issuer": "https://b.test"},
            "secret": authenticator()
            | {
                "keys": {"secret": {"env": "NO_SUCH"}},
                "algorithms": ["HS256"],
                "issuer": "https://c.test",
            },
        },
    )
    with pytest.raises(ConfigError) as failed:
        verification(config, {})
    assert [code for code, _ in problems(failed.value)] == ["unreadable", "bad-keys", "bad-secret"]


def test_a_secret_comes_from_the_environment(tmp_path: Path) -> None:
    """`{env: NAME}` is read from the environment that is given, and from no other."""
    secret = authenticator() | {"keys": {"secret": {"env": "KEY"}}, "algorithms": ["HS256"]}
    config = loaded(tmp_path, authenticators={"tokens": secret})
    assert "tokens" in verification(config, {"KEY": "s" * 64}).authenticators
    with pytest.raises(ConfigError):
        verification(config, {"KEY": "short"})


ASKS: Json = {
    "type": "introspection", "url": "https://i.test/x", "client_id": "c", "client_secret": {"file": "secret"},
}  # fmt: skip


def test_bad_files_of_introspection_are_problems_of_their_place(tmp_path: Path) -> None:
    """A secret that is not there, an authority that is none: nobody is asked with less than was configured."""
    (tmp_path / "secret").write_text("s")
    (tmp_path / "empty").write_text("")
    other = {"token_from": [{"header": "X-A"}]}
    config = loaded(
        tmp_path,
        OPEN,
        authenticators={
            "a": ASKS | {"client_secret": {"file": "none"}},
            "b": ASKS | other | {"ca": "none.crt"},
            "c": ASKS | {"token_from": [{"cookie": "c"}], "ca": "empty"},
        },
    )
    with pytest.raises(ConfigError) as failed:
        verification(config, {})
    assert [code for code, _ in problems(failed.value)] == [
        "bad-secret", "unreadable", "unreadable",
    ]  # fmt: skip


def test_who_asks_is_taken_over_where_nothing_changed(tmp_path: Path) -> None:
    """With its connections and what it was told; another secret is another one, and so is another authority."""
    secret = tmp_path / "secret"
    secret.write_text("s")
    config = loaded(tmp_path, OPEN, authenticators={"opaque": ASKS, "keys": {"type": "api-key"}})
    with compiled(config) as first:
        same = compile_runtime(config, {}, first)
        assert same.authenticators["opaque"] is first.authenticators["opaque"]
        assert same.records is first.records
        secret.write_text("other")
        other = compile_runtime(config, {}, first)
        assert other.authenticators["opaque"] is not first.authenticators["opaque"]


def test_an_upstreams_files_are_read_at_load(tmp_path: Path) -> None:
    """A CA that cannot be read is an error before anything is served (CVE-class: verification that fails open)."""
    upstreams = {"backend": {"servers": ["https://backend.test"], "tls": {"ca": "no.crt"}}}
    with pytest.raises(ConfigError) as failed:
        upstream_settings(loaded(tmp_path, upstreams=upstreams))
    assert [code for code, _ in problems(failed.value)] == ["bad-tls"]


def test_https_is_always_verified(tmp_path: Path) -> None:
    """An https upstream has a verifying context also where nothing is configured; a plain one has none."""
    upstreams = {
        "backend": {"servers": [SERVER]},
        "secure": {"servers": ["https://backend.test"], "tls": {"server_name": "other.test"}},
    }
    found = upstream_settings(loaded(tmp_path, upstreams=upstreams))
    assert found["backend"].tls is None
    secure = found["secure"]
    assert secure.tls is not None
    assert (secure.tls.check_hostname, secure.server_name) == (True, "other.test")


def test_timeouts_are_the_upstreams_own(tmp_path: Path) -> None:
    """The upstream's timeouts are what its streams are held to."""
    with compiled(loaded(tmp_path, timeouts={"idle": "7s", "connect": "2s"})) as runtime:
        found = Exchange("id", 0.0, 0.0)
        found.route = runtime.table.find("a", "GET", parse_target("/"))
        assert runtime.idle_timeout(found) == 7.0
        assert runtime.upstreams["backend"].timeouts.connect == 2.0


def test_where_the_state_lives(tmp_path: Path) -> None:
    """As configured; else LMDB in the first `$STATE_DIRECTORY`, else in `state/`; an empty variable is none."""
    config = loaded(tmp_path, state={}).usable()
    assert state_url(config, {}) == "lmdb:state"
    assert state_url(config, {"STATE_DIRECTORY": ""}) == "lmdb:state"
    assert state_url(config, {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}) == "lmdb:/var/lib/a"


def test_an_access_log_that_cannot_be_opened(tmp_path: Path) -> None:
    """It is an error of the configuration, with its place."""
    config = loaded(tmp_path, logging={"access": {"path": "no/such/folder/log"}})
    with pytest.raises(ConfigError) as failed:
        compile_runtime(config, {})
    assert [code for code, _ in problems(failed.value)] == ["unwritable"]


def test_a_configuration_with_errors_compiles_to_nothing(tmp_path: Path) -> None:
    """What `check` would refuse cannot be served."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "authproxy.yaml").write_text(json.dumps({"listeners": []}))
    from authproxy.config.load import load

    with pytest.raises(ConfigError):
        compile_runtime(load(tmp_path / "authproxy.yaml"), {})


def test_what_is_replaced_is_gone_at_once(tmp_path: Path) -> None:
    """A runtime that a reload replaced holds no circle of ours, which would wait for the collector, for hours on a quiet day."""
    config = loaded(tmp_path, trusted_proxies={"networks": ["10.0.0.0/8"]})
    with compiled(config) as first:
        compile_runtime(config, {}, first)
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            compile_runtime(config, {}, first)
            gc.collect()
            left = [one for one in gc.garbage if type(one).__module__.startswith("authproxy.")]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
    assert left == []
