"""One exchange with three people and one market, and short words for what they do."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any, TypeVar

import pytest

from markets.sandbox.catalogue import Event, FeeType, Market, Series
from markets.sandbox.clockwork import ManualClock
from markets.sandbox.events import ExchangeEvent
from markets.sandbox.exchange import Exchange
from markets.sandbox.grid import STRUCTURES
from markets.sandbox.orders import CreateAck, NewOrder, Order, SelfTrade, TimeInForce
from markets.sandbox.refusals import Refusal
from markets.sandbox.rules import Rules

NOW = 1_795_356_000_000_000
SECOND = 1_000_000
HOUR = 3600 * SECOND
M = "KXRAIN-26NOV23-NYC"
IOC, FOK = TimeInForce.IOC, TimeInForce.FOK
MAKER = SelfTrade.MAKER

Told = TypeVar("Told")


def price(text: str) -> int:
    """Write a price by hand: "0.48" is 4800."""
    return int(Decimal(text) * 10_000)


def count(text: str) -> int:
    """Write a count by hand: "10.50" is 1050."""
    return int(Decimal(text) * 100)


def money(text: str) -> int:
    """Write money by hand: "0.175" is 175000."""
    return int(Decimal(text) * 1_000_000)


class Cast:
    """ann and bob are direct members with $100 each, flo comes through a broker with $100; the market is open."""

    def __init__(self, rules: Rules | None = None, **market: Any) -> None:
        self.clock = ManualClock(NOW)
        self.exchange = Exchange(clock=self.clock, rng=random.Random(11), rules=rules)
        self.told: list[ExchangeEvent] = []
        self.exchange.add_series(Series("KXRAIN", "Rain", "Climate and Weather"))
        self.exchange.add_event(Event("KXRAIN-26NOV23", "KXRAIN", "Rain on Nov 23"))
        self.list_market(M, **market)
        for name, step in (("ann", 100), ("bob", 100), ("flo", 10_000)):
            self.exchange.add_member(name, member_id=name, balance_step=step)
            self.exchange.deposit(name, money("100"))
        self.exchange.listen(self.told.append)

    def list_market(
        self, ticker: str, *, event: str = "KXRAIN-26NOV23", structure: str = "linear_cent", **more: Any
    ) -> None:
        """List a market that opens now and closes in a day."""
        facts = {"open_us": NOW, "close_us": NOW + 24 * HOUR, **more}
        bands = STRUCTURES[structure]
        market_id = self.exchange.new_id()
        self.exchange.add_market(
            Market(ticker, event, market_id, price_level_structure=structure, bands=bands, **facts)
        )

    def list_series(self, ticker: str, fee_type: FeeType, multiplier: int = 10_000) -> str:
        """Add another series with one event and one market and return the market's ticker."""
        self.exchange.add_series(Series(ticker, ticker, "Test", fee_type=fee_type, fee_multiplier=multiplier))
        self.exchange.add_event(Event(f"{ticker}-E", ticker, ticker))
        self.list_market(f"{ticker}-E-M", event=f"{ticker}-E")
        return f"{ticker}-E-M"

    def bid(self, who: str, size: str, at: str, *, ticker: str = M, **more: Any) -> CreateAck:
        """Bid for YES."""
        return self.exchange.create_order(who, NewOrder(ticker, True, count(size), price(at), **more))

    def ask(self, who: str, size: str, at: str, *, ticker: str = M, **more: Any) -> CreateAck:
        """Ask for YES: the same as bidding 1 − price for NO."""
        return self.exchange.create_order(who, NewOrder(ticker, False, count(size), price(at), **more))

    def order(self, who: str, ack: CreateAck) -> Order:
        """Return the order behind an answer."""
        return self.exchange.order(who, ack.order_id)

    def levels(self, ticker: str = M) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Return bids and asks as (price, size) in words, best first."""
        book = self.exchange.book(ticker)
        return _words(book.bids), _words(book.asks)

    def cash(self, who: str, **place: Any) -> str:
        """Return a member's balance in dollars with six decimals."""
        return str(Decimal(self.exchange.balance(who, **place).balance) / 1_000_000)

    def position(self, who: str, ticker: str = M) -> str:
        """Return a member's signed contracts, "0" for none."""
        rows, _ = self.exchange.positions(who, tickers=(ticker,), is_settled=None)
        return str(Decimal(rows[0].count) / 100) if rows else "0"

    def heard(self, kind: type[Told]) -> list[Told]:
        """Return what was told of one kind, oldest first."""
        return [event for event in self.told if isinstance(event, kind)]

    def wait(self, seconds: float) -> None:
        """Let time pass, and the exchange do what is due."""
        self.clock.advance(round(seconds * SECOND))
        self.exchange.tick()


def _words(levels: tuple[tuple[int, int], ...]) -> list[tuple[str, str]]:
    return [(f"{own / 10_000:.4f}".rstrip("0"), f"{size / 100:.2f}") for own, size in levels]


def refusal(error: pytest.ExceptionInfo[Refusal]) -> tuple[int, str, str | None]:
    """Return status, code and details of a refusal that was caught."""
    return error.value.status, error.value.code, error.value.details
