"""`authproxy keys`: make private keys, show the public ones. Nothing private is printed unless it was just made."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from authproxy.cli.options import ConfigOption, load_config
from authproxy.cli.writing import Unwritable, write_new

app = typer.Typer(name="keys", help="Make keys, and show the public ones.", no_args_is_help=True)


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
def jwks(config: ConfigOption = None) -> None:
    """Print the public keys (JWKS) that belong to the signing keys of the configuration.

    Example: authproxy keys jwks > certs/jwks.json
    """
    from authproxy.cli.signing import signing_jwks

    found = signing_jwks(load_config(config))
    if not found["keys"]:
        _fail("no authenticator of the configuration has a key pair to sign with: add `issue_with`")
    print(json.dumps(found, indent=2))


def _fail(text: str) -> NoReturn:
    typer.echo(f"authproxy: {text}", err=True)
    raise typer.Exit(1)
