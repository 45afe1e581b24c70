"""`authproxy policy`: explain a decision, run the policies' own tests, print the schema. No server is needed.

All of it asks the decision function that the server asks.
"""

import json
import os
import sys
import time
from enum import StrEnum
from typing import Annotated, Any

import typer

from authproxy.cli import policy_replay, policy_test
from authproxy.cli.options import ConfigOption, load_config

app = typer.Typer(name="policy", help="Explain, test and describe policies.", no_args_is_help=True)


class Format(StrEnum):
    """How an explanation is written."""

    text = "text"
    json = "json"


@app.command()
def schema() -> None:
    """Print the JSON Schema of policy files and of the configuration.

    Example: authproxy policy schema > authproxy.schema.json
    """
    from authproxy.config.schema import Config
    from authproxy.policy.document import PolicyDocument

    policy = PolicyDocument.model_json_schema()
    policy["$defs"]["Configuration"] = _inlined(Config.model_json_schema(), policy["$defs"])
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "authproxy policy file",
    }
    print(json.dumps({**policy, **document}, indent=2))


def _inlined(other: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    definitions.update(other.pop("$defs", {}))
    return other


app.command()(policy_test.test)
app.command()(policy_replay.replay)
app.command()(policy_replay.shadow_report)

Texts = list[str] | None
MethodArgument = Annotated[str, typer.Argument(help="The request's method.")]
UrlArgument = Annotated[str, typer.Argument(help="The request's URL: https://host/path")]
TokenOption = Annotated[str | None, typer.Option("--token", help="A token to present.")]
SubjectOption = Annotated[
    str | None, typer.Option("--subject", help="Instead of a token: who it is.")
]
GroupOption = Annotated[Texts, typer.Option("--group", help="A group of the subject; repeatable.")]
ScopeOption = Annotated[Texts, typer.Option("--scope", help="A scope of the subject; repeatable.")]
ClaimOption = Annotated[
    Texts, typer.Option("--claim", metavar="NAME=JSON", help="A claim; repeatable.")
]
AuthenticatorOption = Annotated[
    str | None, typer.Option("--authenticator", help="Who verified the subject.")
]
ClientOption = Annotated[str, typer.Option("--client", metavar="IP", help="The client's address.")]
HeaderOption = Annotated[
    Texts, typer.Option("--header", metavar="'N: v'", help="A request header; repeatable.")
]
ExpectOption = Annotated[
    str | None, typer.Option("--expect", metavar="V", help="Exit 1 unless the verdict is this.")
]
FormatOption = Annotated[
    Format, typer.Option("--format", help="text for people, json for programs.")
]


@app.command()
def explain(
    method: MethodArgument,
    url: UrlArgument,
    token: TokenOption = None,
    subject: SubjectOption = None,
    group: GroupOption = None,
    scope: ScopeOption = None,
    claim: ClaimOption = None,
    authenticator: AuthenticatorOption = None,
    client: ClientOption = "127.0.0.1",
    header: HeaderOption = None,
    expect: ExpectOption = None,
    format: FormatOption = Format.text,
    config: ConfigOption = None,
) -> None:
    """Say what the proxy would do with a request, and why.

    Example: authproxy policy explain GET https://app.example/orders/1 --subject alice --group eng
    """
    from authproxy.cli.explanation import Asked, explain_request
    from authproxy.cli.explanation_text import render_text
    from authproxy.cli.revocation import known_revocations
    from authproxy.runtime import verification

    described = bool(group or scope or claim or authenticator)
    _check_asked(expect, token, subject, described=described)
    asked = Asked(
        method=method,
        url=url,
        token=token,
        subject=subject,
        groups=tuple(group or ()),
        scopes=tuple(scope or ()),
        claims=dict(_claim(text) for text in claim or ()),
        authenticator=authenticator,
        client=client,
        headers=tuple(_header(text) for text in header or ()),
    )
    loaded, now = load_config(config), time.time()
    decides = verification(loaded, os.environ)
    decides.revocations, unread = known_revocations(loaded, os.environ, now)
    if unread and (token is not None or header):
        print(f"authproxy: the revocation list was not looked at: {unread}", file=sys.stderr)
    try:
        explanation = explain_request(decides, asked, now)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if format is Format.json:
        print(json.dumps(explanation, indent=2, ensure_ascii=False))
    else:
        print(render_text(explanation, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    if expect is not None and explanation["verdict"] != expect:
        print(f"expected {expect}", file=sys.stderr)
        raise typer.Exit(1)


def _check_asked(
    expect: str | None, token: str | None, subject: str | None, *, described: bool
) -> None:
    """Refuse options that contradict each other, before anything is read."""
    from authproxy.model.errors import REFUSALS

    if expect is not None and expect != "allow" and expect not in REFUSALS:
        raise typer.BadParameter(
            f"{expect} is no verdict: allow, or a code such as forbidden", param_hint="--expect"
        )
    if token is not None and (subject or described):
        raise typer.BadParameter(
            "give a token, or describe an identity, not both", param_hint="--token"
        )
    if subject is None and described:
        raise typer.BadParameter("an identity needs --subject", param_hint="--subject")


def _claim(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    try:
        if separator and name:
            return name, json.loads(value)
    except ValueError:
        pass
    raise typer.BadParameter(
        f"{text[:80]!r} is no NAME=JSON; text needs quotes: 'tenant=\"acme\"'", param_hint="--claim"
    )


def _header(text: str) -> tuple[str, str]:
    name, separator, value = text.partition(":")
    if not separator or not name.strip():
        raise typer.BadParameter(f"{text[:80]!r} is no 'Name: value'", param_hint="--header")
    return name.strip(), value.strip()
