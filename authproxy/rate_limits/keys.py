"""The name under which a limit counts somebody: a hash, so that nobody's words can be taken for another's."""

from hashlib import blake2b


def limit_key(*parts: str | bytes) -> bytes:
    """16 bytes for these parts in this order: put in the route, the limit with its rate and strategy, and who.

    Each part is preceded by its length, so that ("a/b",) and ("a", "b") differ. A str counts as its UTF-8 bytes,
    lone surrogates (JSON has them) included.
    """
    octets = [p if isinstance(p, bytes) else p.encode("utf-8", "surrogatepass") for p in parts]
    told = b"".join([len(part).to_bytes(8, "little") + part for part in octets])
    return blake2b(told, digest_size=16).digest()
