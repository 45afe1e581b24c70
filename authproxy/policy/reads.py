"""What a condition reads, found when it is compiled: the decision log records that and nothing else.

A path is the way to a part: `("groups",)`, `("claims", "tenant")`, `("headers", "x-team")`; `("claims",)` is all of them.
What every decision is about anyway (method, host, path, client, subject, authenticator, time) is not named. Where an
expression leaves a doubt, the whole is read: a record must never miss what a decision depended on.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

Path = tuple[str, ...]
Reads = frozenset[Path]

NOTHING: Reads = frozenset()
GROUPS, SCOPES, CLAIMS, HEADERS = ("groups",), ("scopes",), ("claims",), ("headers",)
FACTS: Sequence[Path] = (GROUPS, SCOPES, ("email",), ("username",), ("name",))

# The tokens of CEL (its language definition, section Syntax): in a raw text a backslash is one.
_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*)
    |(?P<raw>[bB]?[rR][bB]?(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*'))
    |(?P<text>[bB]?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
    |(?P<name>[A-Za-z_]\w*|`[^`\n]*`)
    |(?P<number>\d[\w]*(?:\.\d\w*)?)
    |(?P<sign>&&|\|\||.)""",
    re.VERBOSE | re.DOTALL,
)
# After these a text is a whole operand, as `in` binds weaker than what computes (its grammar: Relation over Addition).
_BEFORE_OPERAND = frozenset({"", "(", "[", "{", ",", "?", ":", "&&", "||"})


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str

    @property
    def literal(self) -> str | None:
        """The text that it stands for, where that needs no unescaping."""
        if self.kind != "text" or self.text[0] in "bB" or "\\" in self.text:
            return None
        return None if self.text[:3] in {'"""', "'''"} else self.text[1:-1]


_END = _Token("", "")


def named_claim(name: str) -> Reads:
    """What a declarative condition over the claim reads: that name, and the dotted path where there is one."""
    return frozenset({("claims", name), ("claims", *name.split("."))})


@lru_cache(maxsize=16384)
def read_by(source: str) -> Reads:
    """What a CEL expression reads; the source is one that compiles."""
    tokens = [
        _Token(found.lastgroup or "", found[0])
        for found in _TOKEN.finditer(source)
        if found.lastgroup != "skip"
    ]
    return frozenset(path for at in range(len(tokens)) for path in _at(tokens, at))


def _at(tokens: Sequence[_Token], at: int) -> Iterable[Path]:
    """What the variable at this token reads; nothing where there is none."""
    word = tokens[at].text
    if word not in {"request", "identity", "claims"} or _is_member(tokens, at):
        return ()
    if word == "claims":
        return [_member(tokens, at, CLAIMS)]
    member = _selected(tokens, at + 1)
    if word == "request":
        if member is None:
            return [HEADERS]
        return [_member(tokens, at + 2, HEADERS)] if member == "headers" else ()
    if member is None:
        return FACTS
    return [fact for fact in FACTS if fact == (member,)]


def _is_member(tokens: Sequence[_Token], at: int) -> bool:
    """Is it the `x` of `a.x`? `.x` by itself is the variable (its grammar: Primary = ["."] IDENT)."""
    before, operand = _get(tokens, at - 1), _get(tokens, at - 2)
    ends = operand.kind in {"name", "number", "text", "raw"} or operand.text in {")", "]", "}"}
    return before.text == "." and ends and operand.text != "in"


def _member(tokens: Sequence[_Token], at: int, whole: Path) -> Path:
    """The one member that is read of the map whose last token is at `at`, else the whole of it."""
    name = _selected(tokens, at + 1) or _indexed(tokens, at + 1) or _looked_for(tokens, at, whole)
    return (*whole, name) if name is not None else whole


def _selected(tokens: Sequence[_Token], at: int) -> str | None:
    """The `x` of `.x`; a method (`.x(`) reads the whole."""
    name = _get(tokens, at + 1)
    plain = name.kind == "name" and name.text[0] != "`"
    if _get(tokens, at).text != "." or not plain or _get(tokens, at + 2).text == "(":
        return None
    return name.text


def _indexed(tokens: Sequence[_Token], at: int) -> str | None:
    if _get(tokens, at).text != "[" or _get(tokens, at + 2).text != "]":
        return None
    return _get(tokens, at + 1).literal


def _looked_for(tokens: Sequence[_Token], at: int, whole: Path) -> str | None:
    """The text of `"x" in claims`, where neither side is a part of something longer."""
    start = at - (0 if whole == CLAIMS else 2)
    after = _get(tokens, at + 1).text
    if _get(tokens, start - 1).text != "in" or after not in {
        "",
        ")",
        "]",
        ",",
        "?",
        ":",
        "&&",
        "||",
    }:
        return None
    wanted = _get(tokens, start - 2)
    return wanted.literal if _get(tokens, start - 3).text in _BEFORE_OPERAND else None


def _get(tokens: Sequence[_Token], at: int) -> _Token:
    return tokens[at] if 0 <= at < len(tokens) else _END


def covers(recorded: Iterable[Path], path: Path) -> bool:
    """Does a record of these parts hold this one, or something that it is a part of?"""
    known = recorded if isinstance(recorded, frozenset | set) else set(recorded)
    return any(path[:length] in known for length in range(1, len(path) + 1))


def pointer(path: Path) -> str:
    """The path as text: a JSON pointer without its first slash (RFC 6901 section 3): `claims/tenant`."""
    return "/".join(part.replace("~", "~0").replace("/", "~1") for part in path)


def parse_pointer(text: str) -> Path:
    """The path of such a text (RFC 6901 section 4)."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/"))


def shown(path: Path) -> str:
    """The path as people write it: `claims.tenant`, `request.headers["x-team"]`."""
    if path[0] == "headers":
        return f'request.headers["{path[1]}"]' if len(path) > 1 else "request.headers"
    return ".".join(path)


def outermost(reads: Iterable[Path]) -> Iterator[Path]:
    """The paths that no other one covers, in order."""
    every = frozenset(reads)
    return (path for path in sorted(every) if len(path) == 1 or not covers(every, path[:-1]))
