"""Warnings about CEL expressions: comparisons that hold for more than they seem to, or never, and what costs much.

Looked for in the text, its literals blanked so that nothing in them is taken for code. What cannot be told from the text is
passed over. A comparison that holds for too much matters where that lets somebody in: in `allow`, or negated in `deny`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from authproxy.model.headers import HeaderRules, Kind
from authproxy.model.source import Path
from authproxy.policy.condition import MACRO, without_texts
from authproxy.policy.document import RouteDocument
from authproxy.policy.findings import Findings

WHENS_MOST = 16  # some 7 µs each
_CALL = re.compile(
    r"(?P<of>(?:request|identity|claims)(?:\.\w+|\[\"_*\"\])*|\))\s*\.\s*(?P<call>startsWith|endsWith|matches)\s*\(\s*r?(?P<text>\"_*\")\s*\)"
)
_EQUAL = re.compile(
    r"request\.(?P<of>method|host|path|client)\s*==\s*(?P<text>\"_*\")"
    r"|(?P<first>\"_*\")\s*==\s*request\.(?P<then>method|host|path|client)\b"
)
_HEADER = re.compile(
    r"request\.headers\[\s*(?P<text>\"_*\")\s*\]|(?P<member>\"_*\")\s+in\s+request\.headers\b"
    r"|request\.headers\.(?P<field>\w+)\b(?!\s*\()"
)
_NEEDLESS = re.compile(
    r"\"_+\"\s+in\s+identity\.(?P<many>groups|scopes)|identity\.(?P<one>subject|authenticator)\s*==\s*\"_+\""
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_DOT = re.compile(r"(?<=[A-Za-z0-9-])\.(?=[A-Za-z]{2})")
_PORT = re.compile(r":\d+$")


@dataclass(frozen=True, slots=True)
class _Source:
    """An expression, and the same without what its literals say, at the same length."""

    text: str
    bare: str

    def literal(self, found: re.Match[str], group: str) -> str | None:
        """What a literal says; None where it holds escapes that say more than the character itself."""
        start, end = found.span(group)
        inner = self.text[start + 1 : end - 1]
        if self.text[start - 1 : start] == "r":
            return inner
        if any(one not in "\\\"'" for one in _ESCAPE.findall(inner)):
            return None
        return _ESCAPE.sub(r"\1", inner)

    def is_negated(self, at: int) -> bool:
        """Does a `!` stand before this place?"""
        return self.bare[:at].rstrip().endswith("!")

    def is_joined(self, start: int, end: int) -> bool:
        """Is what stands here only a part of a longer text or sum?"""
        return self.bare[:start].rstrip().endswith("+") or self.bare[end:].lstrip().startswith("+")


def lint_expressions(wanted: RouteDocument, rules: HeaderRules, found: Findings) -> None:
    """The warnings about the expressions of one route."""
    for listed in ("deny", "allow"):
        entries = getattr(wanted, listed)
        whens = [
            ((listed, index, "when"), _Source(entry.when, without_texts(entry.when)))
            for index, entry in enumerate(entries if isinstance(entries, list) else ())
            if entry.when is not None
        ]
        for path, source in whens:
            _lint_calls(path, source, listed == "deny", found)
            _lint_equal(path, source, found)
            _lint_needless(path, source, found)
            _lint_loops(path, source, found)
            _lint_headers(path, source, rules, found)
        if len(whens) > WHENS_MOST:
            text = f"{len(whens)} expressions of {listed} may be evaluated for one request, some 7 µs each"
            remedy = "write declarative conditions, or fewer expressions"
            found.warn((listed,), "cel-cost", text, remedy)
    for name, value in wanted.headers.set.items():
        _lint_headers(("headers", "set", name), _Source(value, without_texts(value)), rules, found)


def _lint_calls(path: Path, source: _Source, denies: bool, found: Findings) -> None:
    for call in _CALL.finditer(source.bare):
        text = source.literal(call, "text")
        if text is None or source.is_negated(call.start()) is not denies:
            continue
        looked = _loose(call["of"], call["call"], text)
        if call["call"] == "matches":
            looked = _loose_regex(text)
        if looked is not None:
            code, said, remedy = looked
            written = source.text[call.start("call") : call.end()]
            found.warn(path, code, f"`{written[:100]}` {said}", remedy, offset=call.start("call"))


def _loose(of: str, call: str, text: str) -> tuple[str, str, str] | None:
    if call == "startsWith" and of == "request.path" and text[:1] == "/" and text[-1:] != "/":
        return (
            "loose-match",
            f"also holds for `{text}-and-more`",
            f'write `startsWith("{text}/") || request.path == "{text}"`',
        )
    names = of == "request.host" or of.rpartition(".")[2] == "email"
    if call == "endsWith" and names and text and text[0] not in ".@":
        mark = "." if of == "request.host" else "@"
        return "loose-match", f"also holds for `evil{text}`", f'write `endsWith("{mark}{text}")`'
    return None


def _loose_regex(text: str) -> tuple[str, str, str] | None:
    for part in _alternatives(text):
        body = re.sub(r"^\(\?[imsU]+\)", "", part)
        begins = body.startswith(("^", r"\A", ".*"))
        ends = body.endswith((".*", r"\z")) or (body.endswith("$") and not body.endswith(r"\$"))
        if not (begins and ends):
            remedy = "write `^…$`, and `.*` where anything may stand"
            return "unanchored-regex", f"finds `{part[:60]}` anywhere in the text", remedy
    if _DOT.search(_without_classes(text)):
        return "regex-dot", "takes any character for `.`", r"write `\\.`, or `r'…\.…'`"
    return None


def _alternatives(text: str) -> list[str]:
    """What stands between the `|` that are in no group."""
    depth, parts = 0, [""]
    plain = re.sub(r"\\.", "__", _without_classes(text))
    for at, mark in enumerate(plain):
        depth += (mark == "(") - (mark == ")")
        if mark == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += text[at]
    return parts


def _without_classes(text: str) -> str:
    """The expression with its classes of characters blanked, at the same length."""
    return re.sub(
        r"(?<!\\)\[\^?\]?(?:[^\]\\]|\\.)*\]", lambda m: "[" + "_" * (len(m[0]) - 2) + "]", text
    )


def _lint_equal(path: Path, source: _Source, found: Findings) -> None:
    for equal in _EQUAL.finditer(source.bare):
        group = "text" if equal["text"] else "first"
        of, text = equal["of"] or equal["then"], source.literal(equal, group)
        joined = source.is_joined(*equal.span())
        why = None if text is None or joined else _never(of, text)
        if why is not None:
            code, said = "never-equal", f"`request.{of}` is never `{text}`: {why}"
            found.warn(path, code, said[:200], "write it as it is seen", offset=equal.start())


def _never(of: str, text: str) -> str | None:
    """Why this part of a request never says that."""
    if of == "method" and text != text.upper():
        return "methods are in upper case"
    if of == "host" and (text != text.lower() or text.endswith(".") or _has_port(text)):
        return "hosts are in lower case, without port and final dot"
    if of == "path" and not text.startswith("/"):
        return "paths begin with `/`"
    if of == "path" and "?" in text:
        return "the query is no part of it"
    if of == "client" and "/" in text:
        return "it is one address; use `networks`"
    return None


def _has_port(text: str) -> bool:
    return _PORT.search(text) is not None and not text.endswith("]") and text.count(":") == 1


def _lint_needless(path: Path, source: _Source, found: Findings) -> None:
    whole = _NEEDLESS.fullmatch(source.bare.strip())
    if whole is not None:
        word = whole["many"] or f"{whole['one']}s"
        text = f"this costs some 7 µs, the condition `{word}` says the same for a tenth"
        value = source.text[source.bare.index('"') + 1 : source.bare.rindex('"')]
        found.warn(path, "cel-needless", text, f"write `{word}: [{value[:60]}]`")


def _lint_loops(path: Path, source: _Source, found: Findings) -> None:
    for macro in MACRO.finditer(source.bare):
        if MACRO.search(_inside(source.bare, macro.end())):
            text = "a loop in a loop: its time grows with the product of two lists, and past 10,000 steps it is an error"
            remedy = (
                "compare with a list that is written here, or have the issuer say it in one claim"
            )
            found.warn(path, "cel-cost", text, remedy, offset=macro.start())
            return


def _inside(bare: str, start: int) -> str:
    """What stands between the parenthesis that was just opened and its end."""
    depth = 1
    for at in range(start, len(bare)):
        depth += (bare[at] == "(") - (bare[at] == ")")
        if depth == 0:
            return bare[start:at]
    return bare[start:]


def _lint_headers(path: Path, source: _Source, rules: HeaderRules, found: Findings) -> None:
    for at, name in _header_names(source):
        if name.isascii() and name == name.lower() and _is_seen(rules, name):
            continue
        text = f"policies never see a header field `{name[:60]}`"
        remedy = "names are in lower case; credentials, cookies and names that only the proxy sets are not there"
        found.warn(path, "header-never-seen", text, remedy, offset=at)


def _header_names(source: _Source) -> Iterator[tuple[int, str]]:
    for header in _HEADER.finditer(source.bare):
        group = next(g for g in ("text", "member", "field") if header[g] is not None)
        name = header["field"] if group == "field" else source.literal(header, group)
        if name is not None:
            yield header.start(), name


def _is_seen(rules: HeaderRules, name: str) -> bool:
    return rules.kind(name.encode("latin-1")) in {Kind.PASS, Kind.METHOD_OVERRIDE}
