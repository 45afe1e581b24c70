"""Where a request comes from: networks, the client behind trusted proxies, the key an address is counted under.

The chain of forwarding elements is read from the right, and only as far as each hop is trusted
(the leftmost element is whatever the client wrote: CVE-2026-40575, CVE-2022-24112).
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# A peer on a Unix socket has no address; it is a process of this machine.
LOOPBACK: Address = ipaddress.IPv4Address("127.0.0.1")
CHAIN_MOST = 64
ADDRESS_MOST = 45  # `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`
_NETWORK = re.compile(r"[0-9A-Fa-f:.]{2,45}(?:/[0-9]{1,3})?")


def parse_address(text: str) -> Address | None:
    """The address this text is, IPv4-mapped ones as IPv4; None where it is none (also with a zone)."""
    # Longer texts are no addresses, and clients must not choose how much is kept.
    return _parse_address(text) if len(text) <= ADDRESS_MOST else None


@lru_cache(maxsize=16384)
def _parse_address(text: str) -> Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id is not None:
            return None
        return found.ipv4_mapped or found
    return found


def peer_address(name: object) -> Address | None:
    """The address in the name that a socket gives its peer; a Unix socket's peer, whose name is no pair, is this machine.

    None: it is no address. That must never be taken for this machine.
    """
    return parse_address(name[0].partition("%")[0]) if isinstance(name, tuple) else LOOPBACK


def parse_network(text: str) -> Network:
    """`10.0.0.0/8`, `2001:db8::/32`, or one address; an IPv4-mapped network is the IPv4 one.

    Raises:
        ValueError: it is none, or has host bits.
    """
    if _NETWORK.fullmatch(text) is None:  # the library would take netmasks, and hostmasks for them
        raise ValueError("no network")
    network = ipaddress.ip_network(text, strict=True)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network


@lru_cache(maxsize=16384)
def counted_as(address: Address) -> str:
    """What an address is counted under: itself in IPv4 (also IPv4-mapped), its /64 in IPv6."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    return str(address)


class Networks:
    """Is an address in any of these networks?"""

    __slots__ = ("_found", "networks")

    def __init__(self, networks: Iterable[Network]) -> None:
        self.networks = tuple(networks)
        # It knows the networks and not this object: a circle would wait long for the collector after a reload.
        self._found = lru_cache(maxsize=16384)(partial(_is_in, self.networks))

    def __bool__(self) -> bool:
        return bool(self.networks)

    def __contains__(self, address: Address) -> bool:
        return self._found(address)


def _is_in(networks: tuple[Network, ...], address: Address) -> bool:
    return any(address.version == network.version and address in network for network in networks)


@dataclass(frozen=True, slots=True)
class Hop:
    """One element of a forwarding header: the address it names (None where it names none), and the scheme and host it says."""

    address: Address | None
    scheme: str | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Who is at the other end: the client, and the chain from it to our peer (both in it), as far as it is verified."""

    client: Address
    chain: tuple[Address, ...]
    scheme: str | None = None
    host: str | None = None


def trace(peer: Address, hops: Sequence[Hop], trusted: Networks) -> Origin:
    """Walk from the peer back through the hops (in header order) while each speaker is trusted.

    The client is the first address outside `trusted`, or the last good element before a malformed one. `scheme` and
    `host` are those of the last (rightmost) element: what the nearest proxy says its own client spoke, and asked for.
    """
    chain, at = [peer], peer
    nearest = hops[-1] if hops and peer in trusted else Hop(None)
    for hop in reversed(hops):
        if at not in trusted or hop.address is None:
            break
        at = hop.address
        chain.append(at)
    return Origin(at, tuple(reversed(chain)), nearest.scheme, nearest.host)


def parse_x_forwarded_for(values: Iterable[str]) -> list[Hop]:
    """All X-Forwarded-For fields as one list of hops; a port behind an address is dropped."""
    elements = [element for value in values for element in value.split(",")]
    return [Hop(_node(element.strip())) for element in elements[-CHAIN_MOST:]]


MALFORMED = '"'
# RFC 7239 section 4: elements are separated by `,`, their pairs by `;`; a value is a token or a quoted string.
_BALANCED = re.compile(r'(?:[^"]|"(?:[^"\\]|\\.)*")*')
_ELEMENT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_PAIR = re.compile(
    r'\s*([!#$%&\'*+.^_`|~\w-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s";,]*))\s*(?:;|\Z)', re.ASCII
)


def parse_forwarded(values: Iterable[str]) -> list[Hop]:
    """All Forwarded fields (RFC 7239) as one list of hops; of a field with an open quote, what follows it still counts."""
    elements: list[str] = []
    for value in values:
        elements += _ELEMENT.findall(value) if _BALANCED.fullmatch(value) else _after_quote(value)
    return [_element(text) for text in elements[-CHAIN_MOST:]]


def _after_quote(value: str) -> list[str]:
    """The elements at the end of a field with an open quote, which is one malformed hop before them.

    A client that sends an open quote must not swallow what the proxy appends to it: it would count as that proxy, in
    limits and in `networks`.
    """
    tail: list[str] = []
    for piece in reversed(value.split(",")):
        if _BALANCED.fullmatch(piece) is None:
            break
        tail.append(piece)
    return [MALFORMED, *reversed(tail)]


def _element(text: str) -> Hop:
    pairs: dict[str, str] = {}
    at = 0
    while at < len(text):
        found = _PAIR.match(text, at)
        if found is None or found[1].lower() in pairs:
            return Hop(None)
        quoted = found[2]
        pairs[found[1].lower()] = found[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        at = found.end()
    scheme = pairs.get("proto", "").lower()
    # `for=_hidden;proto=https` ends the chain, and its scheme is still our peer's own word (RFC 7239 section 6.3).
    return Hop(
        _node(pairs.get("for", "")),
        scheme if scheme in {"http", "https"} else None,
        pairs.get("host"),
    )


# RFC 7239 section 6: an IPv6 node is in brackets, either kind may have a port; X-Forwarded-For has both, and bare IPv6.
_NODE = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[0-9.]+))(?::[0-9]{1,5})?")


def _node(text: str) -> Address | None:
    found = _NODE.fullmatch(text)
    return parse_address((found["six"] or found["four"]) if found else text)
