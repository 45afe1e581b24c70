"""The Host field: which names it may hold, and the one spelling that routes are matched with.

aiohttp lets nearly anything through here (`a@h`, `h/evil`, `h evil`); a name that two readers could understand
differently never gets past this function.
"""

import ipaddress
import re
from functools import lru_cache

from authproxy.model.errors import Refusal

# RFC 9110 section 7.2, RFC 3986 section 3.2.2: a name, an IPv4 address or an IPv6 literal; `_` as in the field.
_HOST = re.compile(
    r"(?:(?P<name>[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?)\.?|\[(?P<six>[0-9A-Fa-f:.]{2,45})\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
)


@lru_cache(maxsize=4096)
def parse_host(field: str) -> str:
    """The host in lower case, without its port and without one trailing dot; an IPv6 literal in its shortest spelling.

    Raises:
        Refusal: `bad_request` for anything that is no host.
    """
    found = _HOST.fullmatch(field)
    if found is None or ".." in field or int(found["port"] or 0) > 65535:
        raise Refusal("bad_request", "host")
    return found["name"].lower() if found["six"] is None else _six(found["six"])


def _six(text: str) -> str:
    try:
        # RFC 5952: one address, one spelling; else `[0:0::1]` would miss the routes of `[::1]`.
        return f"[{ipaddress.IPv6Address(text)}]"
    except ValueError:
        raise Refusal("bad_request", "host") from None
