"""Where somebody may be sent back to: a path of this site, whatever a browser makes of the rest."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.model.return_path import LONGEST, return_path
from tests.spellings import spellings


@pytest.mark.parametrize(
    "good", ["/", "/app", "/app/deep/page?a=1&b=2", "/a%20b", "/?next=//evil.test", "/app/", "/a?u=https://b.test/"]
)  # fmt: skip
def test_a_path_of_this_site_is_kept(good: str) -> None:
    """Byte for byte, with its query."""
    assert return_path(good) == good


@pytest.mark.parametrize(
    "bad",
    [
        "", "https://evil.test/", "//evil.test", "///evil.test", "/\\evil.test", "\\/evil.test", "/\t/evil.test",
        "\t//evil.test", " //evil.test", "/%09/evil.test", "/%5cevil.test", "/%2f/evil.test", "%2f%2fevil.test",
        "javascript:alert(1)", "/..//evil.test", "/.//evil.test", "/x/..//evil.test", "/%2e%2e//evil.test", "@evil.test",
        "/\r\nLocation: https://evil.test", "/a b", "/é", "/#//evil.test", "/a//b", "?a=b", "/.authproxy/logout",
        "/.authproxy", "/%2eauthproxy/logout", "/a\x00", "/a\x7f", "/" + "a" * LONGEST, "/%zz", "/a%",
    ],
)  # fmt: skip
def test_everything_else_is_the_front_page(bad: str) -> None:
    """Nothing is repaired: what could lead elsewhere, or back into the login, is dropped."""
    assert return_path(bad) == "/"


def test_no_spelling_leads_elsewhere() -> None:
    """Of hundreds, what is kept is a path of this site, and the rest is the front page; a browser's word is in end_to_end/."""
    kept = {one for one in spellings() if return_path(one) != "/"}
    assert len(spellings()) == len(set(spellings())) >= 500
    assert all(return_path(one) == one for one in kept)
    assert all(re.match(r"/[^/\\]", one) for one in kept)
    assert len(kept) < 30


@given(st.text(max_size=40) | st.text("/\\.@:%2fe \t?#", max_size=20))
def test_what_comes_out_begins_with_one_slash(text: str) -> None:
    """Whatever goes in: visible ASCII, one slash at the beginning, none or a backslash behind it."""
    found = return_path(text)
    assert found[0] == "/"
    assert found[1:2] not in {"/", "\\"}
    assert found.isascii()
    assert found.isprintable()
    assert return_path(found) == found
