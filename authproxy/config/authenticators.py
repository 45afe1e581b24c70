"""The models of the section `authenticators`: one class a `type`, told apart by that word.

Values only, as in `schema.py`; whether two of them would take the same credential is `references.py`'s question.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    StrictStr,
    Tag,
    model_validator,
)

from authproxy.config.values import Duration, IssuerText, RemoteURL, Secret
from authproxy.model.shape import Section, wrong

Name = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
HeaderName = Annotated[StrictStr, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$")]

Asymmetric = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"
]  # fmt: skip
Symmetric = Literal["HS256", "HS384", "HS512"]
ASYMMETRIC: tuple[str, ...] = get_args(Asymmetric)
SYMMETRIC: tuple[str, ...] = get_args(Symmetric)
Algorithm = Literal[Asymmetric, Symmetric]
REFRESH_LEAST = 1.0
KEEP_MOST = 30 * 86400.0


class Keys(Section):
    """What verifies tokens: a file (JWKS or PEM), a secret for HS*, or the issuer's own key set, fetched.

    Of a set that is fetched: `refresh` is the longest between two fetches, `keep` how long the last good set serves
    while there is no other, `cool_down` the least between two fetches that tokens of unknown keys ask for.
    """

    file: StrictStr | None = None
    secret: Secret | None = None
    url: RemoteURL | None = None
    discovery: Literal[True] | None = None
    ca: Annotated[StrictStr, Field(min_length=1)] | None = None
    refresh: Duration = 3600.0
    keep: Duration = 86400.0
    cool_down: Duration = 30.0

    @property
    def remote(self) -> bool:
        """Are they fetched?"""
        return self.url is not None or self.discovery is not None

    @model_validator(mode="after")
    def _one_place(self) -> "Keys":
        places = [self.file, self.secret, self.url, self.discovery]
        if sum(place is not None for place in places) != 1:
            remedy = "write one of {file: PATH}, {secret: {file: PATH}}, {url: URL} and {discovery: true}"
            raise wrong("bad-keys", "keys come from one place", remedy)
        return self

    @model_validator(mode="after")
    def _of_what_is_fetched(self) -> "Keys":
        only = {"ca", "refresh", "keep", "cool_down"} & self.model_fields_set
        if only and not self.remote:
            name = min(only)
            text = f"`{name}` is for keys that are fetched"
            raise wrong("bad-keys", text, f"remove `{name}`, or write `url:` or `discovery: true`")
        return self

    @model_validator(mode="after")
    def _times(self) -> "Keys":
        if not REFRESH_LEAST <= self.refresh <= self.keep:
            text = "`refresh` must be at least 1s, and at most as long as `keep`"
            raise wrong(
                "bad-refresh", text, "an hour and a day are usual: `refresh: 1h`, `keep: 24h`"
            )
        if self.keep > KEEP_MOST:
            text = "`keep` over 30d would trust keys that nobody has confirmed for a month"
            raise wrong("bad-keep", text, "write at most `30d`; `24h` is usual")
        if self.cool_down < REFRESH_LEAST:
            text = "without a `cool_down` forged tokens would have the issuer asked without end"
            raise wrong("bad-cool-down", text, "write at least `1s`; `30s` is usual")
        return self


class TokenSlot(Section):
    """A place of the request that a token is read from; never the query (it is logged everywhere)."""

    header: HeaderName | None = None
    scheme: Annotated[StrictStr, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,31}$")] | None = None
    cookie: Annotated[StrictStr, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$")] | None = (
        None
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> "TokenSlot":
        if (self.header is None) == (self.cookie is None):
            raise wrong(
                "bad-slot",
                "a token is read from one place",
                "write either {header: NAME} or {cookie: NAME}",
            )
        if self.scheme is not None and (self.header or "").lower() != "authorization":
            raise wrong(
                "bad-slot",
                "only Authorization has a scheme",
                "remove `scheme`, or read the header Authorization",
            )
        if (self.header or "").lower() == "authorization" and self.scheme is None:
            raise wrong("bad-slot", "Authorization is read by its scheme", "add `scheme: Bearer`")
        return self


class ClaimNames(Section):
    """Which claims (names or dotted paths) say what of the identity."""

    subject: StrictStr = "sub"
    groups: StrictStr = "groups"
    scopes: StrictStr = "scope"
    email: StrictStr = "email"
    username: StrictStr = "preferred_username"
    name: StrictStr = "name"


class SigningKey(Section):
    """A private key by its file."""

    file: StrictStr


class JwtAuthenticator(Section):
    """Takes the tokens of one issuer."""

    type: Literal["jwt"]
    issuer: IssuerText
    audiences: Annotated[list[Annotated[StrictStr, Field(min_length=1)]], Field(min_length=1)]
    algorithms: Annotated[list[Algorithm], Field(min_length=1)]
    keys: Keys
    token_from: Annotated[list[TokenSlot], Field(min_length=1)] = [
        TokenSlot(header="Authorization", scheme="Bearer")
    ]
    leeway: Duration = 30.0
    claims: ClaimNames = ClaimNames()
    issue_with: SigningKey | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "JwtAuthenticator":
        symmetric = {a for a in self.algorithms if a in SYMMETRIC}
        if symmetric and len(symmetric) != len(set(self.algorithms)):
            # CVE-2026-48526: with both families a public key could pass for an HMAC secret.
            raise wrong(
                "mixed-algorithms",
                "HS* cannot stand beside public-key algorithms",
                "give each its own authenticator",
            )
        if bool(symmetric) != (self.keys.secret is not None):
            raise wrong(
                "bad-keys",
                "the keys do not fit the algorithms",
                "HS* takes `keys: {secret: …}`, all others `file`, `url` or `discovery`",
            )
        if self.leeway > 300:
            raise wrong(
                "bad-leeway",
                "a leeway over 5m hides clocks that are wrong",
                "write at most `5m`; 30s is usual",
            )
        return self


class CertificateAuthenticator(Section):
    """Takes the client's certificate, where a listener asks for one; `subject` is the part of it that names the caller."""

    type: Literal["certificate"]
    subject: Literal["cn", "san-dns", "san-email", "san-uri", "fingerprint"]


class UsersFile(Section):
    """The users and the hashes of their passwords, by their file; `authproxy user` writes it."""

    file: StrictStr


class PasswordLogin(Section):
    """Lets people log in with a password, and takes the sessions that follow."""

    type: Literal["password"]
    users: UsersFile


def _type(value: Any) -> Any:
    # What is no mapping is any model's to refuse.
    return value.get("type") if isinstance(value, dict) else getattr(value, "type", "jwt")


# By a function, because the model's own check of `type` comes first and pydantic does not look behind it.
Authenticator = Annotated[
    Annotated[JwtAuthenticator, Tag("jwt")]
    | Annotated[CertificateAuthenticator, Tag("certificate")]
    | Annotated[PasswordLogin, Tag("password")],
    Discriminator(_type),
]
NOT_YET = frozenset({"oidc"})


def _known(value: Any) -> Any:
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(kind, str) and kind in NOT_YET:
        text = f"authenticators of the type {kind} are not part of this version"
        raise wrong("not-available", text, "write `type: jwt`, or remove it")
    return value


Authenticators = dict[Name, Annotated[Authenticator, BeforeValidator(_known)]]
