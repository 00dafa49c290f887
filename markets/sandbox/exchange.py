"""The local exchange in one object: everything a member, the public and the operator can ask of it.

    clock = SystemClock()
    exchange = Exchange(clock=clock, rng=random.Random(7))
    exchange.listen(publish)                      # every event, in order
    exchange.add_series(Series(...)); exchange.add_event(Event(...)); exchange.add_market(Market(...))
    desk = exchange.add_member("desk"); exchange.deposit(desk.member_id, 1_000 * MONEY)
    ack = exchange.create_order(desk.member_id, NewOrder(ticker, True, 1000, 4800, client_order_id="…"))

Pure and single-threaded: no I/O, no clock and no randomness of its own. Every operation first does what the clock has
made due; `tick()` does only that. An operation the exchange turns down raises Refusal and has changed nothing.
Units everywhere: prices $0.0001 on the YES scale, counts 0.01 contract, money $0.000001, times microseconds.
What is returned by reads are the exchange's own records: read them at once, change nothing, keep nothing.
The operator's methods stand in `operating`, the members' in `trading`, the reads in `reading`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from markets.sandbox import life, state
from markets.sandbox.clockwork import Clock
from markets.sandbox.events import ExchangeEvent
from markets.sandbox.floor import Floor
from markets.sandbox.operating import Operating
from markets.sandbox.reading import Reading
from markets.sandbox.rules import Rules
from markets.sandbox.trading import Trading


class Exchange(Operating, Trading, Reading):
    """The whole exchange; `series`, `events`, `markets` and `members` are ticker or id → record, oldest first."""

    def __init__(self, *, clock: Clock, rng: random.Random, rules: Rules | None = None) -> None:
        self._floor = Floor(clock, rng, rules or Rules(), life.run_due)
        self.series = self._floor.series
        self.events = self._floor.events
        self.markets = self._floor.markets
        self.members = self._floor.members

    @property
    def rules(self) -> Rules:
        """Return the choices this exchange runs by."""
        return self._floor.rules

    @rules.setter
    def rules(self, rules: Rules) -> None:
        self._floor.rules = rules

    def listen(self, listener: Callable[[ExchangeEvent], None]) -> Callable[[], None]:
        """Call `listener` with every event from now on; the answer, called, ends that."""
        self._floor.listeners.append(listener)
        return lambda: self._floor.listeners.remove(listener)

    def tick(self) -> int | None:
        """Do what is due (openings, expiries, closes, sweeps, results, payouts); return when the next is, or None."""
        self._floor.begin()
        return self._floor.timers.next_due()

    def new_id(self) -> str:
        """Return a fresh UUID from the exchange's own randomness."""
        return self._floor.new_id()

    def export_state(self) -> dict[str, Any]:
        """Return everything as JSON values, the state of the random generator included."""
        return state.export_state(self._floor)

    def import_state(self, saved: dict[str, Any]) -> None:
        """Become what was exported. Only into an exchange that is still empty; raises ValueError otherwise."""
        state.import_state(self._floor, saved)
