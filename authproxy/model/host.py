"""The Host field: which names it may hold, and the one spelling that routes are matched with.

aiohttp lets nearly anything through here (`a@h`, `h/evil`, `h evil`); a name that two readers could understand
differently never gets past this function.
"""

import re
from functools import lru_cache

from authproxy.model.errors import Refusal

# RFC 9110 section 7.2, RFC 3986 section 3.2.2: a name, an IPv4 address or an IPv6 literal; `_` as in the field.
_HOST = re.compile(
    r"(?P<name>[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?\.?|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>\d{1,5}))?"
)


@lru_cache(maxsize=4096)
def parse_host(field: str) -> str:
    """The host in lower case, without its port and without one trailing dot.

    Raises:
        Refusal: `bad_request` for anything that is no host.
    """
    found = _HOST.fullmatch(field)
    if found is None or ".." in field or int(found["port"] or 0) > 65535:
        raise Refusal("bad_request", "host")
    return found["name"].lower().removesuffix(".")
