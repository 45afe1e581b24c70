"""What the configuration says of a token, and why, in words for the operator; callers are told much less.

The verdict is the server's own: its verifiers and its revocation list are asked. The words only explain it.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from multidict import CIMultiDict

from authproxy.authn.authenticator import Credential, awaited
from authproxy.authn.bearer import JwtVerifier
from authproxy.authn.binding import bound_to
from authproxy.authn.compact import CompactToken, MalformedToken, parse
from authproxy.authn.slots import Presentation
from authproxy.config.authenticators import (
    ApiKeyAuthenticator,
    CertificateAuthenticator,
    IntrospectionAuthenticator,
    JwtAuthenticator,
    OidcLogin,
    PasswordLogin,
)
from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity
from authproxy.runtime import Verification

GOOD = "good"
T = TypeVar("T")

# What the verifier's words mean; {…} are told by `_facts`.
_REASONS = {
    "too-long": "it is longer than `bounds.token_bytes` allows",
    "header": "its header asks for what is not understood here (crit, b64, zip or enc)",
    "typ": "its `typ` is {typ}: it is made for something else",
    "algorithm": "its `alg` is {alg}; `algorithms` are {algorithms}",
    "kid": "its `kid` is no short text",
    "unknown-key": "no key of `keys` has its `alg` {alg} and `kid` {kid}",
    "no-keys": "the keys of its issuer cannot be had, so nobody can tell",
    "signature": "no key of `keys` made its signature",
    "issuer": "its `iss` is not {issuer}",
    "audience": "its `aud` is {aud}; `audiences` are {audiences}",
    "exp": "its `exp` is {exp}, now is {now}, the leeway {leeway}",
    "nbf": "its `nbf` is {nbf}, now is {now}, the leeway {leeway}",
    "iat": "its `iat` is {iat}, now is {now}, the leeway {leeway}",
    "subject": "its subject (`{subject}`) is missing, or no text",
    "claim": "a claim that is read is no text, or holds a control character",
    "cnf": "its `cnf` names nothing that is understood here",
    "bound-to-key": "it is bound to a key (`cnf.jkt`), and the authenticator has no `dpop`",
    "bound-to-certificate": "it is bound to a certificate, and the authenticator has no `certificate_bound`",
    "not-bound-to-key": "it is bound to no key (`cnf.jkt`), and `dpop` is required",
    "not-bound-to-certificate": "it is bound to no certificate, and `certificate_bound` is required",
    "checksum": "it is no API key: its checksum is wrong, as after a typing error",
    "unknown-api-key": "there is no such API key, or it ended over 30 days ago",
    "other-authenticator": "the API key was made for another authenticator",
    "api-key": "the API key was revoked",
    "api-keys": "the state cannot be used, so that nobody can tell",
    "introspection": "the issuer gave no answer that can be used",
    "inactive": "the issuer says that it is not active",
}
# What an issuer's answer says is not in the token, and nothing more is known of it here.
_ANSWERED = {
    name: f"what the issuer says of its `{claim}` is not what it must be"
    for name, claim in (("issuer", "iss"), ("audience", "aud"), ("exp", "exp"), ("nbf", "nbf"), ("iat", "iat"))
}  # fmt: skip
_OF_OUR_OWN = {
    "exp": "the API key is past its end",
    "memory": "`state: memory:` is the server's own, and cannot be looked into from here",
}
_REVOKED = {
    "credential": "this token was put on the revocation list",
    "subject": "all that its subject was issued up to a later moment was revoked",
}
_TIMES = ("exp", "nbf", "iat")
_LONGEST = 120


@dataclass(frozen=True, slots=True)
class TokenVerdict:
    """`code` is `good` or a code of refusals; `reason` explains a refusal; `identity` is there where it is good or was."""

    code: str
    authenticator: str | None
    reason: str = ""
    identity: Identity | None = None


def judge_token(decides: Verification, token: str, now: float) -> TokenVerdict:
    """The verdict of the first authenticator that takes the token; of the first that calls it its own where none does.

    All that take tokens are asked, those too that ask an issuer or look into the state. What a request must prove beside
    its token is no part of the verdict.
    """
    return asyncio.run(_closing(decides, _judge(decides, token, now)))


async def _closing(decides: Verification, work: Coroutine[Any, Any, T]) -> T:
    try:
        return await work
    finally:
        await decides.close()


async def _judge(decides: Verification, token: str, now: float) -> TokenVerdict:
    refused: list[TokenVerdict] = []
    async for name, answer in _answers(decides, token, now):
        if isinstance(answer, Refusal):
            reason = _explain(answer.reason, decides, name, token, now)
            refused.append(TokenVerdict(answer.code, name, reason))
            continue
        revoked = decides.revocations.why(answer)
        if not revoked:
            return TokenVerdict(GOOD, name, identity=answer)
        reason = f"{revoked}: {_REVOKED[revoked]}"
        refused.append(TokenVerdict("token_revoked", name, reason, answer))
    return refused[0] if refused else TokenVerdict("token_invalid", None, _nobodys(decides, token))


def good_identities(decides: Verification, token: str, now: float) -> list[Identity]:
    """Whom each authenticator takes it for, revoked or not; those that refuse it or call it another's left out."""

    async def collect() -> list[Identity]:
        answers = [answer async for _, answer in _answers(decides, token, now)]
        return [answer for answer in answers if isinstance(answer, Identity)]

    return asyncio.run(_closing(decides, collect()))


async def _answers(
    decides: Verification, token: str, now: float
) -> AsyncIterator[tuple[str, Identity | Refusal]]:
    """What each authenticator makes of it, in their order, as far as it is asked for; `not mine` is left out."""
    credential, presented = Credential(token), Presentation(CIMultiDict())
    for name, one in decides.authenticators.items():
        if isinstance(
            decides.config.authenticators[name],
            CertificateAuthenticator | PasswordLogin | OidcLogin,
        ):
            continue  # reads no tokens
        try:
            identity = await awaited(one.judge(credential, presented, now))
        except Refusal as refusal:
            yield name, refusal
            continue
        if identity is not None:
            yield name, identity


def _verifiers(decides: Verification) -> dict[str, JwtVerifier]:
    """The authenticators that take signed tokens."""
    found = decides.authenticators.items()
    return {name: one for name, one in found if isinstance(one, JwtVerifier)}


def _nobodys(decides: Verification, token: str) -> str:
    try:
        issuer = parse(token).issuer
    except MalformedToken as malformed:
        return f"malformed: it is no signed JWT ({malformed})"
    known = ", ".join(f"{v.issuer} (`{name}`)" for name, v in _verifiers(decides).items())
    return f"issuer: its `iss` is {_shown(issuer)}; authenticators take {known or 'none'}"


def _explain(reason: str, decides: Verification, name: str, token: str, now: float) -> str:
    settings = decides.config.authenticators[name]
    words = _REASONS.get(reason, "it is not well-formed")
    if isinstance(settings, JwtAuthenticator):
        words = words.format_map(_facts(settings, token, now))
    elif isinstance(settings, ApiKeyAuthenticator):
        memory = decides.config.state.url == "memory:" and reason == "unknown-api-key"
        words = _OF_OUR_OWN.get("memory" if memory else reason, words)
    elif isinstance(settings, IntrospectionAuthenticator):
        words = _ANSWERED.get(reason, words).replace("{subject}", settings.claims.subject)
    return f"{reason}: {words}"


def _facts(settings: JwtAuthenticator, token: str, now: float) -> dict[str, str]:
    header, claims = _unverified(token)
    return {
        "typ": _shown(header.get("typ")),
        "alg": _shown(header.get("alg")),
        "kid": _shown(header.get("kid")),
        "aud": _shown(claims.get("aud")),
        **{name: _moment(claims.get(name)) for name in _TIMES},
        "now": _moment(now),
        "leeway": f"{settings.leeway:g} s",
        "issuer": _shown(settings.issuer),
        "subject": settings.claims.subject,
        "algorithms": ", ".join(settings.algorithms),
        "audiences": ", ".join(settings.audiences),
    }


def _unverified(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    try:
        parsed: CompactToken = parse(token)
        return parsed.read_header(), parsed.read_claims()
    except MalformedToken:
        return {}, {}


def _shown(value: object) -> str:
    text = repr(value)
    return "missing" if value is None else text[:_LONGEST] + "…" * (len(text) > _LONGEST)


def _moment(value: object) -> str:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return _shown(value)
    try:
        return f"{datetime.fromtimestamp(int(value), UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return _shown(value)


def verdict_lines(verdict: TokenVerdict, now: float) -> list[str]:
    """The verdict for people, one fact a line, the code first."""
    pairs: list[tuple[str, str]] = [("verdict", verdict.code)]
    pairs.append(("authenticator", verdict.authenticator or ""))
    pairs.append(("reason", verdict.reason))
    if verdict.identity is not None:
        pairs += _identity_facts(verdict.identity, now)
    return [f"{name}: {value}" for name, value in pairs if value]


def _identity_facts(identity: Identity, now: float) -> list[tuple[str, str]]:
    end = identity.expires_at
    left = "" if end is None else f"{_moment(end)}, {_left(end - now)}"
    return [
        ("subject", identity.subject),
        ("groups", ", ".join(identity.groups)),
        ("scopes", ", ".join(sorted(identity.scopes))),
        ("email", identity.email or ""),
        ("expires", left),
        *(("bound to", words) for words in bound_to(identity.claims)),
    ]


def _left(seconds: float) -> str:
    away = timedelta(seconds=abs(int(seconds)))
    return f"in {away}" if seconds >= 0 else f"{away} ago, within the leeway"
