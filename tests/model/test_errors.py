"""Refusals and problems: the table of codes, and problems as lines."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.model.errors import REFUSALS, ConfigError, Problem, Refusal, valued

# Section 6 of the contract.
STATUSES = {
    "bad_request": 400, "unauthenticated": 401, "token_invalid": 401, "token_expired": 401, "token_revoked": 401,
    "session_expired": 401, "forbidden": 403, "cross_site": 403, "no_route": 404, "method_not_allowed": 405,
    "request_timeout": 408, "body_too_large": 413, "uri_too_long": 414, "misdirected": 421, "rate_limited": 429,
    "headers_too_large": 431, "client_gone": 499, "internal_error": 500, "upstream_unreachable": 502,
    "upstream_invalid": 502, "overloaded": 503, "state_unavailable": 503, "draining": 503, "upstream_timeout": 504,
    "version_not_supported": 505,
}  # fmt: skip


def problem(**changes: object) -> Problem:
    found = {
        "file": "f.yaml",
        "line": 3,
        "column": 5,
        "code": "bad",
        "text": "it is bad",
        "remedy": "mend it",
    }
    return Problem(**{**found, **changes})  # type: ignore[arg-type]  # fmt: skip


def test_the_codes_are_those_of_the_contract() -> None:
    """Each code has its status; there are no others."""
    assert {code: status for code, (status, _) in REFUSALS.items()} == STATUSES


def test_a_refusal_tells_the_caller_its_title_only() -> None:
    """The reason is for the log; status and title come from the code."""
    refusal = Refusal("forbidden", "deny[0]", headers=(("A", "b"),), close=True)
    assert (refusal.status, refusal.title) == (403, "Access is not allowed")
    assert (refusal.reason, refusal.headers, refusal.close) == ("deny[0]", (("A", "b"),), True)
    assert "deny" not in refusal.title


def test_an_error_as_a_value_holds_nothing_else() -> None:
    """No frame that it came through, no error before it: it is what it says, and no more."""
    caught = Refusal("forbidden")

    def fail() -> None:
        try:
            raise KeyError("before")
        except KeyError as error:
            raise caught from error

    with pytest.raises(Refusal):
        fail()
    assert valued(caught) is caught
    assert (caught.__traceback__, caught.__context__, caught.__cause__) == (None, None, None)


def test_an_unknown_code_is_no_refusal() -> None:
    """A code is a key of the table."""
    with pytest.raises(KeyError):
        Refusal("no_such_code")


def test_a_problem_is_one_line() -> None:
    """`file:line:column: severity: code: what is wrong — what to do`."""
    assert str(problem()) == "f.yaml:3:5: error: bad: it is bad — mend it"
    assert str(problem(severity="warning")) == "f.yaml:3:5: warning: bad: it is bad — mend it"


@given(st.text(), st.text())
def test_a_problem_stays_one_printable_line(text: str, file: str) -> None:
    """A quoted key may hold line ends and escape codes; a terminal and a log never see them."""
    line = str(problem(text=text, file=file))
    assert len(line.splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", line)
    line.encode()


def test_a_problem_is_named_from_a_folder_it_lies_in() -> None:
    """A file elsewhere keeps its name."""
    here = problem(file="/etc/x/f.yaml").relative_to(Path("/etc"))
    assert here.file == "x/f.yaml"
    assert problem(file="/usr/f.yaml").relative_to(Path("/etc")).file == "/usr/f.yaml"


def test_a_config_error_holds_all_problems() -> None:
    """Whoever catches it can show them all."""
    error = ConfigError([problem(), problem(line=4)])
    assert [p.line for p in error.problems] == [3, 4]
    assert len(str(error).splitlines()) == 2
