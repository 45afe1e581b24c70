"""Sending spans to a collector: OpenTelemetry's protocol over HTTP, in a thread of its own and in batches.

Requests never wait for it: they leave a record in a queue that has a bound, and what finds no room is counted and gone.
A collector that is away is said once, tried again ever more seldom, and costs no request anything.
"""

import http.client
import logging
import ssl
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

log = logging.getLogger(__name__)

QUEUE_MOST = 4096  # records that wait; some 4 MiB
BATCH = 256  # records in one message
DELAY = 1.0  # seconds from a request to its spans' leaving, at most, while the collector is there
AGAIN = (1.0, 2.0, 5.0, 15.0, 30.0)  # seconds before the next try, by how many have failed
PATIENCE = 5.0  # seconds for an answer
LAST_PATIENCE = 2.0  # seconds for what waits at the end
ANSWER_MOST = 64 << 10
PATH = "/v1/traces"


class Ended(NamedTuple):
    """A request that has ended, as far as its spans tell of it.

    `parent` is the span of a trusted proxy, the span in `traceparent` is the backend's parent. `began` is in seconds since
    1970; from there `waited` seconds until it was sent to `server`, `answered` more until the head of the answer (0: none).
    """

    traceparent: str
    parent: str
    tracestate: str
    began: float
    seconds: float
    method: str
    scheme: str
    host: str
    path: str
    version: str
    status: int
    code: str
    route: str
    upstream: str
    server: str
    waited: float
    answered: float


@dataclass(frozen=True, slots=True)
class Collector:
    """Where spans go: its URL, the header fields that it knows us by, and how TLS is spoken with it."""

    url: str
    secrets: Mapping[str, str]
    tls: ssl.SSLContext | None = None


class NotTakenError(Exception):
    """The collector did not take a message; the text says why and holds nothing of its answer."""


class Exporter:
    """The queue of a worker, and the thread that empties it. Made before a fork, started after it.

    `encode` makes a message of a batch. `sent` and `lost` count requests whose spans were taken by the collector, and
    those whose were not.
    """

    def __init__(self, collector: Collector, encode: Callable[[Sequence[Ended]], bytes]) -> None:
        self._collector = collector
        self._encode = encode
        self._queue: deque[Ended] = deque()
        self._wake, self._stopped = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: http.client.HTTPConnection | None = None
        self._failed = 0  # tries since one succeeded
        self._unsent = self._no_room = 0  # each counted by one thread only
        self.sent = 0

    @property
    def lost(self) -> int:
        """Requests whose spans nobody has."""
        return self._unsent + self._no_room

    def put(self, ended: Ended) -> None:
        """Take a record, if there is room; never waits."""
        queue = self._queue
        if len(queue) >= QUEUE_MOST or self._stopped.is_set():
            self._no_room += 1
            return
        queue.append(ended)
        if len(queue) >= BATCH and not self._wake.is_set():
            self._wake.set()

    def start(self) -> None:
        """Begin to send."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="authproxy-spans", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Send what waits, for which there are `LAST_PATIENCE` seconds, and end. Waits for it: not for the loop."""
        self._stopped.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(LAST_PATIENCE)
            self._thread = None

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._wake.wait(DELAY)
                self._wake.clear()
                while self._queue and self._send():
                    pass
                if self._failed:
                    self._stopped.wait(AGAIN[min(self._failed, len(AGAIN)) - 1])
            while self._queue and self._send():
                pass
        except Exception:
            log.exception("spans are no longer sent")
        finally:
            self._stopped.set()
            self._unsent += len(self._queue)
            self._hang_up()

    def _send(self) -> bool:
        """One batch; was it taken? What was not is lost: a record is worth less than the memory of an hour of them."""
        batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
        try:
            self._deliver(self._encode(batch))
        except NotTakenError as error:
            self._unsent += len(batch)
            self._away(str(error))
            return False
        self.sent += len(batch)
        if self._failed:
            log.warning("the collector of spans at %s takes them again", self._collector.url)
            self._failed = 0
        return True

    def _away(self, why: str) -> None:
        if not self._failed:
            log.warning(
                "spans are lost: the collector at %s does not take them: %s",
                self._collector.url,
                why.lower(),
            )
        self._failed += 1

    def _deliver(self, body: bytes) -> None:
        """Hand a message over, on a fresh connection where the kept one was closed meanwhile.

        Raises:
            NotTakenError: it was not taken.
        """
        kept = self._connection is not None
        try:
            self._post(body)
        except (OSError, http.client.HTTPException) as error:
            self._hang_up()
            if kept:
                self._deliver(body)
                return
            why = getattr(error, "strerror", None) or type(error).__name__
            raise NotTakenError(why) from None

    def _post(self, body: bytes) -> None:
        if self._connection is None:
            self._connection = _connect(self._collector)
        path = urlsplit(self._collector.url).path + PATH
        fields = {**self._collector.secrets, "Content-Type": "application/x-protobuf"}
        self._connection.request("POST", path, body, fields)
        answer = self._connection.getresponse()
        answer.read(ANSWER_MOST)
        if not answer.isclosed():
            self._hang_up()  # more of an answer than anybody wants
        if not 200 <= answer.status < 300:
            self._hang_up()
            raise NotTakenError(f"it answered {answer.status}")

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _connect(collector: Collector) -> http.client.HTTPConnection:
    # No proxy of the environment: a collector is near.
    parts = urlsplit(collector.url)
    host, port = parts.hostname or "", parts.port
    if collector.tls is not None:
        return http.client.HTTPSConnection(host, port, timeout=PATIENCE, context=collector.tls)
    return http.client.HTTPConnection(host, port, timeout=PATIENCE)
