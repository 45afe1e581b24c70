"""Coverage: what tests never exercised is named with its place, and 100 % means all."""

from typing import Any

from authproxy.policy.cases import Case, run_case
from authproxy.policy.coverage import Coverage, measure_coverage
from authproxy.policy.document import CaseDocument
from authproxy.policy.offline import PolicySet
from tests.policy.reading import parsed

FILE = """\
routes:
  - name: read
    match: {paths: [/r/**]}
    upstream: orders
    authenticate: [tokens]
    allow:
      - {groups: [eng]}
      - {scopes: [read], when: 'claims.level > 2'}
    deny:
      - {groups: [suspended]}
      - when: 'claims.banned'
  - {name: any, match: {paths: [/any]}, upstream: orders, authenticate: [tokens], allow: authenticated, cors_preflight: forward}
  - {name: strong, match: {paths: [/s]}, upstream: orders, authenticate: [tokens], allow: authenticated, second_factor: true}
  - {name: open, match: {paths: [/o]}, upstream: orders, authenticate: none}
"""


def covered(*asked: tuple[str, dict[str, Any] | None], **more: Any) -> Coverage:
    """What these requests, a path and an identity each, cover of the file."""
    policies = parsed(FILE)
    cases = [
        CaseDocument.model_validate(
            {"request": f"GET https://a{path}", "expect": "allow", **({"identity": who} if who else {}), **more}
        )
        for path, who in asked
    ]  # fmt: skip
    source, _ = policies.places["read"]
    results = [
        run_case(PolicySet(policies.table), Case(wanted, source, ()), 0.0) for wanted in cases
    ]
    return measure_coverage(policies.table.routes, policies.places, [x.decision for x in results])


def who(*groups: str, scopes: tuple[str, ...] = (), **claims: Any) -> dict[str, Any]:
    """An identity of a test."""
    return {"subject": "a", "groups": list(groups), "scopes": list(scopes), "claims": claims}


def places(coverage: Coverage) -> list[str]:
    """The gaps by route and place, with what was not seen."""
    return [f"{gap.route} {gap.place} {gap.text.rpartition(' was ')[2]}" for gap in coverage.gaps]


def test_without_tests_nothing_is_covered() -> None:
    """Every point is a gap, each at the line and column of what it is about."""
    found = covered()
    assert (found.percent, found.covered, found.total, len(found.gaps)) == (0.0, 0, 16, 16)
    at = {(gap.route, gap.place): (gap.line, gap.column) for gap in found.gaps}
    assert at["read", ""] == (2, 5)
    assert at["read", "allow[1]"] == (8, 9)
    assert at["read", "allow[1].when"] == (8, 32)
    assert at["read", "deny[1].when"] == (11, 15)
    assert at["any", "allow"][0] == 12
    assert [gap.line for gap in found.gaps] == sorted(gap.line for gap in found.gaps)


def test_everything_can_be_covered() -> None:
    """Each route found, each entry having decided, each side of each `when` seen."""
    ok: dict[str, Any] = {"banned": False}
    found = covered(
        ("/r/1", who("eng", **ok)), ("/r/1", who("suspended")), ("/r/1", who(banned=True)),
        ("/r/1", who(scopes=("read",), level=3, **ok)), ("/r/1", who(scopes=("read",), level=1, **ok)),
        ("/any", who()), ("/s", who(amr=["mfa"])), ("/s", who()), ("/o", None),
    )  # fmt: skip
    assert places(found) == []
    assert found.percent == 100.0


def test_an_entry_that_was_looked_at_and_never_held_is_not_covered() -> None:
    """Who is refused says nothing of whom it would let in."""
    assert "read allow[0] the route `read`: allow[0] never decided" in places(covered(("/r/1", who(banned=False))))  # fmt: skip
    # The first condition failed: the `when` behind it was never evaluated.
    assert (
        len([x for x in places(covered(("/r/1", who(banned=False)))) if "allow[1].when" in x]) == 2
    )


def test_an_error_is_on_neither_side_of_a_when() -> None:
    """Something missing refuses, in `deny` too; whether the expression is right nobody has seen."""
    found = places(covered(("/r/1", who())))
    assert [x for x in found if "deny[1]" in x] == [
        "read deny[1].when never seen where it holds", "read deny[1].when never seen where it does not hold",
    ]  # fmt: skip


def test_a_request_that_passes_without_an_identity_covers_no_allow() -> None:
    """A preflight is let in by nobody's word."""
    headers = {"Origin": "https://b", "Access-Control-Request-Method": "GET"}
    found = covered(("/any", None), request="OPTIONS https://a/any", headers=headers)
    assert [gap.place for gap in found.gaps if gap.route == "any"] == ["allow"]


def test_trap_nearly_all_is_not_all() -> None:
    """100 is said of all only, however many there are; of nothing all is covered."""
    gap = covered().gaps[:1]
    assert Coverage(100_000, gap).percent < 100
    assert Coverage(0, ()).percent == 100
