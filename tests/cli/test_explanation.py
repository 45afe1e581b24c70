"""One truth: what `policy explain` says of a request is what the running server does with it."""

import http.client
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from os import environ
from pathlib import Path
from typing import Any

import pytest

from authproxy.cli.explanation import Asked, explain_request
from authproxy.config.load import load
from authproxy.runtime import Verification, verification
from tests.end_to_end.credentials import Issuer
from tests.end_to_end.served import Served, configuration, write_configuration
from tests.hostile.recorder import Recorder
from tests.playbook import GUARDED, OPEN, write_files
from tests.playbook import configuration as playbook_configuration

CASES = 400
HOSTS = [
    "app.test",
    "one.gen.test",
    "two.gen.test",
    "gen.test",
    "a.b.gen.test",
    "APP.test.",
    "app.test:8443",
]
PATHS = [
    "/svc", "/svc/x", "/svc/a/b", "/svc/z/b", "/svc/a/q", "/svc/a/b/c", "/cel/eu/1", "/cel/us/1", "/cel/all/1", "/scoped/1", "/denied/1", "/open/1", "/open/closed/1",
    "/none", "/Svc/x", "/open", "/svc/%61/b", "/svc/../x", "/svc//x", "/svc/x?a=%2e%2e", "/slash/a%2Fb", "/open/%zz", "/shadow/1", "/net/1", "/svc/a/%62",
]  # fmt: skip


def closed(
    name: str, match: dict[str, Any], allow: Any = "authenticated", **more: Any
) -> dict[str, Any]:
    """A route that needs a token."""
    return {
        "name": name,
        "match": match,
        "upstream": "app",
        "authenticate": ["tokens"],
        "allow": allow,
        **more,
    }


ROUTES = [
    closed("any", {"paths": ["/svc/**"]}, [{"groups": ["eng"]}]),
    closed("one", {"hosts": ["one.gen.test"], "paths": ["/svc/**"]}, [{"subjects": ["ann", "bob"]}]),
    closed("suffix", {"hosts": ["*.gen.test"], "paths": ["/svc/**"]}, [{"groups": ["ops"]}, {"subjects": ["cat"]}]),
    closed("literal", {"paths": ["/svc/a/b"]}, [{"groups": ["eng", "ops"]}], deny=[{"groups": ["suspended"]}]),
    closed("star", {"paths": ["/svc/*/b"], "methods": ["GET", "DELETE"]}),
    closed("star-post", {"paths": ["/svc/*/b"], "methods": ["POST", "PUT"]}, [{"groups": ["writers"]}]),
    closed("middle", {"paths": ["/svc/a/*"]}, [{"claims": {"tenant": "acme"}}]),
    closed("when", {"paths": ["/cel/**"]}, [{"when": 'claims.level >= 3 && request.path.startsWith("/cel/eu/")'}]),
    closed("when-any", {"paths": ["/cel/all/**"]}, [{"when": 'claims.tenant == "acme"'}, {"subjects": ["bob"]}], deny=[{"when": "claims.level > 5"}]),
    closed("scopes", {"paths": ["/scoped/**"], "methods": ["GET"]}, [{"scopes": ["read", "list"]}]),
    closed("denied", {"paths": ["/denied/**"]}, deny=[{"groups": ["suspended"]}, {"claims": {"tenant": "evil"}}]),
    closed("closed", {"paths": ["/open/closed/**"]}, [{"groups": ["nobody"]}]),
    closed("slash", {"paths": ["/slash/**"]}, encoded_slash="forward"),
    closed("shadow", {"paths": ["/shadow/**"]}, [{"groups": ["eng"]}], mode="shadow"),
    closed("networks", {"paths": ["/net/**"]}, [{"networks": ["10.0.0.0/8"]}, {"networks": ["127.0.0.0/8"], "groups": ["eng"]}]),
    {"name": "open", "match": {"paths": ["/open/**"]}, "upstream": "app", "authenticate": "none"},
]  # fmt: skip


@dataclass
class World:
    """The server, and the same configuration for explaining."""

    served: Served
    decides: Verification
    issuer: Issuer
    recorder: Recorder

    def ask(self, method: str, host: str, path: str, token: str | None) -> tuple[str, str | None]:
        """What the server does: verdict and route."""
        connection = http.client.HTTPConnection("127.0.0.1", self.served.ports[0], timeout=5)
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host)
        if token is not None:
            connection.putheader("Authorization", f"Bearer {token}")
        connection.endheaders()
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return str(answer.getheader("X-Request-Id")), "allow" if answer.status == 200 else None


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The server with the overlapping routes."""
    recorder, issuer = Recorder(), Issuer()
    config = configuration({"app": {"servers": [f"http://127.0.0.1:{recorder.port}"]}})
    file = write_configuration(tmp_path_factory.mktemp("truth"), issuer, config, ROUTES)
    served = Served(file)
    yield World(served, verification(load(file), environ), issuer, recorder)
    served.stop()
    recorder.close()


def identities(chance: random.Random) -> list[dict[str, Any] | None]:
    """Nobody, and people with groups, tenants, levels and scopes of all kinds."""
    found: list[dict[str, Any] | None] = [None]
    for _ in range(30):
        claims: dict[str, Any] = {
            "subject": chance.choice(["ann", "bob", "cat", "dan"]),
            "groups": chance.sample(
                ["eng", "ops", "writers", "suspended", "zz"], chance.randint(0, 3)
            ),
        }
        for name, values in (
            ("tenant", ["acme", "evil", "other", 5]),
            ("level", [1, 3, 7, "high", True]),
            ("scope", ["read", "read list", "list read x", ""]),
        ):
            if chance.random() < 0.4:
                claims[name] = chance.choice(values)
        found.append(claims)
    return found


def test_explain_says_what_the_server_does(world: World) -> None:
    """Over generated requests the explanation names the verdict and the route that the server's log shows."""
    chance = random.Random(20)
    people = identities(chance)
    tokens = [None if claims is None else world.issuer.token(**claims) for claims in people]
    expected = {}
    for _ in range(CASES):
        method = chance.choice(["GET", "GET", "GET", "POST", "DELETE", "HEAD"])
        host, path, token = chance.choice(HOSTS), chance.choice(PATHS), chance.choice(tokens)
        request_id, _ = world.ask(method, host, path, token)
        asked = Asked(method=method, url=f"http://{host}{path}", token=token)
        found = explain_request(world.decides, asked, time.time())
        expected[request_id] = (
            found["verdict"],
            found["route"],
            found["shadow"],
            (method, host, path),
        )
    time.sleep(0.5)
    log = {line["request_id"]: line for line in world.served.log()}
    wrong = []
    for request_id, (verdict, route, shadow, what) in expected.items():
        line = log[request_id]
        if (line["code"] or "allow", line["route"], line["shadow"]) != (verdict, route, shadow):
            wrong.append((what, verdict, route, line))
    assert wrong == []
    assert {v for v, *_ in expected.values()} == {
        "allow",
        "forbidden",
        "unauthenticated",
        "no_route",
        "method_not_allowed",
        "bad_request",
    }


def test_the_head_that_is_shown_is_the_head_that_is_sent(world: World) -> None:
    """The backend gets, line by line, the head that the explanation shows, but for what is new with each request."""
    token = world.issuer.token("ann", groups=["eng", "ops"], email="ann@a.test")
    fields = [
        ("Accept", "*/*"),
        ("X-Forwarded-User", "root"),
        ("X_User", "root"),
        ("Cookie", "a=b"),
        ("X-Note", "é"),
        ("X-Dropped", "named by Connection"),
        ("Proxy", "http://evil.test"),
        ("Connection", "X-Dropped, X-Forwarded-User"),
    ]
    asked = Asked(
        method="GET", url="http://app.test/svc/a/b?x=1", token=token, headers=tuple(fields)
    )
    shown = explain_request(world.decides, asked, time.time())["backend_head"]
    connection = http.client.HTTPConnection("127.0.0.1", world.served.ports[0], timeout=5)
    connection.putrequest("GET", "/svc/a/b?x=1", skip_host=True, skip_accept_encoding=True)
    for name, value in [("Host", "app.test"), *fields, ("Authorization", f"Bearer {token}")]:
        connection.putheader(name, value.encode())
    connection.endheaders()
    connection.getresponse().read()
    connection.close()
    sent = world.recorder.seen[-1].head.decode().rstrip("\r\n").split("\r\n")
    new = ("X-Request-Id:", "traceparent:", "Traceparent:")
    assert sorted(x for x in shown if not x.startswith(new)) == sorted(
        x for x in sent if not x.startswith(new)
    )
    assert {
        "X-Forwarded-User: ann",
        "X-Forwarded-Email: ann@a.test",
        "X-Forwarded-Groups: eng,ops",
    } <= set(sent)


def test_an_assertion_is_shown_and_not_made(tmp_path: Path) -> None:
    """Its name is there where the server would sign one; nothing that a backend would take is printed, nor a key read."""
    on = {"enabled": True, "issuer": "https://p.test", "key": {"file": "not-there.pem"}}
    config = playbook_configuration("http://127.0.0.1:1", identity={"assertion": on})
    decides = verification(write_files(tmp_path, config, [OPEN, GUARDED]), {})
    for url, shown in (("http://a.test/guarded/x", ["…"]), ("http://a.test/open", [])):
        found = explain_request(decides, Asked(method="GET", url=url, subject="ann"), time.time())
        heads = [line.partition(": ") for line in found["backend_head"]]
        assert [v for n, _, v in heads if n == "X-Authproxy-Assertion"] == shown
