"""Keys of a real OpenID provider that rotates them, is stopped and comes back, under requests that never cease."""

import base64
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.fleet import Fleet, fleet, guarded
from tests.end_to_end.provider import AUDIENCE, Provider
from tests.end_to_end.served import Served, run, wait_until

REFRESH = 2.0
AGE = "authproxy_key_set_age_seconds"


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    made = Provider(tmp_path)
    yield made
    made.stop()


def trusting(provider: Provider, **keys: str) -> dict[str, Any]:
    """The settings of a fleet whose tokens are the provider's."""
    times = {"refresh": f"{REFRESH:g}s", "keep": "5m", "cool_down": "1s", **keys}
    tokens = {
        "type": "jwt", "issuer": provider.issuer, "audiences": [AUDIENCE], "algorithms": ["RS256"],
        "keys": {"discovery": True, **times},
    }  # fmt: skip
    return {"authenticators": {"tokens": tokens}, "routes": [guarded("x")]}


def admin(f: Fleet, path: str) -> tuple[int, str]:
    """What the admin listener answers."""
    connection = http.client.HTTPConnection("127.0.0.1", f.admin, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Flow:
    """Requests that never cease, with whatever token is the newest; their statuses are counted."""

    def __init__(self, f: Fleet, token: str) -> None:
        self.token, self.statuses = token, Counter[int]()
        self._fleet, self._stopped = f, threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(3)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.statuses[self._fleet.ask("/x", self.token)] += 1

    def stop(self) -> Counter[int]:
        """End them; what became of all."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        return self.statuses


@contextmanager
def flowing(f: Fleet, token: str) -> Iterator[Flow]:
    """A flow that ends with the block."""
    flow = Flow(f, token)
    try:
        yield flow
    finally:
        flow.stop()


def test_keys_rotate_while_requests_flow(tmp_path: Path, provider: Provider) -> None:
    """Published ahead or replaced all at once: no false 401; a withdrawn key is dead in every worker within `refresh`."""
    with fleet(tmp_path / "proxy", workers=2, **trusting(provider)) as f:
        first = provider.token()
        assert f.everywhere("/x", first) == {200}
        with flowing(f, first) as flow:
            provider.tell("publish")
            provider.tell("use")
            flow.token = provider.token()  # of a key that nobody here has seen
            assert f.everywhere("/x", first) == {200}
            statuses = flow.stop()
        assert set(statuses) == {200}, statuses
        assert statuses[200] > 100

        for _ in range(3):
            time.sleep(1.1)  # the cool-down
            before = provider.tell("replace")
            assert f.everywhere("/x", provider.token()) == {200}
            assert provider.tell("") - before <= 2
        assert f.everywhere("/x", first) == {401}

        second = provider.token()
        assert f.everywhere("/x", second) == {200}
        withdrawn = time.monotonic()
        provider.tell("publish")
        provider.tell("use")
        provider.tell("withdraw")
        assert f.becomes("/x", 401, REFRESH + 1, second)
        assert time.monotonic() - withdrawn < REFRESH + 1
        assert f.everywhere("/x", provider.token()) == {200}


def test_workers_ask_as_one(tmp_path: Path, provider: Provider) -> None:
    """Four workers fetch the set once at the start, and a flood of keys that are nobody's costs one question more."""
    times = {"refresh": "1h", "cool_down": "1h", "keep": "24h"}
    with fleet(tmp_path / "proxy", workers=4, **trusting(provider, **times)) as f:
        good = provider.token()
        assert f.everywhere("/x", good) == {200}
        assert provider.tell("") == 1
        claims = good.split(".")[1]
        forged = [f"{header(str(number))}.{claims}.AAAA" for number in range(60)]
        assert {f.ask("/x", token) for token in forged} == {401}
        assert provider.tell("") == 2
        f.reload()
        assert f.everywhere("/x", good) == {200}
        assert provider.tell("") == 2
        assert f.metric("authproxy_key_set_fetches_total", result="success") == 2


def header(kid: str) -> str:
    """The header of a token that says to be of this key."""
    said = json.dumps({"alg": "RS256", "typ": "at+jwt", "kid": kid}).encode()
    return base64.urlsafe_b64encode(said).rstrip(b"=").decode()


def test_the_provider_is_stopped(tmp_path: Path, provider: Provider) -> None:
    """Service goes on, also through a restart, and readiness tells; after `keep` nobody passes; its return mends all."""
    with fleet(tmp_path / "proxy", workers=2, **trusting(provider, keep="12s")) as f:
        token = provider.token()
        assert f.everywhere("/x", token) == {200}
        assert admin(f, "/readyz") == (200, "ready\n")
        provider.stop()
        stopped = time.monotonic()
        assert wait_until(lambda: "keys of tokens, " in admin(f, "/readyz")[1], 2 * REFRESH)
        status, told = admin(f, "/readyz")
        assert (status, told.splitlines()[0]) == (200, "ready")
        assert f.everywhere("/x", token) == {200}

        assert f.served.stop() == 0
        f.served = Served(f.file, name="again")
        assert f.everywhere("/x", token) == {200}
        (keys,) = json.loads(admin(f, "/status")[1])["key_sets"]
        assert keys["source"] == provider.issuer + "/.well-known/openid-configuration"
        assert keys["age_seconds"] >= 1
        assert "no answer" in keys["last_error"]
        assert wait_until(lambda: f.metric(AGE, authenticator="tokens") > 1)
        verdict = run("token", "verify", token, "--config", str(f.file))
        assert (verdict.returncode, "cannot fetch the keys of `tokens`" in verdict.stderr) == (1, True)  # fmt: skip
        assert verdict.stdout.startswith("verdict: state_unavailable\n")

        assert f.becomes("/x", 503, 16, token)
        assert time.monotonic() - stopped + REFRESH + 1 > 10
        assert admin(f, "/readyz")[0] == 503
        assert "no keys of tokens" in admin(f, "/readyz")[1]
        assert wait_until(lambda: "are forgotten" in f.served.errors(), 2 * REFRESH)
        assert f.served.errors().count("could not be fetched") <= 4

        provider.start()
        fresh = provider.token()
        assert f.becomes("/x", 200, 10, fresh)
        assert f.everywhere("/x", token) == {401}
        assert wait_until(lambda: admin(f, "/readyz") == (200, "ready\n"))
        assert run("token", "verify", fresh, "--config", str(f.file)).returncode == 0
