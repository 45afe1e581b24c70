"""Who am I: for programs and for people, of this session alone; and the end of all others."""

import json
from pathlib import Path

from tests.web.portal.browser import COOKIE, SCRIPT, Browser, Form, office, users_text
from tests.web.portal.sso import Person, company


async def test_programs_get_json_and_people_a_page(tmp_path: Path) -> None:
    """Both say who it is; nobody without a session learns anything."""
    (tmp_path / "users.yaml").write_text(users_text(ann=", name: 'Ann <b>Other</b>'"))
    async with office(tmp_path) as p:
        browser = Browser(p)
        assert (await browser.go("/.authproxy/userinfo", headers=SCRIPT)).code == "unauthenticated"
        asked = await browser.go("/.authproxy/userinfo")
        assert asked.field("location") == "/.authproxy/login?next=/.authproxy/userinfo"
        back = await browser.log_in(wanted="/.authproxy/userinfo")
        assert back.field("location") == "/.authproxy/userinfo"
        found = json.loads((await browser.go("/.authproxy/userinfo", headers=SCRIPT)).body)
        assert (found["subject"], found["authenticator"], found["groups"]) == (
            "ann",
            "staff",
            ["eng"],
        )
        assert found["email"] == "ann@x.test"
        page = (await browser.go("/.authproxy/userinfo")).body.decode()
        assert "Ann &lt;b&gt;Other" in page
        assert browser.cookies[COOKIE] not in page
        assert "End all others" not in page


async def test_all_others_can_be_ended(tmp_path: Path) -> None:
    """Those of the same person, from our own form; this one and other people's go on."""
    async with office(tmp_path) as p:
        here, there, bob = Browser(p), Browser(p), Browser(p)
        for browser, name in ((here, "ann"), (there, "ann"), (bob, "bob")):
            await browser.log_in(name)
        form = Form((await here.go("/.authproxy/userinfo")).body.decode())
        assert (await here.go(form.action, "POST", form={"csrf": "no"})).status == 403
        assert await there.may() == 200
        assert (await here.go(form.action, "POST", form=form.fields)).status == 303
        assert [await one.may() for one in (here, there, bob)] == [200, 401, 200]


async def test_a_provider_is_called_by_its_title() -> None:
    """People read what the button said; programs get the name that policies use."""
    async with company(sso={"title": "Acme & <Sons>"}) as (p, provider):
        ann = Person(p, provider)
        await ann.sign_in()
        assert (
            "<dd>Acme &amp; &lt;Sons&gt;</dd>"
            in (await ann.go("/.authproxy/userinfo")).body.decode()
        )
        found = json.loads((await ann.go("/.authproxy/userinfo", headers=SCRIPT)).body)
        assert found["authenticator"] == "sso"
