"""The trail: the last requests of this worker, for `policy explain --request-id`; in memory, bounded, gone with the process.

What is kept is what a decision needs, references to values that exist anyway; no token, no cookie and no query is among
them, so nothing that asks can be told one. Of header fields only those are kept that policies read, as the decision log
would write them down. Records are made when somebody asks, never for a request.
"""

from collections import deque
from typing import Any

from authproxy.model.exchange import Exchange
from authproxy.model.fields import Fields
from authproxy.model.target import parse_target
from authproxy.policy.record import Record, Recorder, written

_Kept = tuple[Any, ...]
# Characters of header fields that are kept of a request: what anybody sends must not fill the memory (four bytes each).
FIELDS_MOST = 4096


class Trail:
    """Keeps `most` requests; what a previous one (of the policies before a reload) kept goes on to be known."""

    __slots__ = ("_caller", "_recorder", "kept", "most")

    def __init__(self, most: int, recorder: Recorder, previous: "Trail | None" = None) -> None:
        self.most = most
        self._recorder = recorder
        self._caller = recorder.caller if recorder.reads_headers else None
        self.kept: deque[_Kept] = deque(maxlen=most)
        if previous is not None and previous.most == most:
            self.kept = previous.kept  # requests under way still write to it
        elif previous is not None:
            self.kept.extend(previous.kept)

    def __len__(self) -> int:
        return len(self.kept)

    def keep(self, exchange: Exchange) -> None:
        """Note a request that has been answered. On the request path: a tuple of what there is."""
        target, caller = exchange.target, self._caller
        self.kept.append((
            exchange.request_id, self._recorder, exchange.now, exchange.method, exchange.host,
            exchange.client, exchange.client_text, exchange.chain, exchange.scheme,
            None if target is None else target.raw_path,  # never the query
            exchange.route, exchange.identity, exchange.admitted, exchange.code, exchange.reason, exchange.shadow,
            exchange.status, exchange.limits, None if caller is None else _bounded(caller(exchange), exchange),
        ))  # fmt: skip

    def find(self, request_id: object) -> Record | None:
        """What happened to the last request of this id: the record of its decision, and what was answered."""
        kept = next((one for one in reversed(self.kept) if one[0] == request_id), None)
        return None if kept is None else _found(kept)


def _bounded(caller: Record, exchange: Exchange) -> Record:
    """The part of the caller; of one with long fields without them, and that said."""
    # The fields are seldom that long, so their sum is seldom made.
    if exchange.fields.size <= FIELDS_MOST or sum(map(len, caller.get("headers", {}).values())) <= FIELDS_MOST:  # fmt: skip
        return caller
    kept = {name: part for name, part in caller.items() if name != "headers"}
    return {**kept, "withheld": [*caller.get("withheld", ()), "headers"]}


def _found(kept: _Kept) -> Record:
    exchange = Exchange(kept[0], kept[2], 0.0)
    (
        _, recorder, _, exchange.method, exchange.host, exchange.client, exchange.client_text, exchange.chain,
        exchange.scheme, raw_path, exchange.route, exchange.identity, exchange.admitted, exchange.code, exchange.reason,
        exchange.shadow, exchange.status, exchange.limits, caller,
    ) = kept  # fmt: skip
    if raw_path is not None:
        exchange.target = parse_target(raw_path)  # it was one before
    exchange.fields = Fields()
    record = recorder.recorded(exchange, caller)
    if record is not None and caller is None:
        del record["credentials"]  # whether there were any is not kept
    return {
        "happened": {
            "time": written(exchange.now),
            "request_id": exchange.request_id,
            "method": exchange.method,
            "host": exchange.host,
            "path": exchange.path,
            "client": exchange.client_text,
            "chain": exchange.chain,
            "scheme": exchange.scheme,
            "verdict": exchange.code or "allow",
            "reason": exchange.reason,
            "status": exchange.status,
            "limits": [terms.state(balance) for terms, balance in exchange.limits],
        },
        "record": record,
    }
