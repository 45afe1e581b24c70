"""What the proxies are given to do, beside one another: small requests, long bodies, refusals, WebSockets, idle connections."""

from collections.abc import Callable, Sequence
from functools import partial

from bench import load
from bench.growth import GROWTH
from bench.load import Order
from bench.peer import Peer, Proxy, Setting
from bench.rounds import Case, Meter, Sample, Scale, Workload, expect
from bench.site import Site, request
from bench.small import CPU, EACH, RATE, always, small

CPU_BYTES = "CPU, ms a GB"
CPU_MESSAGE = "CPU, µs a message"
PEAK = "peak memory since the start, MiB"
CONNECTION = "memory, KiB a connection"

FRESH = 80
FILE, FILES = 256 << 20, 4
IDLE = 2000
MESSAGE = bytes([0x82, 0x80 | 64, 1, 2, 3, 4]) + bytes(
    64
)  # binary, masked, 64 bytes: RFC 6455 section 5.2

Cases = Callable[[Site, Scale, Sequence[Peer]], list[Case]]


def everything_on(setting: Setting) -> Cases:
    """The usual request, its token known already."""

    def cases(site: Site, scale: Scale, peers: Sequence[Peer]) -> list[Case]:
        usual = [request("/orders/1", site.token())]
        measure = small(site, setting, scale.of(EACH), partial(always, usual))
        return [Case(peer, setting, measure) for peer in peers]

    return cases


def fresh_tokens(site: Site, scale: Scale, peers: Sequence[Peer]) -> list[Case]:
    """Each request has a token that nobody has seen: the same ones for every proxy, others in each round."""
    each = scale.of(FRESH)
    rounds = [
        [request("/orders/1", site.token(jti=f"{number}-{n}")) for n in range(each * 32)]
        for number in range(scale.rounds + 1)
    ]
    setting = Setting()
    measure = small(
        site, setting, each, lambda number: rounds[number]
    )  # the warm-up is the last one
    return [Case(peer, setting, measure) for peer in peers]


def long_bodies(upload: bool) -> Cases:
    """Files of 256 MiB, one after another on one connection."""

    def cases(site: Site, scale: Scale, peers: Sequence[Peer]) -> list[Case]:
        each, token = scale.of(FILES), site.token()
        if upload:
            head = request("/files/new", token, f"Content-Length: {FILE}", method="POST")
        else:
            head = request(f"/files/{FILE}", token)

        def measure(proxy: Proxy, number: int) -> Sample:
            status, body = (204, FILE) if upload else (200, 0)
            order = Order(proxy.port, [head], each, connections=1, status=status, body=body)
            with Meter(proxy) as meter:
                wrong = load.run(order)
            expect(proxy, number, wrong)
            size = order.count * FILE / 1e9
            return {
                CPU_BYTES: meter.cpu / size * 1e3,
                PEAK: meter.peak_growth / (1 << 20),
                f"MB {RATE}": size * 1e3 / meter.seconds,
            }

        return [Case(peer, Setting(), measure) for peer in peers]

    return cases


def refusals(site: Site, scale: Scale, peers: Sequence[Peer]) -> list[Case]:
    """What must cost little: whoever sends it wants nothing good, and sends much of it."""
    token, setting = site.token(), Setting()
    middle = len(token) - 100  # of the signature, which is 342 characters
    forged = token[:middle] + ("B" if token[middle] == "A" else "A") + token[middle + 1 :]
    kinds = [
        ("401, no token", request("/orders/1", None), 401),
        ("401, forged token", request("/orders/1", forged), 401),
        ("403", request("/forbidden/1", token), 403),
        ("404", request("/nowhere", token), 404),
        ("429", request("/limited/1", token), 429),
    ]
    each = scale.of(EACH // 2)
    return [
        Case(peer, setting, small(site, setting, each, partial(always, [sent]), status), kind)
        for kind, sent, status in kinds
        for peer in peers
    ]


def messages(site: Site, scale: Scale, peers: Sequence[Peer]) -> list[Case]:
    """32 WebSockets whose messages of 64 bytes come back one by one."""
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    opening = request("/echo", site.token(), *upgrade, key)

    def measure(proxy: Proxy, number: int) -> Sample:
        order = Order(proxy.port, [MESSAGE], scale.of(EACH), opening=opening)
        with Meter(proxy) as meter:
            wrong = load.run(order)
        expect(proxy, number, wrong)
        return {CPU_MESSAGE: meter.cpu / order.count * 1e6, RATE: order.count / meter.seconds}

    return [Case(peer, Setting(), measure) for peer in peers]


def idle(site: Site, scale: Scale, peers: Sequence[Peer]) -> list[Case]:
    """TLS connections that have had one answer and wait; each round a proxy that was just started."""
    setting, usual = Setting(tls=True), [request("/orders/1", site.token())]

    def measure(proxy: Proxy, number: int) -> Sample:
        few = Order(proxy.port, usual, 10, authority=site.authority)
        expect(proxy, number, load.run(few))  # what it needs once, it has now
        before = proxy.program.resident()
        order = Order(proxy.port, usual, 1, scale.of(IDLE), authority=site.authority)
        with Meter(proxy) as meter:
            wrong = load.run(order, meter.stop)
        expect(proxy, number, wrong)
        grown = meter.growth + proxy.memory - before
        return {
            CONNECTION: grown / order.count / 1024,
            "CPU, µs a handshake and request": meter.cpu / order.count * 1e6,
        }

    return [Case(peer, setting, measure, life="round") for peer in peers]


TOKENS, TLS = frozenset({"tokens"}), frozenset({"tls"})
WORKLOADS = [
    Workload("W1", "HTTP, everything on", CPU, everything_on(Setting())),
    Workload("W2", "TLS 1.3, everything on", CPU, everything_on(Setting(tls=True)), TLS),
    Workload("W3", "fresh tokens", CPU, fresh_tokens, TOKENS),
    Workload("W4", "downloads of 256 MiB", CPU_BYTES, long_bodies(upload=False)),
    Workload("W5", "uploads of 256 MiB", CPU_BYTES, long_bodies(upload=True)),
    *GROWTH,
    Workload("W6-idle", "2,000 idle TLS connections", CONNECTION, idle, TLS),
    Workload("W7", "refusals", CPU, refusals, frozenset({"refusals"})),
    Workload("W8", "WebSocket messages", CPU_MESSAGE, messages, frozenset({"websocket"})),
]
