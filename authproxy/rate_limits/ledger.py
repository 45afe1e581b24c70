"""Charging: every limit of one step of a request taken together, in one transaction of the store, all or none.

The ledger adds what the strategies do not know: that several limits are one step, and that a shadow limit watches
without a say. It keeps nothing of its own; whoever shares the store shares the counts.
"""

from collections.abc import Sequence
from functools import partial

from authproxy.model.rate import Balance, Charge
from authproxy.rate_limits.strategies import STEPS
from authproxy.state.store import EmbeddedStore, Put, StateUnavailable

NOTHING: tuple[Put, ...] = ()


class Ledger:
    """Limits counted in `store`."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store

    def acquire(self, charges: Sequence[Charge], now: float) -> list[Balance]:
        """Charges all of them or none, and says for each, in their order, whether it had room.

        The step is granted when every binding charge is. A shadow charge (`binding` False) has no say: it is counted
        when the step is granted and it has room itself; its `granted` says whether it would have refused. Where the
        step is refused nothing is counted and `remaining` is what is left without it.

        Raises:
            StateUnavailable: nothing was counted.
        """
        if len(charges) == 1:
            [balance] = self.acquire_each([(charges[0].key, charges[0], now)])
            try:
                if isinstance(balance, StateUnavailable):
                    raise balance
                return [balance]
            finally:
                del balance  # its traceback holds this frame, which must not hold it
        keys = [charge.key for charge in charges]
        return self._store.transact(keys, now, partial(_together, charges, now))

    def acquire_each(
        self, tried: Sequence[tuple[bytes, Charge, float]]
    ) -> list[Balance | StateUnavailable]:
        """`acquire` of many steps that are one limit each, the commonest by far: whom it charges, whatever the charge says,
        and when. A `StateUnavailable` is in the place of what was not counted.
        """
        return self._store.transact_each(
            [(key, now, STEPS[charge.strategy], charge) for key, charge, now in tried]
        )

    def untouched(self, key: bytes, now: float) -> bool:
        """Is nothing counted under this key? Then there is room, as no charge costs more than its limit lets pass.

        Raises:
            StateUnavailable: the store did not answer.
        """
        return self._store.read([key], now) == [None]

    def peek(self, charges: Sequence[Charge], now: float) -> list[Balance]:
        """What `acquire` would say of each, with nothing counted: `remaining` is what is left now.

        Raises:
            StateUnavailable: the store did not answer.
        """
        records = self._store.read([charge.key for charge in charges], now)
        _, balances = _weigh(charges, records, now)
        return uncharged(charges, balances)


def _together(
    charges: Sequence[Charge], now: float, records: list[bytes | None]
) -> tuple[Sequence[Put], list[Balance]]:
    puts, balances = _weigh(charges, records, now)
    for charge, balance in zip(charges, balances, strict=True):
        if charge.binding and not balance.granted:
            return NOTHING, uncharged(charges, balances)
    return puts, balances


def _weigh(
    charges: Sequence[Charge], records: list[bytes | None], now: float
) -> tuple[list[Put], list[Balance]]:
    """Each charge over what the ones before it left: two on one key are both counted."""
    held = {charge.key: record for charge, record in zip(charges, records, strict=True)}
    puts: list[Put] = []
    balances: list[Balance] = []
    for charge in charges:
        balance, record, expiry = STEPS[charge.strategy](held[charge.key], charge, now)
        balances.append(balance)
        if record is not None:
            held[charge.key] = record
            puts.append((charge.key, record, expiry))
    return puts, balances


def uncharged(charges: Sequence[Charge], balances: list[Balance]) -> list[Balance]:
    """The balances of a step that was not charged after all: what each had room for is left."""
    return [
        balance._replace(remaining=balance.remaining + charge.cost) if balance.granted else balance
        for charge, balance in zip(charges, balances, strict=True)
    ]
