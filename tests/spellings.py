"""Ways to spell another site where a path of this one is asked for: what scanners try, and what browsers were seen to take.

Made of parts, so that each trick meets each kind of name; a browser of its own says how many of them would lead away
(`tests/end_to_end/test_open_redirects.py`).
"""

from itertools import product
from urllib.parse import quote

OURS, EVIL = "proxy.test", "evil.test"
# In place of the two slashes before a name.
SLASHES = (
    "//", "///", "////", "/////", "/\\", "\\/", "\\\\", "\\\\\\", "/\\/", "\\/\\/", "/\t/", "/\n/", "/\r/", "/\r\n/", "\t//", "\n//", "\r\n//",
    " //", "  /\\", "/ /", "//\t", "//\r\n", "\x00//", "/\x00/", "\x01//", "\x0b//", "\x0c//", "\x1f//", "\x7f//", "\x80//", "\x85//", "\xa0//", "\xad//",
    "\u200b//", "\u2028//", "\u3000//", "\ufeff//", "\u202e//", "/%09/", "/%0a/", "/%0d%0a/", "/%00/", "%09//", "%20//", "%00//", "/%20/", "/%2f", "%2f%2f", "%2F/",
    "/%5c", "%5c%5c", "/%2f%2f", "/%255c", "/%252f", "%252f%252f", "%25252f%25252f", "/%c0%af", "/%e0%80%af", "/%u002f", "/&#47;", "/&sol;", "/\\x2f", "/\\u002f",
    "/./", "/.//", "/..//", "/../../", "/.\\", "/..\\", "/%2e//", "/%2e%2e//", "/%2e%2e/%2e%2e//", ".//", "..//", "./\\", "/a//", "/a/..//", "/a/../..//", "/a/%2e%2e//",
    "/a/..\\\\", "/;//", "/;/", ";//", "/?//", "?//", "/#//", "#//", "@", "/@", "//@", "///@", "/\u2215", "/\u2044", "/\uff0f", "\uff0f\uff0f", "\u2571\u2571", "/\uff3c",
    "\uff3c\uff3c", "\u29f8\u29f8", "/\xaf", "/\u0338", "/.authproxy//", "/.authproxy/..//", "/.authproxy/login?next=//", "/.authproxy/logout?next=//", "/*//", "/~//", "/|//", "/^//",
)  # fmt: skip
# Whatever a check could take for a name of ours.
NAMES = (
    EVIL, f"{OURS}.{EVIL}", f"{EVIL}/{OURS}", f"{EVIL}?{OURS}", f"{EVIL}#{OURS}", f"{OURS}@{EVIL}", f"{OURS}:443@{EVIL}", f"{OURS}%40{EVIL}", f"x:y@{EVIL}", f"{EVIL}\\@{OURS}",
    f"{EVIL}%5c@{OURS}", f"{EVIL}#@{OURS}", f"{EVIL}?@{OURS}", f"{EVIL}/@{OURS}", f"{EVIL}%2f@{OURS}", f"{EVIL}:443", f"{EVIL}:0", f"{EVIL}.", f"{EVIL}..", f".{EVIL}", f"{OURS}:8443", f"{OURS}:80", f"{OURS}.", f"x.{OURS}",
    f"x{OURS}", f"{OURS}x", f"{OURS}%00.{EVIL}", f"{OURS}\x00.{EVIL}", f"{OURS}%0d%0a.{EVIL}", f"{OURS}\t.{EVIL}", f"{OURS};.{EVIL}", f"{OURS},.{EVIL}", f"{OURS}&.{EVIL}", f"{OURS}_.{EVIL}", f"{OURS}%252e.{EVIL}",
    f"[{EVIL}]", "[::1]", "[::ffff:127.0.0.1]:80", "[fe80::1%25eth0]", "[v1.x]", "127.0.0.1", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "0", "localhost", "evil\u3002test", "evil\uff0etest", "evil\uff61test",
    "\u24d4vil.test", "\uff45vil.test", "evil%E3%80%82test", "evil%2etest", "xn--evl-1ma.test", "e\u0301vil.test", "evil\u200b.test", "evil\xad.test", "EVIL.TEST", "a.test", "login.test", "$@evil.test", "evil.test%20", "evil.test%0d%0aX-Injected:%20x",
    "evil.test\r\nX-Injected: x", "evil.test\nX-Injected: x", "evil.test\rX-Injected: x", "evil.test\u560d\u560aX-Injected: x", "evil.test\r\n\r\n<script>", "evil.test' onclick='x", 'evil.test"><b>', "{{7*7}}.evil.test", "evil.test" + "a" * 3000,
)  # fmt: skip
# Schemes, right and wrong, and what browsers mend.
SCHEMES = (
    "https://", "http://", "HTTPS://", "hTTps://", "https:", "http:", "https:/", "https:///", "https:////", "https:\\\\", "https:/\\", "https:\\/", "https:/\t/", "ht\ttps://", "h\nttps://", "\thttps://", " https://",
    "\x00https://", "\x1bhttps://", "https:// ", "https&#58;//", "https%3a//", "https%3a%2f%2f", "https%253a%252f%252f", "https\uff1a//", "https:@", "https:;//", "https:?//", "https:#//", "ftp://", "ws://", "wss://", "file://", "blob:https://",
    "filesystem:https://", "view-source:https://", "feed:https://", "about://", "gopher://", "x-evil://", "data://", "url:https://", "//https://", "/https://", "///https://", "https://https://", "https://https:",
)  # fmt: skip
SCRIPTS = (
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\tscript:alert(1)", "java\nscript:alert(1)", "java\r\nscript:alert(1)", " javascript:alert(1)", "\x01javascript:alert(1)", "javascript://%0aalert(1)",
    "javascript://proxy.test/%0aalert(1)", "javascript:/*//proxy.test*/alert(1)", "javascript%3aalert(1)", "&#106;avascript:alert(1)", "\\u006aavascript:alert(1)", "/javascript:alert(1)", "//javascript:alert(1)", "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==", "DATA:text/html,x", "data:,x", "vbscript:msgbox(1)", "blob:null/x", "about:blank", "about:srcdoc", "mailto:x@evil.test", "tel:1", "intent://evil.test#Intent;scheme=https;end", "ms-word:x",
    "chrome://settings", "view-source:x", "jar:https://evil.test!/x",
)  # fmt: skip
WHOLE = (
    "", " ", "\t", "\r\n", "\x00", "x", ".", "..", "evil.test", "www.evil.test/", "evil.test:443/x", "evil.test//x", "?", "#", "?next=//evil.test", "#//evil.test", "*", "\\", "/\\", "//", "///", "/.", "/..", "/%2e%2e",
    "/x\r\nLocation: https://evil.test", "/x\nSet-Cookie: a=b", "/x%0d%0aLocation:%20https://evil.test", "/x\u2028//evil.test", "/\U0001f600", "/" + "a" * 4000, "//" * 900 + "evil.test",
)  # fmt: skip


def spellings() -> list[str]:
    """All of them, each once."""
    found = [f"{slashes}{EVIL}/x" for slashes in SLASHES]
    found += [f"//{name}" for name in NAMES]
    found += [f"{scheme}{EVIL}/x" for scheme in SCHEMES]
    found += [
        f"{a}{b}" for a, b in product(("https://", "/\\", "\\\\", "http:", "/\t/"), NAMES[:24])
    ]
    found += [quote(one, safe="") for one in found[: len(SLASHES)]]
    return list(dict.fromkeys([*found, *SCRIPTS, *WHOLE]))
