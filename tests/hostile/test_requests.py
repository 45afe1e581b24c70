"""Every table of hostile requests, against the running server."""

import pytest

from tests.hostile import fields, framing, messages, mutations, targets
from tests.hostile.attack import Case
from tests.hostile.conftest import Target

GROUPS: dict[str, list[Case]] = {
    **framing.GROUPS,
    **fields.GROUPS,
    **targets.GROUPS,
    **messages.GROUPS,
    **mutations.GROUPS,
}
LEAST = 5000


@pytest.mark.parametrize("group", GROUPS)
def test_every_case_is_refused_or_forwarded_clean(group: str, target: Target) -> None:
    """A hostile request is refused with a code of the contract or reaches the backend beyond doubt, and /admin is never reached."""
    target.hold(GROUPS[group])


def test_the_tables_are_large() -> None:
    """There are thousands of hostile requests, no two of them alike."""
    assert len({case.data for cases in GROUPS.values() for case in cases}) >= LEAST
