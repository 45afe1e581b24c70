"""The models of the section `authenticators`: one class a `type`, told apart by that word.

Values only, as in `schema.py`; whether two of them would take the same credential is `references.py`'s question.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
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

# RFC 6749 section 3.3.
Scope = Annotated[StrictStr, Field(pattern=r"^[!#-\[\]-~]{1,256}$")]

Asymmetric = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"
]  # fmt: skip
Symmetric = Literal["HS256", "HS384", "HS512"]
ASYMMETRIC: tuple[Asymmetric, ...] = get_args(Asymmetric)
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
        if (self.scheme or "").lower() == "dpop":
            # A token that comes so brings a proof with it, and who reads it must check that.
            remedy = "write `dpop: optional` or `dpop: required` at the authenticator"
            raise wrong("bad-slot", "the scheme DPoP is no place of its own", remedy)
        return self


TokenPlaces = Annotated[list[TokenSlot], Field(min_length=1)]
_BEARER = [TokenSlot(header="Authorization", scheme="Bearer")]


def _small(leeway: float) -> float:
    if leeway > 300:
        text = "a leeway over 5m hides clocks that are wrong"
        raise wrong("bad-leeway", text, "write at most `5m`; 30s is usual")
    return leeway


Leeway = Annotated[Duration, AfterValidator(_small)]


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


Binding = Literal["optional", "required"]


class BoundTokens(Section):
    """Tokens that are of no use to a thief, as they say (`cnf`) whose they are; without these options they are refused."""

    dpop: Annotated[
        Binding | None,
        Field(description="Tokens bound to a key (RFC 9449): each request brings a proof by it."),
    ] = None
    certificate_bound: Annotated[
        Binding | None,
        Field(description="Tokens bound to the client's certificate (RFC 8705)."),
    ] = None


class JwtAuthenticator(BoundTokens):
    """Takes the tokens of one issuer."""

    type: Literal["jwt"]
    issuer: IssuerText
    audiences: Annotated[list[Annotated[StrictStr, Field(min_length=1)]], Field(min_length=1)]
    algorithms: Annotated[list[Algorithm], Field(min_length=1)]
    keys: Keys
    token_from: TokenPlaces = _BEARER
    leeway: Leeway = 30.0
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


class IntrospectionAuthenticator(BoundTokens):
    """Asks an issuer what a token is worth (RFC 7662); the token travels in the body of the question only."""

    type: Literal["introspection"]
    url: Annotated[RemoteURL, Field(description="The issuer's introspection endpoint, https.")]
    ca: Annotated[
        StrictStr | None, Field(description="Authorities (PEM) instead of the system's.")
    ] = None
    client_id: Annotated[StrictStr, Field(min_length=1, description="Who we are to the issuer.")]
    client_secret: Secret
    tokens: Annotated[
        Literal["opaque", "all"],
        Field(description="opaque: those that are no JWTs, so that `jwt` can stand beside it."),
    ] = "opaque"
    token_from: TokenPlaces = _BEARER
    issuer: Annotated[IssuerText | None, Field(description="What `iss` in the answer must be.")] = (
        None
    )
    audiences: Annotated[
        list[Annotated[StrictStr, Field(min_length=1)]] | None,
        Field(min_length=1, description="One of these must be the `aud` of the answer, or in it."),
    ] = None
    leeway: Leeway = 30.0
    claims: ClaimNames = ClaimNames()
    cache: Annotated[
        Duration,
        Field(
            description="How long a good answer is believed: what the issuer revokes shows then."
        ),
    ] = 60.0

    @model_validator(mode="after")
    def _bounded(self) -> "IntrospectionAuthenticator":
        if self.cache > 300:
            text = "an answer over 5m old says little"
            raise wrong("bad-cache", text, "write at most `5m`; `0s` asks for every request")
        return self


class ApiKeyAuthenticator(Section):
    """Takes the API keys that `authproxy key create` makes."""

    type: Literal["api-key"]
    token_from: TokenPlaces = [TokenSlot(header="X-API-Key"), *_BEARER]


ClientAuthentication = Literal["basic", "post", "private_key_jwt", "none"]
Parameter = Annotated[StrictStr, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
# What a request for authorization says by itself: the configuration may add to it and change nothing of it.
OWN_PARAMETERS = frozenset({
    "response_type", "response_mode", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge",
    "code_challenge_method", "request", "request_uri",
})  # fmt: skip


class OidcLogin(Section):
    """Lets people log in at an OpenID provider, and takes the sessions that follow.

    `authorization` is added to the request that sends a browser there; `title` is how the login page calls the provider.
    """

    type: Literal["oidc"]
    issuer: RemoteURL
    client_id: Annotated[StrictStr, Field(min_length=1, max_length=512)]
    client_secret: Secret | None = None
    client_authentication: ClientAuthentication | None = None
    private_key: SigningKey | None = None
    scopes: Annotated[list[Scope], Field(min_length=1)] = ["openid", "profile", "email"]
    algorithms: Annotated[list[Algorithm], Field(min_length=1)] = list(ASYMMETRIC)
    ca: Annotated[StrictStr, Field(min_length=1)] | None = None
    claims: ClaimNames = ClaimNames()
    leeway: Duration = 30.0
    title: Annotated[StrictStr, Field(min_length=1, max_length=64)] | None = None
    authorization: dict[Parameter, StrictStr] = {}

    @property
    def authentication(self) -> ClientAuthentication:
        """How we prove to be the client."""
        if self.client_authentication is not None:
            return self.client_authentication
        return "private_key_jwt" if self.private_key is not None else "basic"

    @model_validator(mode="after")
    def _client(self) -> "OidcLogin":
        how, key = self.authentication, self.private_key is not None
        secret = self.client_secret is not None
        hashed = any(name in SYMMETRIC for name in self.algorithms)
        if how in {"basic", "post"} and not secret:
            text = "the client has no secret"
            remedy = "write `client_secret: {file: PATH}`, or `client_authentication: none` for a public client"
            raise wrong("bad-client", text, remedy)
        if (how == "private_key_jwt") != key:
            text = "`private_key` and `client_authentication: private_key_jwt` belong together"
            raise wrong("bad-client", text, "write both, or neither")
        if secret and how not in {"basic", "post"} and not hashed:
            text = f"nothing uses the `client_secret` of a client that authenticates by {how}"
            raise wrong("bad-client", text, "remove it")
        if hashed and not secret:
            text = "HS* tokens are verified with the client's secret, and there is none"
            raise wrong("bad-client", text, "write `client_secret`, or other `algorithms`")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> "OidcLogin":
        symmetric = {name in SYMMETRIC for name in self.algorithms}
        if len(symmetric) > 1:
            # CVE-2026-48526: with both families a public key could pass for an HMAC secret.
            text = "HS* cannot stand beside public-key algorithms"
            raise wrong("mixed-algorithms", text, "write the one that the provider signs with")
        if "openid" not in self.scopes:
            text = "without the scope `openid` a provider tells nobody's identity"
            raise wrong("bad-scopes", text, "add `openid`")
        if self.leeway > 300:
            text = "a leeway over 5m hides clocks that are wrong"
            raise wrong("bad-leeway", text, "write at most `5m`; 30s is usual")
        own = sorted(OWN_PARAMETERS.intersection(self.authorization))
        if own:
            text = f"`{own[0]}` is set by authproxy itself"
            raise wrong("bad-parameter", text, f"remove `{own[0]}`")
        return self


def _type(value: Any) -> Any:
    # What is no mapping is any model's to refuse.
    return value.get("type") if isinstance(value, dict) else getattr(value, "type", "jwt")


# By a function, because the model's own check of `type` comes first and pydantic does not look behind it.
Authenticator = Annotated[
    Annotated[JwtAuthenticator, Tag("jwt")]
    | Annotated[IntrospectionAuthenticator, Tag("introspection")]
    | Annotated[ApiKeyAuthenticator, Tag("api-key")]
    | Annotated[CertificateAuthenticator, Tag("certificate")]
    | Annotated[PasswordLogin, Tag("password")]
    | Annotated[OidcLogin, Tag("oidc")],
    Discriminator(_type),
]
Authenticators = dict[Name, Authenticator]
