"""For the backends behind authproxy: who is calling, proved by the assertion that the proxy signs.

A room of its own beside the floors: it runs in other programs, so it imports nothing of authproxy, only the standard
library, PyJWT and cryptography (and aiohttp in `aiohttp.py` alone). What is not beyond doubt is refused.
"""

from authproxy.backend.assertion import IDENTITY, AssertionRefused, Identity, Verifier

__all__ = ["IDENTITY", "AssertionRefused", "Identity", "Verifier"]
