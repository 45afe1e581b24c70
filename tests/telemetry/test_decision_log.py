"""The decision log: one line a decision, for its owner alone; what callers send neither breaks nor fills it."""

import json
from pathlib import Path
from typing import Any

from authproxy.model.fields import Fields
from authproxy.model.identity import Identity
from authproxy.policy.record import Recorder
from authproxy.telemetry.decision_log import LINE_MOST, DecisionLog, decision_line
from tests.playbook import GUARDED, Proxy, playbook, token
from tests.telemetry.test_access_log import exchange
from tests.wire import until

DECISIONS = {"access": {"path": "access.log"}, "decisions": {"path": "decisions.log"}}
RICH = GUARDED | {
    "allow": [{"groups": ["eng"]}, {"when": 'request.headers["x-team"] == claims.team'}],
}


def lines(p: Proxy) -> list[dict[str, Any]]:
    """What the decision log of a playbook holds."""
    assert p.worker._runtime.decisions is not None
    p.worker._runtime.decisions.lines.flush()
    text = (p.loaded.folder / "decisions.log").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_a_line_holds_no_control_character() -> None:
    """C1, U+2028, DEL and lone surrogates of a claim are escaped, and come back."""
    subject = "a\x7f\x85\u2028b"
    line_of = decision_line(Recorder(frozenset({("claims",)})))
    for odd in (subject, "a\ud800"):
        line = line_of(exchange(identity=Identity("t", subject, claims={"x": odd})), 0.0) or b""
        assert line.count(b"\n") == 1
        assert line.isascii()
        assert json.loads(line)["claims"] == {"x": odd}


def test_a_line_that_is_too_long_leaves_out_what_callers_choose() -> None:
    """And says so; what was decided stays."""
    reads = frozenset({("claims",), ("groups",), ("headers",)})
    claims = {"x": "y" * LINE_MOST}
    found = exchange(identity=Identity("t", "a", ("g",), claims=claims), fields=Fields())
    line = json.loads(decision_line(Recorder(reads))(found, 0.0) or b"")
    assert (line["withheld"], line["decision"]) == (
        ["claims", "headers", "groups", "scopes"],
        "allow",
    )
    assert not {"claims", "headers", "groups"} & set(line)


def test_nothing_decided_is_no_line() -> None:
    """A head that was refused is in the access log alone."""
    assert decision_line(Recorder())(exchange(target=None), 0.0) is None


def test_the_file_is_taken_over_and_the_way_of_recording_is_not(tmp_path: Path) -> None:
    """New policies write other lines into the same open file; another path is another file."""
    first = DecisionLog(str(tmp_path / "a"), Recorder(digest="one"))
    second = DecisionLog(str(tmp_path / "a"), Recorder(digest="two"), first)
    third = DecisionLog(str(tmp_path / "b"), Recorder(digest="three"), second)
    assert second.lines is first.lines
    for log in (first, second, third):
        log.write(exchange())
    for lines_of in (second.lines, third.lines):
        lines_of.close()
    digests = [json.loads(x)["policies"] for x in (tmp_path / "a").read_text().splitlines()]
    assert digests == ["one", "two"]
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


async def test_off_by_default_there_is_no_file() -> None:
    """Without `logging.decisions` nothing is written, and nothing is there to write it."""
    async with playbook() as p:
        await p.request("GET", "/x")
        assert p.runtime.decisions is None
        assert not list(p.loaded.folder.glob("dec*"))


async def test_a_decision_is_a_line_and_holds_no_secret() -> None:
    """Allowed or refused, with what the policies read; no token, cookie or query is in the file."""
    async with playbook(RICH, logging=DECISIONS) as p:
        credential = token(groups=["eng"], claims={"team": "blue", "unread": "private"})
        headers = [("X-Team", "red"), ("Cookie", "c=cookievalue"), ("X-Unread", "private")]
        await p.request("GET", "/guarded/1?q=queryvalue", headers, token=credential)
        await p.request("GET", "/guarded/2?q=queryvalue", headers, token=token("bob"))
        await p.request("GET", "/nowhere?q=queryvalue", headers)
        await p.request("GET", "/guarded/3", [("Authorization", "Bearer garbage.to.kens")])
        await p.raw(b"GET /guarded/../x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await until(lambda: len(lines(p)) >= 4)
        found = lines(p)
        assert [(x["decision"], x["code"], x["route"]) for x in found] == [
            ("allow", None, "guarded"), ("refuse", "forbidden", "guarded"), ("refuse", "no_route", None),
            ("refuse", "token_invalid", "guarded"),
        ]  # fmt: skip
        assert (found[0]["groups"], found[0]["claims"], found[0]["headers"]) == (
            ["eng"], {"team": "blue"}, {"x-team": "red"},
        )  # fmt: skip
        assert [x["credentials"] for x in found] == [
            {"scheme:bearer": True}, {"scheme:bearer": True}, {"scheme:bearer": False}, {"scheme:bearer": True},
        ]  # fmt: skip
        text = (p.loaded.folder / "decisions.log").read_text()
        for secret in (
            credential,
            credential.rpartition(".")[2],
            "cookievalue",
            "queryvalue",
            "private",
            "garbage",
        ):
            assert secret not in text


async def test_new_policies_record_what_they_read() -> None:
    """After a reload a line holds what the new policies read, under their digest, in the same file."""
    async with playbook(GUARDED, logging=DECISIONS) as p:
        await p.request("GET", "/guarded/1", token=token(groups=["eng"]))
        routes = p.loaded.folder / "policies" / "routes.yaml"
        routes.write_text(json.dumps({"routes": [GUARDED | {"allow": [{"groups": ["eng"]}]}]}))
        previous = p.worker._runtime
        p.worker.reload()
        await until(lambda: p.worker._runtime is not previous)
        await p.request("GET", "/guarded/2", token=token(groups=["eng"]))
        await until(lambda: len(lines(p)) == 2)
        first, second = lines(p)
        assert (first["reads"], second["reads"]) == ([], ["groups"])
        assert first["policies"] != second["policies"]


async def test_it_is_opened_again_after_a_rotation() -> None:
    """A file that was moved away is left alone once a reload was asked for, as with the access log."""
    async with playbook(logging=DECISIONS) as p:
        await p.request("GET", "/1")
        file = p.loaded.folder / "decisions.log"
        await until(lambda: len(lines(p)) == 1)
        file.rename(p.loaded.folder / "decisions.log.1")
        previous = p.worker._runtime
        p.worker.reload()
        await until(lambda: p.worker._runtime is not previous)
        await p.request("GET", "/2")
        await until(lambda: file.exists() and [x["path"] for x in lines(p)] == ["/2"])


async def test_a_full_disk_stops_no_request() -> None:
    """Lines are lost and counted; requests are served."""
    logging = DECISIONS | {"decisions": {"path": "/dev/full"}}
    async with playbook(logging=logging) as p:
        assert (await p.request("GET", "/1")).status == 200
        assert p.runtime.decisions is not None
        lost = p.runtime.decisions.lines
        await until(lambda: lost.lost == 1)
        series = ("authproxy_log_lines_lost_total", (("log", "decision"),))
        await until(lambda: p.facts().totals[series[0]].get(series[1]) == 1)
        assert (await p.request("GET", "/2")).status == 200
