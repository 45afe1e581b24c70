"""`authproxy keys`: make and replace private keys, show the public ones. Nothing private is printed unless it was just made."""

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from authproxy.cli.options import ConfigOption, load_config
from authproxy.cli.writing import Unwritable, replacing, write_new

app = typer.Typer(
    name="keys", help="Make and replace keys, and show the public ones.", no_args_is_help=True
)


class Algorithm(StrEnum):
    """What a key signs with."""

    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    EdDSA = "EdDSA"
    Ed25519 = "Ed25519"
    HS256 = "HS256"
    HS384 = "HS384"
    HS512 = "HS512"


@app.command()
def generate(
    algorithm: Annotated[
        Algorithm, typer.Option("--algorithm", help="What it will sign with.")
    ] = Algorithm.ES256,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="A new file (0600); else it is printed."),
    ] = None,
) -> None:
    """Make a private key (PEM); for HS* a random secret. A file that exists is never overwritten.

    Example: authproxy keys generate --algorithm RS256 --out certs/token-signing.pem
    """
    from authproxy.authn.issue import generate_key

    key = generate_key(algorithm.value).rstrip(b"\n") + b"\n"
    if out is None:
        print(key.decode(), end="")
        return
    try:
        written = write_new(out, key, private=True)
    except Unwritable as problem:
        _fail(str(problem))
    if not written:
        _fail(f"{out} exists and is kept: name another file, or move it away")
    print(f"wrote {out}")


@app.command()
def jwks(
    config: ConfigOption = None,
    assertion: Annotated[
        bool, typer.Option("--assertion", help="Those that backends verify the assertion with.")
    ] = False,
    client: Annotated[
        str | None,
        typer.Option(
            "--client",
            metavar="A",
            help="That which the provider of this authenticator verifies us with.",
        ),
    ] = None,
) -> None:
    """Print the public keys (JWKS) that belong to the signing keys of the configuration: those of the test tokens
    (`issue_with`); with --assertion, or where there are none, those of the assertion; with --client that of its `private_key`.

    Example: authproxy keys jwks > certs/jwks.json
    """
    from authproxy.assertions import assertion_keyring
    from authproxy.cli.signing import client_jwks, signing_jwks

    loaded = load_config(config)
    if client is not None:
        if assertion:
            raise typer.BadParameter("give --assertion or --client, not both")
        own = client_jwks(loaded, client)
        if own is None:
            _fail(f"`{client}` is no authenticator of the type oidc with a `private_key`")
        print(json.dumps(own, indent=2))
        return
    found: Any = {"keys": []} if assertion else signing_jwks(loaded)
    if not found["keys"] and (keyring := assertion_keyring(loaded)) is not None:
        found = json.loads(keyring.jwks)
    if not found["keys"]:
        wanted = "`identity: {assertion: {key: {file: PATH}}}`"
        wanted = wanted if assertion else f"`issue_with` to an authenticator, or {wanted}"
        _fail(f"nothing in the configuration signs: add {wanted}")
    print(json.dumps(found, indent=2))


@app.command()
def rotate(config: ConfigOption = None) -> None:
    """Replace the key of the assertion without a gap, one step each time: publish a next key, sign with it, take the old
    one out. Running servers take each step over by themselves. Exit 1 where a step is not due yet, which changes nothing.

    Example: authproxy keys rotate --config /etc/authproxy/authproxy.yaml
    """
    from authproxy.assertions import assertion_keyring
    from authproxy.authn.issue import generate_key
    from authproxy.authn.keyring import make_key, read_keyring, write_keyring
    from authproxy.cli.rotation import NotYet, Unclear, next_step

    loaded = load_config(config)
    settings = loaded.usable().identity.assertion
    # What is wrong with the file is told with its place; it is read again once nobody else can be at it.
    if settings.key is None or assertion_keyring(loaded) is None:
        _fail("there is no assertion key: add `identity: {assertion: {key: {file: PATH}}}`")
    try:
        with replacing(loaded.folder / settings.key.file) as file:
            keyring, fresh = read_keyring(file.content), make_key(generate_key("ES256"))
            step = next_step(keyring, fresh, settings.ttl, time.time())
            file.commit(write_keyring(step.keys))
    except Unwritable as problem:
        _fail(str(problem))
    except Unclear as unclear:
        _fail(f"{settings.key.file}: {unclear}")
    except NotYet as wait:
        _fail(f"nothing is due: {wait}")
    print(f"{step.done}\n{step.then}")


def _fail(text: str) -> NoReturn:
    typer.echo(f"authproxy: {text}", err=True)
    raise typer.Exit(1)
