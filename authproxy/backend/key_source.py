"""The proxy's public keys, from a URL or a file: kept, refreshed, and the last good ones used while there are no others.

They are fetched in a thread of their own, one at a time, so that neither an event loop nor a second request waits for
what it does not need. Whatever goes wrong is logged; a set is taken as a whole or not at all.
"""

import asyncio
import ipaddress
import json
import logging
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from jwt import InvalidKeyError
from jwt.algorithms import ECAlgorithm

log = logging.getLogger("authproxy.backend")

BYTES_MOST = 256 << 10
KEYS_MOST = 50
PATIENCE = 5.0  # seconds for each step of a fetch
FETCH_MOST = 15.0  # and for the whole


class Flight:
    """A fetch under way."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.ended: Future[None] = Future()
        # Now nobody who waits can cancel it for the others.
        self.ended.set_running_or_notify_cancel()

    def wait(self) -> None:
        """Until it has ended, well or not, or has taken too long."""
        with suppress(TimeoutError):
            self.ended.result(FETCH_MOST)

    async def wait_async(self) -> None:
        """As `wait`, without keeping the event loop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(self.ended), FETCH_MOST)


class KeySource:
    """Keys by their `kid`; see `Verifier` for what the numbers mean."""

    def __init__(
        self, place: str, *, ca: str | None, refresh: float, cooldown: float, keep: float
    ) -> None:
        self._read = _reader(place, ca)
        self._place = place
        self._refresh = refresh
        self._cooldown = cooldown
        self._keep = keep
        self._lock = threading.Lock()
        self._keys: Mapping[str, Any] = {}
        self._good = float("-inf")  # when the keys were fetched, on the monotonic clock
        self._flight: Flight | None = None

    @property
    def any(self) -> bool:
        """Are there keys, not too old to be believed?"""
        return bool(self._keys) and time.monotonic() - self._good < self._keep

    def find(self, kid: str) -> Any:
        """The key of this name; None where there is none."""
        return self._keys.get(kid) if self.any else None

    def due(self, kid: str) -> Flight | None:
        """Begin to fetch where that is due; the fetch to wait for, where the key is not there without it."""
        known = self.find(kid) is not None
        now = time.monotonic()
        if known and now - self._good < self._refresh:
            return None
        with self._lock:
            flight = self._flight
            if flight is None or self._may_follow(flight, now, known=known):
                flight = self._flight = Flight(now)
                threading.Thread(
                    target=self._fetch, args=(flight,), name="authproxy-keys", daemon=True
                ).start()
        return None if known else flight

    def _may_follow(self, flight: Flight, now: float, *, known: bool) -> bool:
        """Is it time for another fetch after this one?"""
        age = now - flight.began
        if not flight.ended.done():
            return age > FETCH_MOST  # it hangs, or its thread was lost in a fork
        return age >= (min(self._cooldown, self._refresh) if known else self._cooldown)

    def _fetch(self, flight: Flight) -> None:
        try:
            keys = read_keys(self._read())
            self._keys, self._good = keys, time.monotonic()
        except Exception as error:
            # Whatever a server or a file can do: the last good keys serve on.
            log.warning("no new keys from %s: %s", self._place, error)
        finally:
            flight.ended.set_result(None)


def read_keys(data: bytes) -> Mapping[str, Any]:
    """The keys for ES256 of a JWKS, by `kid`; others are passed over (RFC 7517 section 5).

    Raises:
        ValueError: it is none, holds no such key, or one that must not be there.
    """
    found = json.loads(data)
    members = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(members, list) or len(members) > KEYS_MOST:
        raise ValueError(f"this is no JWKS of at most {KEYS_MOST} keys")
    keys: dict[str, Any] = {}
    for jwk in members:
        if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str):
            continue
        if "d" in jwk or jwk.get("kty") == "oct":
            raise ValueError("a private key stands in the set: whoever read it can be anybody")
        if (jwk.get("kty"), jwk.get("crv"), jwk.get("use", "sig"), jwk.get("alg", "ES256")) == (
            "EC", "P-256", "sig", "ES256",
        ):  # fmt: skip
            if jwk["kid"] in keys:
                raise ValueError("two keys have the same `kid`")
            keys[jwk["kid"]] = _key(jwk)
    if not keys:
        raise ValueError("there is no key for ES256 in the set")
    return keys


def _key(jwk: dict[str, Any]) -> Any:
    try:
        return ECAlgorithm.from_jwk(jwk)
    except (InvalidKeyError, ValueError, TypeError) as error:
        raise ValueError("the numbers of a key are no key") from error


def _reader(place: str, ca: str | None) -> Any:
    """What reads the set; all that can be wrong with the place is wrong now."""
    if "://" not in place:
        return lambda: _bounded(Path(place).open("rb"))
    parts = urlsplit(place)
    if parts.scheme != "https" and not (parts.scheme == "http" and _loopback(parts.hostname)):
        raise ValueError("keys come by https (or http from loopback): else anybody on the way could give theirs")  # fmt: skip
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials in a URL are refused")
    https = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca))
    opener = urllib.request.build_opener(https, _NoRedirect())
    if parts.scheme == "http":
        # What the environment says of proxies is not for loopback, and would let another give the keys.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
    headers = {"Accept": "application/jwk-set+json, application/json"}
    request = urllib.request.Request(place, headers=headers)  # noqa: S310  # its scheme was looked at above
    return lambda: _bounded(opener.open(request, timeout=PATIENCE))


def _loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Keys come from where they were said to be, and from nowhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> NoReturn:
        raise ValueError("a redirect is not followed")


def _bounded(opened: Any) -> bytes:
    """All of it, unless it is too much or comes too slowly."""
    data, end = b"", time.monotonic() + FETCH_MOST
    with opened:
        while chunk := opened.read1(64 << 10):
            data += chunk
            if len(data) > BYTES_MOST or time.monotonic() > end:
                raise ValueError("the set is too large, or comes too slowly")
    return data
