"""`authproxy policy explain`: why a request would be decided so, or why one was that happened.

The decision is made by the function that the server asks; a request that happened is asked for at the running workers.
"""

import json
import os
import sys
import time
from functools import partial
from typing import Annotated, Any

import typer

from authproxy.cli.options import ConfigOption, Format, FormatOption, load_config

Texts = list[str] | None
MethodArgument = Annotated[
    str | None, typer.Argument(metavar="METHOD", help="The request's method.")
]
UrlArgument = Annotated[
    str | None, typer.Argument(metavar="URL", help="The request's URL: https://host/path")
]
TokenOption = Annotated[
    str | None, typer.Option("--token", metavar="T", help="A token to present.")
]
SubjectOption = Annotated[
    str | None, typer.Option("--subject", metavar="S", help="Instead of a token: who it is.")
]
GroupOption = Annotated[
    Texts, typer.Option("--group", metavar="G", help="A group of the subject; repeatable.")
]
ScopeOption = Annotated[
    Texts, typer.Option("--scope", metavar="S", help="A scope of the subject; repeatable.")
]
ClaimOption = Annotated[
    Texts, typer.Option("--claim", metavar="NAME=JSON", help="A claim; repeatable.")
]
AuthenticatorOption = Annotated[
    str | None,
    typer.Option(
        "--authenticator",
        metavar="A",
        help="Who verified the subject; else the first of the route.",
    ),
]
ClientOption = Annotated[
    str | None,
    typer.Option("--client", metavar="IP", help="The client's address; else 127.0.0.1."),
]
HeaderOption = Annotated[
    Texts, typer.Option("--header", metavar="'N: v'", help="A request header; repeatable.")
]
ExpectOption = Annotated[
    str | None, typer.Option("--expect", metavar="V", help="Exit 1 unless the verdict is this.")
]
RequestIdOption = Annotated[
    str | None,
    typer.Option(
        "--request-id", metavar="ID", help="Explain a request that happened: its X-Request-Id."
    ),
]
LiveOption = Annotated[
    bool, typer.Option("--live", help="Ask the running server what is left of the limits.")
]


def explain(
    method: MethodArgument = None,
    url: UrlArgument = None,
    token: TokenOption = None,
    subject: SubjectOption = None,
    group: GroupOption = None,
    scope: ScopeOption = None,
    claim: ClaimOption = None,
    authenticator: AuthenticatorOption = None,
    client: ClientOption = None,
    header: HeaderOption = None,
    request_id: RequestIdOption = None,
    live: LiveOption = False,
    expect: ExpectOption = None,
    format: FormatOption = Format.text,
    config: ConfigOption = None,
) -> None:
    """Say what the proxy would do with a request, and why; or why it did what it did with one that happened.

    Example: authproxy policy explain GET https://app.example/orders/1 --subject alice --group eng
    """
    described = bool(group or scope or claim or authenticator)
    _check_asked(expect, token, subject, described=described)
    if request_id is not None:
        others = (method, url, token, subject, client, header)
        if described or live or any(one is not None for one in others):
            text = "the request that happened says who and what it was: give nothing else"
            raise typer.BadParameter(text, param_hint="--request-id")
        _show(_happened(config, request_id), format, expect)
        return
    if method is None or url is None:
        raise typer.BadParameter("give METHOD and URL, or --request-id", param_hint="METHOD URL")
    parts = {
        "token": token,
        "subject": subject,
        "groups": tuple(group or ()),
        "scopes": tuple(scope or ()),
        "claims": dict(claim_option(text) for text in claim or ()),
        "authenticator": authenticator,
        "client": client or "127.0.0.1",
        "headers": tuple(_header(text) for text in header or ()),
    }
    _show(_would(config, {"method": method, "url": url, **parts}, live=live), format, expect)


def _would(config: str | None, parts: dict[str, Any], *, live: bool) -> dict[str, Any]:
    """What would come of a request that is described."""
    from authproxy.cli.explanation import Asked, explain_request
    from authproxy.cli.revocation import known_revocations
    from authproxy.cli.workers import NothingKnownError, ask_limits
    from authproxy.runtime import verification
    from authproxy.trails import trail_folder

    loaded, now = load_config(config), time.time()
    named = parts["authenticator"]
    if named is not None and named not in loaded.usable().authenticators:
        # No usage error: `policy diff` shows differences for those of an authenticator that no route asks.
        print(f"authproxy: the configuration has no authenticator `{named}`", file=sys.stderr)
    decides = verification(loaded, os.environ)
    decides.revocations, unread = known_revocations(loaded, os.environ, now)
    if unread and (parts["token"] is not None or parts["headers"]):
        print(f"authproxy: the revocation list was not looked at: {unread}", file=sys.stderr)
    folder = trail_folder(decides.config, loaded.folder, os.environ)
    peek = partial(ask_limits, folder) if live else None
    try:
        return explain_request(decides, Asked(**parts), now, peek)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    except NothingKnownError as error:
        print(f"authproxy: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


def _happened(config: str | None, request_id: str) -> dict[str, Any]:
    """What came of a request, as the workers remember it."""
    from authproxy.cli.happened import explain_happened
    from authproxy.cli.workers import NothingKnownError, find_request
    from authproxy.runtime import verification
    from authproxy.trails import trail_folder

    loaded = load_config(config)
    folder = trail_folder(loaded.usable(), loaded.folder, os.environ)
    try:
        found = find_request(folder, request_id)
    except NothingKnownError as error:
        print(f"authproxy: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    return explain_happened(verification(loaded, os.environ), found, loaded.policy_digest)


def _show(found: dict[str, Any], format: Format, expect: str | None) -> None:
    from authproxy.cli.explanation_text import render_text

    if format is Format.json:
        # In ASCII: what a caller sent must be no command of a terminal.
        print(json.dumps(found, indent=2))
    else:
        print(render_text(found, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    if expect is not None and found["verdict"] != expect:
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


def claim_option(text: str) -> tuple[str, Any]:
    """The name and the value of a `--claim`."""
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
