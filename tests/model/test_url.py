"""Which URLs may be asked on our own behalf: https, or this machine."""

import pytest

from authproxy.model.url import is_allowed, is_secure, without_query


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://issuer.test/keys", True), ("https://issuer.test:8443", True), ("http://127.0.0.1:80/a", True),
        ("http://[::1]:80/a", True), ("http://localhost/a", True), ("http://issuer.test/keys", False),
        ("http://127.0.0.1.issuer.test/", False), ("http://localhost.test/", False), ("https://u:p@issuer.test/", False),
        ("https://u@issuer.test/", False), ("https://", False), ("file:///etc/passwd", False), ("ftp://a/b", False),
        ("https://issuer.test:notaport/", False), ("https://[::1", False), ("https://a/b#c", False), ("", False),
        ("https://a/ b", False), ("https://a\\@b/", False), ("https://a/\n", False), ("https://ä.test/", False), ("HTTPS://a/", True),
    ],
)  # fmt: skip
def test_what_may_be_asked(url: str, allowed: bool) -> None:
    """https, or this machine; never with credentials."""
    assert is_allowed(url) is allowed


def test_what_is_shown_has_no_query() -> None:
    """A query may hold somebody's key; a scheme is read in any case."""
    assert without_query("https://a/b?key=1") == "https://a/b"
    assert is_secure("HTTPS://a")
    assert not is_secure("http://a/https://")
