"""What clock and operator may do in a seeded player's world."""

from __future__ import annotations

from decimal import Decimal

from markets.sandbox.catalogue import FeeType
from markets.sandbox.grid import STRUCTURES
from tests.markets.sandbox.driverworld import PAUSES, TICKERS, World
from tests.markets.sandbox.pair import (
    FEE_TYPES,
    GRIDS,
    SECOND,
    grid,
    units,
)


class Operator(World):
    """Lets time pass, moves money, pauses, determines: always something the state of things allows."""

    def wait(self) -> None:
        self.pair.clock.advance(self.rng.choice(PAUSES))
        self.pair.both("tick", lambda: self.engine.tick(), lambda: None)

    def move_money(self) -> None:
        """Pay in, or out almost everything, so that resting orders lose their money."""
        (member, subaccount, shard), account = self.rng.choice(list(self.model.accounts.items()))
        if self.rng.random() < 0.3:
            self.pair.deposit(member, Decimal(self.rng.randint(1, 9)), subaccount, shard)
        else:
            self.pair.deposit(member, -(account.balance // 1), subaccount, shard)

    def operate(self) -> None:
        """Do one of the things an operator may do to a market in its present state, or to a shard."""
        rng = self.rng
        self.model.advance(self.pair.clock.us)
        halted = [ticker for ticker, market in self.model.markets.items() if market.status == "inactive"]
        if self.model.paused or self.model.stopped or rng.random() < 0.12:
            self._pause_or_resume()
            return
        ticker = rng.choice(halted or TICKERS)
        market = self.model.markets[ticker]
        acts = {
            "initialized": [self._regrid, self._set_fee],
            "active": [
                self._pause_market,
                self._move_close,
                self._move_close,
                self._regrid,
                self._set_fee,
                self._set_fee,
                self._determine,
            ],
            "inactive": [self._resume_market, self._resume_market, self._resume_market, self._regrid],
            "closed": [self._move_close, self._determine, self._determine],
            "determined": [self._determine, self._dispute, self._dispute],
            "disputed": [self._determine],
            "amended": [self._determine, self._dispute],
            "finalized": [self._regrid],
        }
        rng.choice(acts[market.status])(ticker)

    def _pause_or_resume(self) -> None:
        shard = self.rng.choice(sorted(self.model.paused | self.model.stopped) or (0, 1))
        if shard in self.model.paused:
            self.pair.both(
                "resume trading", lambda: self.engine.resume_trading(shard), lambda: self.model.paused.discard(shard)
            )
        elif shard in self.model.stopped:
            self.pair.both(
                "resume exchange", lambda: self.engine.resume_exchange(shard), lambda: self.model.stopped.discard(shard)
            )
        elif self.rng.random() < 0.5:
            self.pair.both(
                "pause trading", lambda: self.engine.pause_trading(shard), lambda: self.model.pause_trading([shard])
            )
        else:
            self.pair.both(
                "pause exchange", lambda: self.engine.pause_exchange(shard), lambda: self.model.pause_exchange([shard])
            )

    def _pause_market(self, ticker: str) -> None:
        self.pair.both(
            "pause market", lambda: self.engine.pause_market(ticker), lambda: self.model.pause_market(ticker)
        )

    def _resume_market(self, ticker: str) -> None:
        self.pair.both(
            "resume market", lambda: self.engine.resume_market(ticker), lambda: self.model.resume_market(ticker)
        )

    def _move_close(self, ticker: str) -> None:
        closes = self.pair.clock.us + self.rng.choice((0, 10, 300)) * SECOND
        self.pair.both(
            "move close", lambda: self.engine.move_close(ticker, closes), lambda: self.model.move_close(ticker, closes)
        )

    def _regrid(self, ticker: str) -> None:
        structure = self.rng.choice(sorted(GRIDS))
        assert structure in STRUCTURES
        self.pair.both(
            "set grid",
            lambda: self.engine.set_grid(ticker, structure),
            lambda: setattr(self.model.markets[ticker], "grid", grid(structure)),
        )

    def _set_fee(self, ticker: str) -> None:
        fee_type = self.rng.choice((None, *FEE_TYPES))
        multiplier = None if fee_type is None else self.rng.choice((Decimal(1), Decimal("0.5"), Decimal("0.25")))
        market = self.model.markets[ticker]

        def override() -> None:
            market.override_type, market.override_multiplier = fee_type, multiplier

        wire = None if multiplier is None else int(multiplier * 10_000)
        chosen = None if fee_type is None else FeeType(fee_type)
        self.pair.both("set fee", lambda: self.engine.set_event_fee(f"S{ticker}-E", chosen, wire), override)

    def _determine(self, ticker: str) -> None:
        result, value = self.rng.choice(
            (("yes", Decimal(1)), ("no", Decimal(0)), ("scalar", Decimal("0.42")), ("scalar", Decimal("0.0001")))
        )
        self.pair.both(
            f"determine {result}",
            lambda: self.engine.determine(ticker, result, units(value)),
            lambda: self.model.determine(ticker, result, value),
        )

    def _dispute(self, ticker: str) -> None:
        self.pair.both("dispute", lambda: self.engine.dispute(ticker), lambda: self.model.dispute(ticker))
