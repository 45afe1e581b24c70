"""The status page: it tells what the status does, in markup that is whole, escaped, and loads or runs nothing."""

from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from authproxy.model.errors import Problem
from authproxy.web.status import (
    CacheStatus,
    KeySetStatus,
    Latency,
    ListenerStatus,
    Readiness,
    ReloadStatus,
    RevocationStatus,
    RouteStatus,
    Status,
    Traffic,
    UpstreamStatus,
    WorkersStatus,
)
from authproxy.web.status_page import (
    POLICY,
    ROUTES_MOST,
    busiest,
    counted,
    duration,
    page,
    percent,
    rate,
    seconds,
)

EVIL = "</style></title><script>alert(1)</script>\"'&amp;<b onload=x>"
WHEN = "2026-01-02T03:04:05Z"
VOID = {"meta", "path", "rect"}


def traffic(requests: int = 10, word: str = "forbidden") -> Traffic:
    """Some requests, a tenth of them refused."""
    statuses = {"2xx": requests - requests // 10, "4xx": requests // 10}
    refused = {word: requests // 10}
    return Traffic(requests, 1.5, (1.0, 2.0), statuses, refused, refused, Latency(0.002, 0.0123))


def status(word: str = "app") -> Status:
    """A status with this word in every place that a configuration, a file or a counter can fill."""
    problem = Problem(word, 3, 7, word, word, word)
    return Status(
        version="1.2.3",
        now=WHEN,
        since=WHEN,
        uptime_seconds=3700,
        readiness=Readiness(False, word),
        workers=WorkersStatus(4, 2, 1234, WHEN),
        traffic=traffic(1234567, word),
        listeners=[ListenerStatus(word, True, 17)],
        routes=[RouteStatus(word, True, traffic(10, word)), RouteStatus(None, False, traffic(20))],
        upstreams=[UpstreamStatus(word, (word,), 5, Latency(None, None), 3, 4)],
        key_sets=[
            KeySetStatus(word, (word,), 2, word), KeySetStatus("shared", ("HS256",), 1, None),
            KeySetStatus("sso", ("RS256",), 2, "v", "https://id.test/" + word, 4321, word, WHEN),
            KeySetStatus("lost", ("RS256",), 0, None, "https://id.test/", None, "no answer", WHEN),
        ],
        identity_cache=CacheStatus(9, 1, 0.9),
        revocations=RevocationStatus(1234, current=True),
        reload=ReloadStatus(False, WHEN, (problem,), 1),
    )  # fmt: skip


class Markup(HTMLParser):
    """The elements and the words of a page; fails where an element is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words += data + " "


def test_it_tells_what_the_status_does() -> None:
    """Figures, routes, refusals, upstreams, key sets, listeners and the problems of a refused reload are on it."""
    words = Markup(page(status("a-name"))).words.replace("\xa0", " ")
    for said in (
        "1.2.3", "Not ready: a-name", "4 workers", "1,234,567", "2.0 ms", "12 ms", "90.0 %", "a-name:3:7",
        "The last reload was refused", "1 more problem", "no route found", "a secret: not shown", "1234",
        "https://id.test/a-name", "4,321 s ago", "None yet, or no more", "never fetched", "no answer",
        "2026-01-02 03:04:05 UTC", "TLS", "1 h 1 min",
    ):  # fmt: skip
        assert said in words


def test_whatever_words_are_they_stay_words() -> None:
    """A name or a problem that looks like markup is shown as it is written, and makes no element or attribute."""
    plain, evil = Markup(page(status())), Markup(page(status(EVIL)))
    assert [(tag, sorted(attrs)) for tag, attrs in evil.tags] == [
        (tag, sorted(attrs)) for tag, attrs in plain.tags
    ]
    assert EVIL in evil.words


def test_keys_and_values_of_a_problem_look_like_what_they_are() -> None:
    """What stands between backticks is set like code, and what is in it stays words all the same."""
    problem = Problem(
        "a.yaml", 3, 7, "unknown-key", "there is no key `<b>` here", "write `a` or ` alone"
    )
    found = Markup(page(replace(status(), reload=ReloadStatus(False, WHEN, (problem,), 0))))
    assert [tag for tag, _ in found.tags].count("samp") == 2
    words = " ".join(found.words.split())
    assert "there is no key <b> here write a or ` alone" in words


def test_it_loads_and_runs_nothing() -> None:
    """No script, no handler, no inline style, no address of elsewhere: all links are queries of the page itself."""
    for tag, attrs in Markup(page(status())).tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "form", "base"}
        assert not {name for name in attrs if name.startswith("on")} | (
            {"style", "src"} & set(attrs)
        )
        assert (attrs.get("href") or "?").startswith("?")


def test_its_own_style_is_the_only_one() -> None:
    """The policy takes nothing but the style whose hash it names, and that is the one on the page."""
    style = page(status()).split("<style>")[1].split("</style>")[0]
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert POLICY.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "unsafe" not in POLICY


def test_it_updates_until_it_is_paused() -> None:
    """It asks for itself again each 5 seconds, and can be told not to."""
    refreshes = [
        [attrs["content"] for _, attrs in Markup(page(status(), every)).tags if "http-equiv" in attrs]
        for every in (5, None)
    ]  # fmt: skip
    assert refreshes == [["5"], []]
    assert "Resume" in page(status(), None)


def test_tables_say_what_their_cells_are() -> None:
    """Every cell has a column with a header of that name, and every row is named by its first cell."""
    tags = Markup(page(status())).tags
    labels = [attrs["data-label"] for tag, attrs in tags if tag == "td"]
    assert all(labels)
    assert {attrs.get("scope") for tag, attrs in tags if tag == "th"} == {"col", "row"}


def test_a_proxy_that_just_began() -> None:
    """Without any request, reload or authenticator the page is whole, and says so instead of showing nothing."""
    none = Traffic(0, 0.0, (), {}, {}, {}, Latency(None, None))
    fresh = replace(
        status(), traffic=none, routes=[], key_sets=[], upstreams=[], reload=None,
        identity_cache=CacheStatus(0, 0, None), readiness=Readiness(True, None),
    )  # fmt: skip
    words = Markup(page(fresh)).words
    assert "Nothing has been reloaded since the start." in words
    assert "none yet" in words
    assert "Ready" in words


def test_thousands_of_routes() -> None:
    """Of very many routes the busiest are shown, in their own order, and it is said that there are more."""
    many = [RouteStatus(f"r{n}", True, traffic(n)) for n in range(3000)]
    shown = busiest(many, ROUTES_MOST)
    assert [r.name for r in shown] == [f"r{n}" for n in range(2900, 3000)]
    text = page(replace(status(), routes=many))
    assert "The 100 busiest of 3,000" in text
    assert len(text) < 300_000


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (seconds(0.0004), "&lt; 1 ms"), (seconds(0.0014), "1.4 ms"), (seconds(0.25), "250 ms"),
        (seconds(0.9996), "1.0 s"), (seconds(10.0), "≥ 10 s"),
        (rate(0.01), "0"), (rate(0.26), "0.3"), (rate(1234.5), "1,234"),
        (percent(0), "0 %"), (percent(0.0001), "&lt; 0.1 %"), (percent(0.9999), "&gt; 99.9 %"), (percent(1), "100 %"),
        (duration(59), "59 s"), (duration(61), "1 min 1 s"), (duration(90000), "1 d 1 h"),
        (counted(1, "worker"), "1 worker"), (counted(2000, "worker"), "2,000 workers"),
    ],
)  # fmt: skip
def test_numbers_for_people(shown: str, text: str) -> None:
    """A number is as exact as what it was measured with, and never 0 % or 100 % where it is not quite that."""
    assert shown.replace("&nbsp;", " ") == text
