"""The table of warnings, held to the page that explains them: every code, and every example."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from authproxy.config.lint import lint_all
from authproxy.config.load import load
from authproxy.model.lints import LINTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/lint.md").read_text()
SECTION = re.compile(r"^### (?P<code>[\w-]+)\n(?P<body>.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
EXAMPLE = re.compile(r"^(Bad|Good):\n\n```(?:yaml|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONFIG = """\
listeners: [{address: "127.0.0.1:8443", tls: {certificates: [{certificate: certs/server.crt, private_key: certs/server.key}]}}]
authenticators:
  tokens: {type: jwt, issuer: https://issuer.test, audiences: [app], algorithms: [ES256], keys: {file: certs/jwks.json}}
  staff: {type: password, users: {file: users.yaml}}
upstreams: {app: {servers: ["http://127.0.0.1:9000"]}}
"""
# What keeps the parts that an example does not speak of from being unused.
BASE = "routes: [{name: base, match: {paths: [/base/**]}, upstream: app, authenticate: [tokens, staff], allow: authenticated}]"
HASH = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA"


def examples() -> Iterator[tuple[str, str, str]]:
    """Code, `Bad` or `Good`, and the example."""
    for section in SECTION.finditer(PAGE):
        for kind, text in EXAMPLE.findall(section["body"]):
            yield section["code"], kind, text


def write(folder: Path, text: str) -> Path:
    """The configuration that an example stands for: its routes as they are written, its other parts in place of ours."""
    for name in ("policies", "certs"):
        (folder / name).mkdir()
    (folder / "certs/server.key").touch(0o600)
    config = yaml.safe_load(CONFIG)
    users = {"ann": {"password": HASH}}
    modes = re.findall(r"^chmod (\d+) (\S+)$", text, re.MULTILINE)
    found = {} if modes else yaml.safe_load(text)
    users |= found.pop("users", {})
    routes = found.pop("routes", None)
    for key, value in found.items():
        merged = isinstance(value, dict) and key in config
        config[key] = {**config[key], **value} if merged else value
    file = folder / "authproxy.yaml"
    file.write_text(yaml.safe_dump(config))
    (folder / "users.yaml").write_text(yaml.safe_dump({"users": users}))
    (folder / "users.yaml").chmod(0o600)
    (folder / "policies/base.yaml").write_text(BASE)
    if routes is not None:
        begin = text.index("routes:")
        end = re.compile(r"^\w", re.MULTILINE).search(text, begin + 1)
        (folder / "policies/example.yaml").write_text(text[begin : end.start() if end else None])
    for mode, name in modes:
        (folder / name).chmod(int(mode, 8))
    return file


def test_every_code_has_its_place_in_the_page() -> None:
    """A heading, which is its anchor, with a bad and a good example; and no heading is another code's."""
    assert [section["code"] for section in SECTION.finditer(PAGE)] == list(LINTS)
    assert [(code, kind) for code, kind, _ in examples()] == [
        (code, kind) for code in LINTS for kind in ("Bad", "Good")
    ]


@pytest.mark.parametrize(
    ("code", "kind", "text"), [pytest.param(*e, id=f"{e[0]}-{e[1]}") for e in examples()]
)
def test_every_example_is_what_it_is_said_to_be(
    tmp_path: Path, code: str, kind: str, text: str
) -> None:
    """The bad one is warned of with its code; the good one with nothing at all."""
    loaded = load(write(tmp_path, text))
    assert [str(p) for p in loaded.problems] == []
    found = [p.code for p in lint_all(loaded)]
    assert found == [] if kind == "Good" else code in found
