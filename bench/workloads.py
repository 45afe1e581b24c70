"""What the proxies are given to do, beside one another."""

from collections.abc import Callable, Sequence

from bench import load
from bench.load import Order
from bench.peer import Peer, Proxy, Setting
from bench.rounds import Case, Sample, Scale, Workload, expect, metered
from bench.site import Site, request

CPU = "CPU, µs a request"
REQUESTS = 20_000


def requests_of(
    site: Site,
    setting: Setting,
    count: int,
    requests: Callable[[int], Sequence[bytes]],
    status: int = 200,
) -> Callable[[Proxy, int], Sample]:
    """A measurement of small requests; `requests` makes those of a round from its number."""

    def measure(proxy: Proxy, number: int) -> Sample:
        order = Order(
            port=proxy.port,
            requests=requests(number),
            count=count,
            status=status,
            authority=site.authority if setting.tls else None,
        )
        with metered(proxy) as meter:
            wrong = load.run(order)
        expect(proxy, number, wrong)
        return {CPU: meter.cpu / count * 1e6, "per second": count / meter.seconds}

    return measure


def everything_on(setting: Setting) -> Callable[[Site, Scale, Sequence[Peer]], list[Case]]:
    """The usual request, its token known already."""

    def cases(site: Site, scale: Scale, peers: Sequence[Peer]) -> list[Case]:
        usual = [request("/orders/1", site.token())]
        measure = requests_of(site, setting, scale.of(REQUESTS), lambda _: usual)
        return [Case(peer, setting, measure) for peer in peers]

    return cases


WORKLOADS = [
    Workload("W1", "HTTP, everything on", CPU, everything_on(Setting())),
    Workload(
        "W2", "TLS 1.3, everything on", CPU, everything_on(Setting(tls=True)), frozenset({"tls"})
    ),
]
