"""Deny by default, on every request; a decision is never kept."""

import asyncio

from tests.playbook import GUARDED, Proxy, playbook, token

ENG = GUARDED | {"allow": [{"groups": ["eng"]}], "deny": [{"subjects": ["mallory"]}]}


async def test_an_identity_passes() -> None:
    """A good token reaches the backend, which is told whose it is and never sees the token."""
    async with playbook() as p:
        answer = await p.request("GET", "/guarded/1", token=token("alice", groups=["eng", "ops"]))
        assert (answer.status, answer.body) == (200, b"hello")
        assert answer.seen[0].field("x-forwarded-user") == "alice"
        assert answer.seen[0].field("x-forwarded-groups") == "eng,ops"
        assert answer.seen[0].field("authorization") is None
        line = p.log()[0]
        assert (line["subject"], line["authenticator"], line["route"]) == (
            "alice",
            "tokens",
            "guarded",
        )


async def test_what_no_entry_allows_is_forbidden() -> None:
    """No entry of `allow` holds, or one of `deny` does: 403, nothing reaches the backend, and the log says which."""
    async with playbook(ENG) as p:
        for subject, groups, reason in (
            ("bob", ["ops"], "no entry of allow holds"),
            ("mallory", ["eng"], "deny[0]"),
        ):
            answer = await p.request("GET", "/guarded/1", token=token(subject, groups=groups))
            assert (answer.status, answer.code, answer.seen) == (403, "forbidden", [])
            line = p.log()[-1]
            assert (line["decision"], line["code"], line["reason"]) == (
                "refuse",
                "forbidden",
                reason,
            )


async def test_shadow_withholds_forbidden_alone() -> None:
    """`mode: shadow` lets pass what would be forbidden, and says so in the log; authentication still refuses."""
    async with playbook(ENG | {"mode": "shadow"}) as p:
        assert (await p.request("GET", "/guarded/1", token=token("bob"))).status == 200
        line = p.log()[0]
        assert (line["decision"], line["shadow"], line["code"]) == ("allow", "forbidden", None)
        assert (await p.request("GET", "/guarded/1")).code == "unauthenticated"


async def test_decisions_are_never_shared() -> None:
    """CVE-2021-32701: twenty at once over one pool, each with its own rights, each gets its own decision."""

    async def ask(p: Proxy, number: int) -> bool:
        groups = ["eng"] if number % 2 else []
        answer = await p.request("GET", "/guarded/1", token=token(f"u{number}", groups=groups))
        return answer.status == (200 if number % 2 else 403)

    async with playbook(ENG) as p:
        assert all(await asyncio.gather(*(ask(p, number) for number in range(20))))
