"""Deny by default, on every request; a decision is never kept."""

from tests.playbook import playbook, token


async def test_an_identity_passes() -> None:
    """A good token reaches the backend, which is told whose it is and never sees the token."""
    async with playbook() as p:
        answer = await p.request("GET", "/guarded/1", token=token("alice", groups=["eng"]))
        assert (answer.status, answer.body) == (200, b"hello")
        assert answer.seen[0].field("x-forwarded-user") == "alice"
        assert answer.seen[0].field("authorization") is None
