"""How authproxy grows: with routes, with subjects, with workers. It is compared to itself."""

from collections.abc import Sequence
from functools import partial

from bench import load
from bench.load import Order
from bench.peer import Peer, Proxy, Setting
from bench.rounds import WARM_UP, Case, Meter, Sample, Scale, Workload, expect
from bench.site import Site, request
from bench.small import CPU, EACH, RATE, always, small

CAPACITY = "a second, were each worker on a core of its own"
ROUTES = (10, 10_000)
SUBJECTS = (10, 100_000)
ACTIVE = 4_000  # subjects of the many that go on sending: the cache of identities has room for them
ASKED = 1_000  # routes that are asked for, from the first to the last


def ours(peers: Sequence[Peer]) -> Peer:
    """authproxy, which is always among them."""
    return next(peer for peer in peers if peer.name == "authproxy")


def routes(site: Site, scale: Scale, peers: Sequence[Peer]) -> list[Case]:
    """The same requests to few routes and to many."""
    cases, token = [], site.token()
    for count in ROUTES:
        setting = Setting(routes=count)
        asked = range(1, count, max(count // ASKED, 1))
        requests = [request(f"/orders/{n}/item", token) for n in asked]
        measure = small(site, setting, scale.of(EACH), partial(always, requests))
        cases.append(Case(ours(peers), setting, measure, f"{count:,} routes"))
    return cases


def subjects(site: Site, scale: Scale, peers: Sequence[Peer]) -> list[Case]:
    """All subjects send one request first, so that all are counted; then some send more, or all in turn."""
    most = scale.of(SUBJECTS[-1])
    # Ed25519, because 100,000 signatures of RS256 take a minute
    heads = [request("/orders/1", site.token(f"user-{n}", "EdDSA")) for n in range(most)]
    kinds = [
        (f"{SUBJECTS[0]:,} subjects", SUBJECTS[0], SUBJECTS[0]),
        (f"{most:,} subjects, {ACTIVE:,} of them active", most, ACTIVE),
        (f"{most:,} subjects in turn", most, most),
    ]

    def case(variant: str, known: int, active: int) -> Case:
        def measure(proxy: Proxy, number: int) -> Sample:
            each = scale.of(EACH)
            begin = number * each * 32 % active if number != WARM_UP else 0
            if number == WARM_UP:
                load.run(Order(proxy.port, heads[:known], -(-known // 32)))
            sent = heads[begin:active] + heads[:begin]
            return small(site, Setting(), each, partial(always, sent))(proxy, number)

        return Case(ours(peers), Setting(), measure, variant, life="case")

    return [case(*kind) for kind in kinds]


def workers(site: Site, scale: Scale, peers: Sequence[Peer]) -> list[Case]:
    """One worker and two, the load from two processes.

    The load and the backend want CPU as well: what two workers answer in a second on a machine of two cores tells
    more of the machine than of them. Hence the capacity, which is computed: what each worker would answer with a core
    of its own, if none waits for the other. That none does is seen from the machine's own figure: it is never idle.
    """
    usual = [request("/orders/1", site.token())]

    def measure(proxy: Proxy, number: int, count: int) -> Sample:
        order = Order(proxy.port, usual, scale.of(EACH), connections=64)
        with Meter(proxy) as meter:
            wrong = load.run_apart(order, 2)
        expect(proxy, number, wrong)
        return {
            CAPACITY: order.count * count / meter.cpu,
            CPU: meter.cpu / order.count * 1e6,
            RATE: order.count / meter.seconds,
            "% done by the busiest worker": meter.busiest / meter.cpu * 100,
            "% of the machine in use": meter.machine * 100,
        }

    def case(count: int) -> Case:
        variant = f"{count} worker{'s'[: count - 1]}"
        return Case(ours(peers), Setting(workers=count), partial(measure, count=count), variant)

    return [case(1), case(2)]


GROWTH = [
    Workload("W6-routes", "growth with routes", CPU, routes),
    Workload("W6-subjects", "growth with subjects", CPU, subjects),
    Workload("W6-workers", "growth with workers", CAPACITY, workers),
]
