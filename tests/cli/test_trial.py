"""A trial of policies: whatever verifies in the configuration, its identities come by test tokens; nothing is left behind."""

import threading
from pathlib import Path

import pytest

from authproxy.cli import trial
from authproxy.cli.trial import serve_trial
from authproxy.model.errors import ConfigError
from tests.end_to_end.credentials import Issuer
from tests.end_to_end.served import configuration, write_configuration


def write(folder: Path) -> Path:
    """A route for two authenticators that a trial has no credentials of, with limits, a set header and a lost prefix."""
    upstreams = {"app": {"servers": ["https://app.test"], "host": "inner.test"}}
    sso = {"type": "oidc", "issuer": "https://id.test", "client_id": "a", "client_secret": {"env": "NOT_THERE"}}  # fmt: skip
    config = configuration(
        upstreams, portal={"url": "https://login.test"}, identity={"profile": "remote"},
        authenticators={"machines": {"type": "certificate", "subject": "cn"}, "sso": sso},
    )  # fmt: skip
    route = {
        "name": "r", "match": {"paths": ["/a/**"]}, "upstream": "app", "authenticate": ["machines", "sso"],
        "allow": [{"authenticators": ["sso"], "claims": {"tenant": "acme"}}], "rewrite": {"strip_prefix": "/a"},
        "rate_limits": [{"limit": "3/hour", "per": "subject"}], "headers": {"set": {"X-Tenant": "claims.tenant"}},
    }  # fmt: skip
    file = write_configuration(folder, Issuer(), config, [route])
    with (folder / "policies" / "routes.yaml").open("a") as opened:
        opened.write(
            "identities: {ann: {subject: ann, authenticator: sso, claims: {tenant: acme}}}\n"
        )
    return file


def test_identities_of_any_authenticator_come_by_test_tokens(tmp_path: Path) -> None:
    """Policies, limits, rewriting and headers are the configuration's; methods without a body too, and bodies."""
    before = threading.active_count()
    with serve_trial(write(tmp_path)) as server:
        head = server.request("HEAD", "https://app.test/a/b", identity="ann")
        assert (head.code, head.body) == ("allow", b"")
        assert head.backend is not None
        told = head.backend["headers"]
        assert (head.backend["method"], head.backend["target"]) == ("HEAD", "/b")
        assert (told["x-tenant"], told["remote-user"], told["host"]) == (
            "acme",
            "ann",
            "inner.test",
        )
        assert server.request("PURGE", "https://app.test/a", identity="ann", body=b"x" * 70_000).code == "allow"  # fmt: skip
        machine = {"subject": "ann", "claims": {"tenant": "acme"}}
        assert server.request("GET", "https://app.test/a", identity=machine).code == "forbidden"
        assert server.request("GET", "https://app.test/a", identity="ann").code == "allow"
        assert server.request("GET", "https://app.test/a", identity="ann").code == "rate_limited"
        with pytest.raises(KeyError):
            server.token("bob")
        with pytest.raises(KeyError):
            server.token({"subject": "bob", "authenticator": "other"})
    assert threading.active_count() == before


def test_a_trial_of_what_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    """Before anything is started."""
    file = write(tmp_path)
    file.write_text(file.read_text().replace("inner.test", "inner test"))
    with pytest.raises(ConfigError), serve_trial(file):
        pass


def test_a_proxy_that_does_not_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own words are in the error, and the backend is gone."""
    before = threading.active_count()
    monkeypatch.setattr(trial, "_tokens_of", lambda name: {"type": "jwt", "issuer": name})
    with pytest.raises(RuntimeError, match="algorithms"), serve_trial(write(tmp_path)):
        pass
    assert threading.active_count() == before
