"""A proxy whose people log in at the provider of `tests/openid.py`, and their way through it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from tests.openid import SECRET, EvilProvider, evil_provider
from tests.playbook import OPEN, Proxy, playbook
from tests.web.portal.browser import Browser
from tests.wire import Answer

PORTAL = "https://proxy.test"
FRONT = {"networks": ["127.0.0.0/8"]}
PEOPLE: dict[str, Any] = {
    "name": "people", "match": {"paths": ["/staff/**"]}, "upstream": "backend", "authenticate": ["sso"],
    "allow": "authenticated",
}  # fmt: skip


class Person(Browser):
    """A browser, and who sits before it."""

    def __init__(self, proxy: Proxy, provider: EvilProvider, origin: str = PORTAL) -> None:
        super().__init__(proxy, origin)
        self.provider = provider

    async def begin(self, wanted: str = "/staff/x", **more: str) -> str:
        """Where the login sends the browser."""
        answer = await self.go(f"/.authproxy/login?{urlencode({'next': wanted, **more})}")
        assert answer.status == 303, answer.body
        return str(answer.field("location"))

    async def sign_in(self, wanted: str = "/staff/x", /, **changes: str | None) -> Answer:
        """The whole login; `changes` are what the provider says to the browser."""
        return await self.go(self.provider.grant(await self.begin(wanted), **changes))


async def sign_in_at(host: str, portal: Person, target: str = "/staff/x") -> Person:
    """One browser that logs in by way of the portal: what it is on this host, where it ends."""
    there = Person(portal.proxy, portal.provider, host)
    asked = str((await there.go(target)).field("location"))
    for _ in range(8):
        base = next((b for b in (portal.origin, host) if asked.startswith(f"{b}/")), "")
        if not base:
            asked = f"{portal.origin}{portal.provider.grant(asked)}"
            continue
        answer = await (portal if base == portal.origin else there).go(asked.removeprefix(base))
        asked = str(answer.field("location"))
        if asked == target:
            return there
        asked = f"{base}{asked}" if asked.startswith("/") else asked
    raise AssertionError(asked)


@asynccontextmanager
async def company(**config: Any) -> AsyncIterator[tuple[Proxy, EvilProvider]]:
    """A proxy and its provider; `sso` changes the authenticator, `also` are others at the same provider."""
    changes, also = config.pop("sso", {}), config.pop("also", ())
    routes = config.pop("routes", (OPEN, PEOPLE))
    more = config.pop("authenticators", {})
    async with evil_provider() as provider:
        settings = {
            "authenticators": {
                **{name: provider.settings(**changes) for name in ("sso", *also)},
                **more,
            },
            "portal": {"url": PORTAL},
            "trusted_proxies": FRONT,
            **config,
        }
        async with playbook(*routes, environ={"OIDC_SECRET": SECRET}, **settings) as proxy:
            yield proxy, provider


def reasons(proxy: Proxy) -> list[str]:
    """Why requests were refused, by the log."""
    return [line["reason"] for line in proxy.log() if line["decision"] == "refuse"]
