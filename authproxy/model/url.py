"""Which servers may be asked on our own behalf: issuers and the like, by the URLs of the configuration and of their documents.

One rule for all of them, so that what `check` admits is what is asked. No name is looked up here.
"""

import ipaddress
from urllib.parse import urlsplit


def is_allowed(url: str) -> bool:
    """May this be asked? https with a host, or http to this machine; no credentials and no fragment in it."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    # CVE-2026-48522: `file:`, `ftp:` and the like are no servers. White space and controls are no part of a URL.
    if not host or "@" in parts.netloc or "#" in url or not url.isascii() or not _is_plain(url):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


def _is_plain(url: str) -> bool:
    return all("!" <= character <= "~" and character != "\\" for character in url)


def is_loopback(host: str) -> bool:
    """Is this name or address the machine itself?"""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_secure(url: str) -> bool:
    """Is it https?"""
    return url[:8].lower() == "https://"


def without_query(url: str) -> str:
    """The URL as it may be shown: what stands behind `?` is nobody's business."""
    return url.partition("?")[0]
