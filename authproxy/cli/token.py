"""`authproxy token`: make test tokens, read them, ask what the configuration says of one, and revoke.

A token comes as an argument or on stdin, and only `issue` ever prints one.
"""

import json
import os
import sys
import time
from datetime import datetime
from typing import Annotated, Any, NoReturn

import typer

from authproxy.cli.options import ConfigOption, load_config, require_authenticator

app = typer.Typer(name="token", help="Make, read, verify and revoke tokens.", no_args_is_help=True)

STDIN_MOST = 1 << 20

TokenArgument = Annotated[
    str | None, typer.Argument(metavar="TOKEN|-", help="The token; `-` or nothing: from stdin.")
]


@app.command()
def issue(
    subject: Annotated[str, typer.Option("--subject", metavar="S", help="Whom it speaks of.")],
    group: Annotated[
        list[str] | None, typer.Option("--group", metavar="G", help="A group; repeatable.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", metavar="S", help="A scope; repeatable.")
    ] = None,
    audience: Annotated[
        str | None,
        typer.Option("--audience", metavar="A", help="For whom; else the first configured one."),
    ] = None,
    claim: Annotated[
        list[str] | None,
        typer.Option("--claim", metavar="NAME=JSON", help="Any claim; repeatable."),
    ] = None,
    ttl: Annotated[
        str, typer.Option("--ttl", metavar="DURATION", help="How long it is good: 90s, 10m, 1h.")
    ] = "1h",
    authenticator: Annotated[
        str | None,
        typer.Option("--authenticator", metavar="NAME", help="Who takes it; else the first."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Print one signed test token, and nothing else. Needs an authenticator with `issue_with`.

    Example: authproxy token issue --subject ann --group eng --claim 'tenant="acme"' --ttl 10m
    """
    from authproxy.cli.signing import Wanted, issuing, mint

    wanted = Wanted(
        subject=subject,
        groups=tuple(group or ()),
        scopes=tuple(scope or ()),
        audience=audience,
        claims=dict(_claim(text) for text in claim or ()),
        ttl=_seconds(ttl),
    )
    _check_text("--subject", subject)
    _check_text("--group", *wanted.groups)
    _check_text("--scope", *wanted.scopes)
    _check_text("--audience", *([] if audience is None else [audience]))
    loaded = load_config(config)
    able = issuing(loaded)
    if authenticator is not None and authenticator not in able:
        _unable(authenticator, loaded.usable().authenticators, able)
    if not able:
        _fail("no authenticator has a key to make tokens with: add `issue_with: {file: KEY}`")
    print(mint(loaded, authenticator or next(iter(able)), wanted, time.time()))


@app.command()
def inspect(token: TokenArgument = None) -> None:
    """Print what a token says, as JSON. Nothing is verified: anybody can write such a token.

    Example: authproxy token inspect - < token.txt
    """
    from authproxy.authn.compact import MalformedToken
    from authproxy.authn.issue import inspect as read

    text = _read_token(token)
    try:
        found = read(text)
    except MalformedToken as malformed:
        _fail(f"this is no signed JWT ({malformed}): three parts of base64url joined by dots")
    print(_printable(json.dumps(found, indent=2, ensure_ascii=False)))
    typer.echo("unverified: `authproxy token verify` says what the configuration thinks", err=True)


@app.command()
def verify(token: TokenArgument = None, config: ConfigOption = None) -> None:
    """Say what the configuration says of a token, and why: exit 0 where it is good, 1 where it is refused.

    The verifiers are the server's own; what a route asks of groups and scopes is for `policy explain`.

    Example: authproxy token issue --subject ann | authproxy token verify
    """
    from authproxy.cli.issuer_keys import fetch_for_token
    from authproxy.cli.revocation import known_revocations
    from authproxy.cli.token_verdict import GOOD, judge_token, verdict_lines
    from authproxy.runtime import verification

    text = _read_token(token)
    loaded = load_config(config)
    decides = verification(loaded, os.environ)
    fetch_for_token(decides.authenticators.values(), text)
    now = time.time()
    decides.revocations, unread = known_revocations(loaded, os.environ, now)
    verdict = judge_token(decides, text, now)
    if unread:
        typer.echo(f"authproxy: the revocation list was not looked at: {unread}", err=True)
    for line in verdict_lines(verdict, now):
        print(_printable(line))
    if verdict.code != GOOD:
        raise typer.Exit(1)


@app.command()
def revoke(
    token: TokenArgument = None,
    subject: Annotated[
        str | None,
        typer.Option("--subject", metavar="S", help="All that S was issued until now."),
    ] = None,
    jti: Annotated[
        str | None, typer.Option("--jti", metavar="J", help="The token with this `jti`.")
    ] = None,
    authenticator: Annotated[
        str | None,
        typer.Option("--authenticator", metavar="A", help="Whose subject or `jti` it is."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="TIME",
            help="When it ends by itself, as 2026-12-31T00:00:00Z; for a subject a year if not said.",
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Refuse from now on what was good: one token until it ends, or all of a subject. Every worker knows within a second.

    A token is verified first, as by `token verify`; one that is not good is not put on the list (exit 1).

    Example: authproxy token revoke - < token.txt
    Example: authproxy token revoke --subject ann --authenticator tokens
    """
    from authproxy.cli.revocation import NotRevoked, revoke_all_of, revoke_id, revoke_token

    _check_revocation(token, subject, jti, authenticator, until)
    for name, text in (("--subject", subject), ("--jti", jti)):
        _check_text(name, *([] if text is None else [text]))
    now = time.time()
    end = None if until is None else _moment(until, now)
    text = _read_token(token) if subject is None and jti is None else ""
    loaded = load_config(config)
    require_authenticator(loaded, authenticator)
    try:
        if subject is not None:
            done = revoke_all_of(loaded, os.environ, authenticator or "", subject, end, now)
        elif jti is not None:
            done = revoke_id(loaded, os.environ, authenticator or "", jti, end or now, now)
        else:
            done = revoke_token(loaded, os.environ, text, now)
    except NotRevoked as failure:
        _fail(_printable(str(failure)))
    print(_printable(str(done)))


def _check_revocation(
    token: str | None, subject: str | None, jti: str | None, authenticator: str | None, until: str | None
) -> None:  # fmt: skip
    """Refuse options that contradict each other, before anything is read."""
    if subject is None and jti is None:
        if authenticator is not None or until is not None:
            raise typer.BadParameter("these need --subject or --jti", param_hint="--authenticator, --until")  # fmt: skip
        return
    if token is not None or (subject is not None and jti is not None):
        raise typer.BadParameter("give one of TOKEN, --subject and --jti")
    if authenticator is None:
        raise typer.BadParameter("say whose it is", param_hint="--authenticator")
    if jti is not None and until is None:
        problem = "a `jti` alone does not say when its token ends: give that time"
        raise typer.BadParameter(problem, param_hint="--until")


def _moment(text: str, now: float) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        problem = f"{text[:60]!r} is no time with its zone: 2026-12-31T00:00:00Z"
        raise typer.BadParameter(problem, param_hint="--until")
    if found.timestamp() <= now:
        raise typer.BadParameter("this has passed", param_hint="--until")
    return found.timestamp()


def _read_token(argument: str | None) -> str:
    if argument is not None and argument != "-":
        return argument.strip()
    if argument is None and _stdin_is_terminal():
        raise typer.BadParameter("give the token, or `-` to read it from stdin")
    content = sys.stdin.buffer.read(STDIN_MOST).decode("utf-8", "replace").strip()
    if not content:
        raise typer.BadParameter("there is no token on stdin")
    return content


def _stdin_is_terminal() -> bool:
    return sys.stdin.isatty()


def _claim(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise typer.BadParameter(f"{text[:80]!r} is no NAME=JSON", param_hint="--claim")
    try:
        found = json.loads(value, parse_constant=_no_constant)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()  # 1e400, lone surrogates
        return name, found
    except (ValueError, RecursionError):
        hint = f"'{name}={json.dumps(value[:60])}'"
        problem = f"the value of {name[:60]} is no JSON; as text it is written {hint}"
        raise typer.BadParameter(problem, param_hint="--claim") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are not JSON (RFC 8259 section 6)


def _check_text(option: str, *texts: str) -> None:
    """Arguments that are no UTF-8 arrive as surrogates, which no token can hold."""
    for text in texts:
        if not text or not text.isprintable():
            problem = f"{text[:60]!r} is empty, or holds what is no text"
            raise typer.BadParameter(problem, param_hint=option)


def _seconds(text: str) -> float:
    from pydantic_core import PydanticCustomError

    from authproxy.config.values import parse_duration

    try:
        return parse_duration(text)
    except PydanticCustomError as error:
        raise typer.BadParameter(error.message(), param_hint="--ttl") from None


def _unable(name: str, known: Any, able: Any) -> NoReturn:
    what = "has no `issue_with`" if name in known else "is not in the configuration"
    text = f"`{name[:64]}` {what}; tokens can be made for: {', '.join(able) or 'none'}"
    raise typer.BadParameter(text, param_hint="--authenticator")


def _printable(text: str) -> str:
    """The text with what could steer a terminal written as JSON escapes."""
    return "".join(
        c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] if ord(c) != 127 else "\\u007f"
        for c in text
    )


def _fail(text: str) -> NoReturn:
    typer.echo(f"authproxy: {text}", err=True)
    raise typer.Exit(1)
