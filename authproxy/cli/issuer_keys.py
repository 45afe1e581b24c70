"""The keys of issuers elsewhere, for commands: fetched when a token of theirs is judged, and said so on stderr.

A command has no server's patience and none of its records: it asks once, within bounds, and tells why where that fails.
"""

import asyncio
import time
from collections.abc import Iterable

import typer

from authproxy.authn.authenticator import Authenticator, Credential
from authproxy.authn.bearer import FollowingVerifier
from authproxy.authn.keys import UNKNOWN
from authproxy.authn.remote_keys import RemoteKeys
from authproxy.authn.slots import Presented
from authproxy.model.errors import Refusal


def fetch_for_token(authenticators: Iterable[Authenticator], token: str) -> None:
    """Fetch the keys of whoever this token says that it comes from; where they cannot be had, the verdict says so."""
    credential = Credential(token)
    _fetch([one for one in _following(authenticators) if _is_of(one, credential)])


def fetch_for_request(authenticators: Iterable[Authenticator], presented: Presented) -> None:
    """The same for what a request presents to these authenticators."""
    found: list[FollowingVerifier] = []
    for one in _following(authenticators):
        try:
            texts = [slot.read(presented) for slot in one.slots]
        except Refusal:
            continue  # whoever judges it says so
        if any(_is_of(one, Credential(text)) for text in texts if text):
            found.append(one)
    _fetch(found)


def _following(authenticators: Iterable[Authenticator]) -> Iterable[FollowingVerifier]:
    return (one for one in authenticators if isinstance(one, FollowingVerifier))


def _is_of(verifier: FollowingVerifier, credential: Credential) -> bool:
    if len(credential.text) > verifier.token_bytes > 0:
        return False
    return credential.token is not None and credential.token.issuer == verifier.issuer


def _fetch(verifiers: Iterable[FollowingVerifier]) -> None:
    wanted = [one.remote for one in verifiers if one.remote.keys is UNKNOWN]
    if wanted:
        asyncio.run(_ask_all(wanted))


async def _ask_all(wanted: Iterable[RemoteKeys]) -> None:
    for remote in wanted:
        asked = f"the keys of `{remote.name}` from {remote.source.asked}"
        typer.echo(f"authproxy: fetching {asked}", err=True)
        try:
            await remote.ask()
        finally:
            await remote.close()
        error = remote.report(time.time()).error
        if error is not None:
            typer.echo(f"authproxy: cannot fetch {asked}: {error}", err=True)
