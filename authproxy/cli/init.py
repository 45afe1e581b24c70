"""`authproxy init`: a configuration that works, its policies with their tests, its certificates and keys.

It writes what `starter/` holds and what `provisioning.py` makes, each file only where there is none.
"""

import json
import shlex
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from authproxy.cli.writing import Report, Unwritable

BACKEND = "http://127.0.0.1:9000"
ALGORITHM = "ES256"
_MODELINE = "# yaml-language-server: $schema="


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to.")] = Path(),
    backend: Annotated[
        str, typer.Option("--backend", metavar="URL", help="Where requests are sent.")
    ] = BACKEND,
) -> None:
    """Write authproxy.yaml, policies/ and certs/ to begin with; what exists is left as it is, and named.

    Example: authproxy init proxy --backend http://127.0.0.1:3000
    """
    _check_backend(backend)
    report = Report(folder)
    begun = report.there("authproxy.yaml")
    try:
        password = write_starter(report, backend)
    except Unwritable as problem:
        print(*report.lines, sep="\n", end="\n" if report.lines else "")
        typer.echo(f"authproxy: {problem}", err=True)
        raise typer.Exit(1) from None
    # The steps are for what was written here; who has a configuration may listen elsewhere.
    print(*report.lines, *(() if begun else _next_steps(folder)), sep="\n")
    if password is not None:
        print(f"\nUser `admin` has the password {password} (shown this once).")


def write_starter(
    report: Report,
    backend: str,
    *,
    listener: str = "127.0.0.1:8443",
    admin: str | None = "127.0.0.1:9901",
) -> str | None:
    """Everything that `authproxy serve` needs in the report's folder; port 0 takes a free one, `admin` None is no admin.
    The password of the user that was made, if one was.

    Raises:
        Unwritable: a file cannot be written, or one that is there fits nothing that could be.
    """
    from authproxy.cli.provisioning import (
        provide_certificates,
        provide_key,
        provide_token_keys,
        provide_users,
    )

    report.write("authproxy.yaml", _configuration(backend, listener, admin))
    report.write("policies/routes.yaml", _with_modeline("../schema/policy.json", _text("routes")))
    provide_certificates(report, "certs/")
    provide_token_keys(report, "certs/token-signing.pem", "certs/jwks.json", ALGORITHM)
    provide_key(report, "certs/assertion.pem", "ES256")
    password = provide_users(report, "users.yaml")
    _write_schemas(report)
    return password


def _configuration(backend: str, listener: str, admin: str | None) -> bytes:
    text = Template(_text("authproxy")).substitute(
        # JSON's strings are YAML's: whatever the backend is called, it stays one value.
        backend=json.dumps(backend),
        listener=json.dumps(listener),
        admin=f"{{address: {json.dumps(admin)}}}" if admin else "false",
    )
    return _with_modeline("schema/authproxy.json", text)


def _with_modeline(schema: str, text: str) -> bytes:
    """The text with the line that tells editors where its schema is: they complete and check while one types."""
    return f"{_MODELINE}{schema}\n{text}".encode()


def _text(name: str) -> str:
    return files("authproxy.cli").joinpath("starter", f"{name}.yaml").read_text(encoding="utf-8")


def _write_schemas(report: Report) -> None:
    from authproxy.cli.schemas import configuration_schema, policy_schema

    for name, made in (("authproxy", configuration_schema), ("policy", policy_schema)):
        text = json.dumps(made(), indent=2, ensure_ascii=False)
        report.write(f"schema/{name}.json", text.encode() + b"\n")


def _check_backend(url: str) -> None:
    from pydantic import ValidationError

    from authproxy.config.schema import Upstream

    try:
        Upstream(servers=[url])
    except ValidationError as error:
        text = error.errors(include_url=False)[0]["msg"]
        raise typer.BadParameter(text, param_hint="--backend") from None


def _next_steps(folder: Path) -> list[str]:
    steps = [
        "authproxy check",
        "authproxy serve",
        "and in another terminal:",
        "TOKEN=$(authproxy token issue --subject demo)",
        'curl --cacert certs/ca.crt -H "Authorization: Bearer $TOKEN" https://localhost:8443/',
    ]
    if folder != Path():
        steps.insert(0, f"cd {shlex.quote(str(folder))}")
    return ["", "Next:", *(f"  {step}" for step in steps)]
