"""Policies from a configuration: without a key, a secret or a server, and the same as the server's own."""

import os
from pathlib import Path

import pytest
import yaml

from authproxy.config.load import load
from authproxy.config.schema import Upstream
from authproxy.model.errors import ConfigError
from authproxy.policies import backend_host, credential_places, load_policies, slots_of
from authproxy.policy.document import CaseIdentity
from authproxy.policy.offline import decide_request, exchange_for
from authproxy.runtime import verification
from tests.end_to_end.credentials import Issuer
from tests.end_to_end.served import configuration, write_configuration

UPSTREAMS = {"app": {"servers": ["http://127.0.0.1:1"], "host": "upstream"}}
ROUTE = {"match": {"paths": ["/**"]}, "upstream": "app", "allow": "authenticated"}
TOKENS = {"issuer": "https://i.test", "audiences": ["a"], "algorithms": ["ES256"], "keys": {"file": "jwks.json"}}  # fmt: skip


def write(folder: Path, **authenticators: dict[str, object]) -> Path:
    """A configuration with one route for each authenticator, of its name."""
    config = configuration(UPSTREAMS, identity={"profile": "remote", "strip": ["X-Role"]})
    config["authenticators"] |= authenticators
    routes = [
        ROUTE | {"name": name, "match": {"paths": [f"/{name}/**"]}, "authenticate": [name]}
        for name in config["authenticators"]
    ]
    return write_configuration(folder, Issuer(), config, routes)


def test_the_places_of_credentials_are_those_of_the_server(tmp_path: Path) -> None:
    """By the settings alone, and by what the server compiles, for every type of authenticator."""
    (tmp_path / "users.yaml").write_text("users: {}\n")
    (tmp_path / "secret").write_text("s" * 32)
    asks = {"url": "https://i.test/ask", "client_id": "a", "client_secret": {"file": "secret"}}
    file = write(
        tmp_path,
        cookie={"type": "jwt", **TOKENS, "token_from": [{"cookie": "t"}, {"header": "X-Token"}]},
        proofs={"type": "jwt", **TOKENS, "issuer": "https://p.test", "token_from": [{"header": "X-P"}], "dpop": "optional"},
        basic={"type": "jwt", **TOKENS, "issuer": "https://b.test", "token_from": [{"header": "Authorization", "scheme": "Basic"}]},
        opaque={"type": "introspection", **asks, "dpop": "required"},
        keys={"type": "api-key", "token_from": [{"header": "X-API-Key"}]},
        machines={"type": "certificate", "subject": "cn"},
        staff={"type": "password", "users": {"file": "users.yaml"}},
    )  # fmt: skip
    loaded = load(file)
    decides = verification(loaded, os.environ)
    config = loaded.usable()
    for route in decides.table.routes:
        compiled = decides.authentication(route)
        assert compiled is not None
        asked = [config.authenticators[name] for name in route.authenticators]
        headers, cookies = credential_places(asked, config.session.cookie)
        assert {name.encode() for name in headers} == compiled.credential_headers, route.name
        assert cookies == compiled.credential_cookies, route.name
    compiled_slots = {
        name: frozenset(slot.name for slot in one.slots)
        for name, one in decides.authenticators.items()
    }
    assert slots_of(config) == compiled_slots


def test_the_head_is_the_one_that_the_server_would_send(tmp_path: Path) -> None:
    """Profile, names that are stripped, the credential that stays here, the host of the upstream."""
    policies = load_policies(write(tmp_path))
    identity = CaseIdentity(subject="ann", groups=["eng"])
    headers = {"Authorization": "Bearer x", "Remote-User": "root", "X-Role": "root", "X-A": "1"}
    exchange = exchange_for("GET", "https://a.test/tokens/1", now=0.0)
    found = decide_request(policies, exchange, identity, headers).backend_headers
    assert found is not None
    told = {"Host": "127.0.0.1:1", "Remote-User": "ann", "Remote-Groups": "eng", "X-A": "1"}
    assert told.items() <= found.items()
    assert {"authorization", "x-role"}.isdisjoint(name.lower() for name in found)


def test_no_key_and_no_secret_is_needed(tmp_path: Path) -> None:
    """A pipeline has the policies, and nothing that could sign or verify; an assertion is only named."""
    file = write(tmp_path, other={"type": "jwt", **TOKENS, "algorithms": ["HS256"], "keys": {"secret": {"env": "NOT_THERE"}}, "issuer": "https://o.test", "token_from": [{"header": "X-T"}]})  # fmt: skip
    config = yaml.safe_load(file.read_text())
    config["identity"]["assertion"] = {"enabled": True, "issuer": "https://p.test", "key": {"file": "gone.pem"}}  # fmt: skip
    file.write_text(yaml.safe_dump(config))
    (tmp_path / "jwks.json").unlink()
    (tmp_path / "signing.pem").unlink()
    exchange = exchange_for("GET", "https://a.test/other/1", now=0.0)
    found = decide_request(load_policies(file), exchange, CaseIdentity(subject="ann"))
    assert found.allowed
    assert (found.backend_headers or {})["X-Authproxy-Assertion"] == "…"


def test_what_cannot_be_used_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by every command: with all problems."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTHPROXY_CONFIG", raising=False)
    with pytest.raises(ConfigError, match=r"no-such-file|unreadable"):
        load_policies(tmp_path / "none.yaml")
    with pytest.raises(ConfigError):
        load_policies()
    write(tmp_path)
    assert len(load_policies().table.routes) == 1


@pytest.mark.parametrize(
    ("host", "told"), [("client", None), ("upstream", b"127.0.0.1:1"), ("a.test", b"a.test")]
)
def test_the_host_that_a_backend_is_told(host: str, told: bytes | None) -> None:
    """The client's own, the server's, or a name."""
    assert backend_host(Upstream(servers=["http://127.0.0.1:1"], host=host)) == told
