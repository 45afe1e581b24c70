"""Small requests: the measurement that most workloads are made of."""

from collections.abc import Callable, Sequence

from bench import load
from bench.load import Order
from bench.peer import Proxy, Setting
from bench.rounds import Meter, Sample, expect
from bench.site import Site

CPU = "CPU, µs a request"
RATE = "a second"
EACH = 600  # small requests of each of the 32 connections in a round

Measure = Callable[[Proxy, int], Sample]


def small(
    site: Site,
    setting: Setting,
    each: int,
    requests: Callable[[int], Sequence[bytes]],
    status: int = 200,
) -> Measure:
    """Small requests; `requests` makes those of a round from its number."""

    def measure(proxy: Proxy, number: int) -> Sample:
        authority = site.authority if setting.tls else None
        order = Order(proxy.port, requests(number), each, status=status, authority=authority)
        with Meter(proxy) as meter:
            wrong = load.run(order)
        expect(proxy, number, wrong)
        return {CPU: meter.cpu / order.count * 1e6, RATE: order.count / meter.seconds}

    return measure


def always(requests: Sequence[bytes], _round: int) -> Sequence[bytes]:
    """The same requests in each round."""
    return requests
