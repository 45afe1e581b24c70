"""The PROXY protocol's header (haproxy.org, proxy-protocol.txt, versions 1 and 2): whose connection it is, and where it ends.

Pure: bytes in, an address out. Not a byte behind the header is looked at; what is not to the letter is an error, because
whoever may send a header is believed.
"""

from ipaddress import IPv4Address, IPv6Address

from authproxy.model.address import Address, parse_address

V1_BEGINS = b"PROXY "
V1_MOST = 107  # section 2.1, with CRLF
V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V2_FIXED = 16
HEADER_MOST = 536  # what section 2.2 wants to fit into one segment; the addresses of two Unix sockets take 232
_PORT_MOST = 65535

# Family and transport, section 2.2: the length that its two ends take. Datagrams do not come by TCP.
_TCP4, _TCP6, _UNIX, _UNSPECIFIED = 0x11, 0x21, 0x31, 0x00
_LENGTHS = {_TCP4: 12, _TCP6: 36, _UNIX: 216, _UNSPECIFIED: 0}


class BadHeader(ValueError):  # noqa: N818  # as model.errors says: a problem of who sent it
    """This is no PROXY header; the text says why, in constant words."""


def header_end(seen: bytes) -> int | None:
    """The length of the header that begins with these bytes; None while all of them belong to it and more are to come.

    Raises:
        BadHeader: no header begins so, or it is too long.
    """
    if seen[:1] == V1_BEGINS[:1]:
        if not (V1_BEGINS.startswith(seen) or seen.startswith(V1_BEGINS)):
            raise BadHeader("no header")
        end = seen.find(b"\r\n", 0, V1_MOST)
        if end < 0 and len(seen) >= V1_MOST:
            raise BadHeader("too long")
        return None if end < 0 else end + 2
    if not (V2_SIGNATURE.startswith(seen) or seen.startswith(V2_SIGNATURE)):
        raise BadHeader("no header")
    if len(seen) < V2_FIXED:
        return None
    end = V2_FIXED + int.from_bytes(seen[14:16], "big")
    if end > HEADER_MOST:
        raise BadHeader("too long")
    return end


def told_address(header: bytes) -> Address | None:
    """The client that a whole header names (IPv4-mapped ones as IPv4); None where the sender speaks for itself.

    Raises:
        BadHeader: it is not to the letter.
    """
    return _v1(header) if header.startswith(V1_BEGINS) else _v2(header)


def _v1(header: bytes) -> Address | None:
    try:
        words = header[:-2].decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise BadHeader("not ASCII") from None
    if words[1] == "UNKNOWN":
        return None  # section 2.1: whatever follows is to be ignored
    if len(words) != 6 or words[1] not in {"TCP4", "TCP6"}:
        raise BadHeader("not to the letter")
    kind = IPv4Address if words[1] == "TCP4" else IPv6Address
    try:
        client, _ = (kind(word) for word in words[2:4])
    except ValueError:
        raise BadHeader("no address") from None
    if not all(_is_port(word) for word in words[4:]):
        raise BadHeader("no port")
    return _plain(client)


def _is_port(word: str) -> bool:
    return (
        word.isdecimal() and len(word) <= 5 and word == str(int(word)) and int(word) <= _PORT_MOST
    )


def _v2(header: bytes) -> Address | None:
    version, command = divmod(header[12], 16)
    if version != 2 or command > 1:
        raise BadHeader("unknown version or command")
    if command == 0:
        return None  # LOCAL: a health check of the proxy's own
    family, rest = header[13], header[V2_FIXED:]
    if family not in _LENGTHS:
        raise BadHeader("unknown family")
    if len(rest) < _LENGTHS[family]:
        raise BadHeader("too short")
    # What follows the addresses (TLVs) says nothing that is asked for here.
    if family == _TCP4:
        return IPv4Address(rest[:4])
    return _plain(IPv6Address(rest[:16])) if family == _TCP6 else None


def _plain(address: Address) -> Address:
    found = parse_address(str(address))
    if found is None:
        raise BadHeader("no address")  # one with a zone
    return found
