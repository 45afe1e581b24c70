"""The name under which a limit counts somebody: a hash, so that nobody's words can be taken for another's."""

from hashlib import blake2b


def limit_key(*parts: str | bytes) -> bytes:
    """16 bytes for these parts in this order: put in the route, the limit with its rate and strategy, and who.

    Each part is preceded by its length, so that ("a/b",) and ("a", "b") differ. A str counts as its UTF-8 bytes,
    lone surrogates (JSON has them) included.
    """
    digest = blake2b(digest_size=16)
    for part in parts:
        octets = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        digest.update(len(octets).to_bytes(8, "little") + octets)
    return digest.digest()
