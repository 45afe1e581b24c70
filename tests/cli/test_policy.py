"""`authproxy policy`: what a decision is made of, and what the files look like."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from authproxy.authn.jwk import thumbprint_of
from tests.authn.proofs import jwk_of, proof
from tests.cli.program import run, succeed
from tests.end_to_end.credentials import Issuer
from tests.end_to_end.served import configuration, write_configuration

ISSUER = Issuer()
UPSTREAMS = {"app": {"servers": ["http://127.0.0.1:1"]}}
ROUTES: list[dict[str, Any]] = [
    {"name": "eng", "match": {"paths": ["/g/**"], "methods": ["GET"]}, "upstream": "app", "authenticate": ["tokens"], "allow": [{"groups": ["eng"]}],
     "rate_limits": [{"name": "fair", "limit": "5/minute", "per": "subject"}], "headers": {"set": {"X-Tenant": "claims.tenant"}}},
    {"name": "open", "match": {"paths": ["/o/**"]}, "upstream": "app", "authenticate": "none"},
    {"name": "watched", "match": {"paths": ["/w/**"]}, "upstream": "app", "authenticate": ["tokens"], "allow": [{"groups": ["eng"]}], "mode": "shadow"},
]  # fmt: skip
ENG = ("--subject", "ann", "--group", "eng", "--claim", 'tenant="acme"')


def write(folder: Path) -> Path:
    """The routes."""
    return write_configuration(folder, ISSUER, configuration(UPSTREAMS), ROUTES)


def explain(file: Path, *words: str) -> dict[str, Any]:
    """An explanation as a program reads it."""
    found: dict[str, Any] = json.loads(
        succeed("policy", "explain", *words, "--format", "json", "--config", file)
    )
    return found


def test_an_explanation_tells_all(tmp_path: Path) -> None:
    """Route, conditions with outcomes, verdict, limits, and the very headers that the backend would get."""
    found = explain(
        write(tmp_path), "GET", "https://app.test/g/1?x=1", *ENG, "--client", "192.0.2.7"
    )
    assert (found["route"], found["verdict"], found["mode"], found["upstream"]) == (
        "eng",
        "allow",
        "enforce",
        "app",
    )
    assert [(c["condition"], c["holds"]) for c in found["conditions"]] == [("groups: [eng]", True)]
    assert [(x["name"], x["limit"], x["per"]) for x in found["limits"]] == [
        ("fair", "5/minute", "subject")
    ]
    head = found["backend_head"]
    assert head[0] == "GET /g/1?x=1 HTTP/1.1"
    assert {
        "Host: app.test",
        "X-Forwarded-User: ann",
        "X-Forwarded-Groups: eng",
        "X-Forwarded-For: 192.0.2.7",
        "X-Tenant: acme",
    } <= set(head)


def test_a_bound_token_needs_more_than_itself(tmp_path: Path) -> None:
    """What is missing is said; with a proof of this very request the verdict is the server's."""
    config = configuration(UPSTREAMS)
    config["authenticators"]["tokens"] |= {"dpop": "optional", "certificate_bound": "optional"}
    file = write_configuration(tmp_path, ISSUER, config, ROUTES)
    url = "https://app.test/g/1"
    text = ISSUER.token(groups=["eng"], cnf={"jkt": thumbprint_of(jwk_of())})
    asked = explain(file, "GET", url, "--token", text)
    assert (asked["verdict"], asked["reason"]) == ("token_invalid", "dpop-scheme")
    assert "--header 'Authorization: DPoP" in asked["hint"]
    given = ["--header", f"Authorization: DPoP {text}"]
    assert "a proof is needed" in succeed("policy", "explain", "GET", url, *given, "--config", file)
    shown = proof(text, {"htu": url}, now=time.time())
    asked = explain(file, "GET", f"{url}?a=b", *given, "--header", f"DPoP: {shown}")
    assert (asked["verdict"], asked["hint"]) == ("allow", None)
    assert not [line for line in asked["backend_head"] if line.lower().startswith(("dpop", "auth"))]
    asked = explain(file, "POST", url, *given, "--header", f"DPoP: {shown}")
    assert asked["verdict"] == "method_not_allowed"
    text = ISSUER.token(groups=["eng"], cnf={"x5t#S256": "a" * 43})
    asked = explain(file, "GET", url, "--token", text)
    assert (asked["verdict"], asked["reason"]) == ("token_invalid", "no-certificate")
    assert "--subject" in asked["hint"]


def test_the_text_ends_in_the_verdict(tmp_path: Path) -> None:
    """The last line is `verdict: …`, an allow or a code of the contract."""
    file = write(tmp_path)
    for words, verdict in (
        (("GET", "https://app.test/g/1", *ENG), "allow"),
        (("GET", "https://app.test/g/1", "--subject", "bob"), "forbidden"),
        (("GET", "https://app.test/g/1"), "unauthenticated"),
        (("POST", "https://app.test/g/1", *ENG), "method_not_allowed"),
        (("GET", "https://app.test/x"), "no_route"),
        (("GET", "https://app.test/g/%2e%2e/x", *ENG), "bad_request"),
        (("GET", "https://app.test/g/1", "--token", "x.y.z"), "token_invalid"),
        (("GET", "https://app.test/g/1", "--token", ISSUER.token(exp=1)), "token_expired"),
        (
            ("GET", "https://app.test/g/1", "--token", ISSUER.token(groups=["eng"], tenant="x")),
            "allow",
        ),
        (("GET", "https://app.test/w/1", "--subject", "bob"), "allow"),
    ):
        text = succeed("policy", "explain", *words, "--config", file)
        assert text.splitlines()[-1] == f"verdict: {verdict}"
    assert "shadow" in succeed(
        "policy", "explain", "GET", "https://app.test/w/1", "--subject", "b", "--config", file
    )


def test_a_token_is_not_repeated(tmp_path: Path) -> None:
    """Neither the token nor a part of it is in what is printed, however it was given."""
    file, token = write(tmp_path), ISSUER.token(groups=["eng"], tenant="x")
    for words in (("--token", token), ("--header", f"Authorization: Bearer {token}")):
        for form in ("text", "json"):
            said = succeed(
                "policy",
                "explain",
                "GET",
                "https://app.test/g/1",
                *words,
                "--format",
                form,
                "--config",
                file,
            )
            assert token.rpartition(".")[2] not in said
            assert "allow" in said


def test_only_what_was_expected_is_success(tmp_path: Path) -> None:
    """Exit 0 whatever the verdict is; with --expect 1 unless it is that one."""
    words = ("policy", "explain", "GET", "https://app.test/g/1", "--config", write(tmp_path))
    assert run(*words).exit_code == 0
    assert run(*words, "--expect", "unauthenticated").exit_code == 0
    assert run(*words, "--expect", "allow").exit_code == 1


@pytest.mark.parametrize(
    "words",
    [
        ("--expect", "maybe"), ("--group", "eng"), ("--token", "x", "--subject", "a"), ("--subject", "a", "--claim", "x"),
        ("--subject", "a", "--claim", "x=y"), ("--header", "nothing"), ("--client", "nobody"), ("--format", "xml"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_questions_that_make_no_sense_are_two(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Options that contradict each other, or cannot be read, are wrong usage."""
    result = run(
        "policy", "explain", "GET", "https://app.test/g/1", *words, "--config", write(tmp_path)
    )
    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "url", ["app.test/g", "", "ftp://app.test/", "https://", "https://a b/", "/g/1"]
)
def test_a_url_that_is_none_is_two(tmp_path: Path, url: str) -> None:
    """What is asked about must be a URL."""
    result = run("policy", "explain", "GET", url, "--config", write(tmp_path))
    assert (result.exit_code, "Traceback" in result.output) in {(2, False), (0, False)}
    if result.exit_code == 0:
        assert result.stdout.splitlines()[-1] == "verdict: bad_request"


def test_the_schema_is_one(tmp_path: Path) -> None:
    """The schema is JSON Schema 2020-12, names what the files may hold, and refuses keys that nobody knows."""
    schema = json.loads(succeed("policy", "schema"))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(schema["properties"]) == {"routes", "identities", "tests"}
    assert schema["additionalProperties"] is False
    assert "Configuration" in schema["$defs"]
    closed = [
        name
        for name, one in schema["$defs"].items()
        if one.get("type") == "object" and one.get("additionalProperties") is not False
    ]
    assert closed == []
