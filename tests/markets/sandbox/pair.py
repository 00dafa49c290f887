"""The engine and the reference exchange side by side: told the same, they must say and hold the same."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from operator import attrgetter
from typing import Any

from markets.sandbox.catalogue import Event, FeeType, Market, Series
from markets.sandbox.clockwork import ManualClock
from markets.sandbox.events import BookChanged, BookCleared, ExchangeEvent, OrderChanged, PositionChanged, Traded
from markets.sandbox.exchange import Exchange
from markets.sandbox.grid import STRUCTURES
from markets.sandbox.orders import Order
from markets.sandbox.refusals import Refusal
from markets.sandbox.rules import Rules
from tests.markets.sandbox.model import Model
from tests.markets.sandbox.modelmoney import Account
from tests.markets.sandbox.modelparts import Choices, ModelMarket, ModelOrder, ModelSettlement, ModelTrade, Refused

MEMBERS = ("ann", "bob", "flo")
START = 1_795_356_000_000_000
SECOND = 1_000_000
CENTS = [("0", "1", "0.01")]
TAPERED = [("0", "0.1", "0.001"), ("0.1", "0.9", "0.01"), ("0.9", "1", "0.001")]
DECI = [("0", "1", "0.001")]
ROW_NUMBERS = ("yes_count", "yes_cost", "no_count", "no_cost", "revenue", "fees")
ROW = attrgetter(*ROW_NUMBERS)
GRIDS = {"linear_cent": CENTS, "tapered_deci_cent": TAPERED, "deci_cent": DECI}
FEE_TYPES = ("quadratic", "quadratic_with_maker_fees", "quadratic_with_combo_maker_fees")


class Difference(AssertionError):
    """Engine and reference exchange disagree."""


def units(price: Decimal) -> int:
    """Return a price in $0.0001."""
    return int(price * 10_000)


def lots(count: Decimal) -> int:
    """Return a count in 0.01 contract."""
    return int(count * 100)


def micro(money: Decimal) -> int:
    """Return money in $0.000001."""
    return int(money * 1_000_000)


def grid(structure: str) -> list[tuple[Decimal, Decimal, Decimal]]:
    """Return the bands of a price level structure, written here by hand."""
    return [(Decimal(start), Decimal(end), Decimal(step)) for start, end, step in GRIDS[structure]]


class Pair:
    """Both exchanges, what the engine told, and how often which kind of thing happened."""

    def __init__(self, rng: random.Random, choices: Choices) -> None:
        self.clock = ManualClock(START)
        self.model = Model(choices)
        self.model.now = START
        self.engine = Exchange(clock=self.clock, rng=random.Random(rng.random()), rules=_rules(choices))
        self.ids: list[str] = []  # engine order ids by number
        self.group_ids: list[str] = []
        self.deposited = 0
        self.told_books: dict[str, dict[tuple[bool, int], int]] = {}
        self.told_orders: dict[str, Order] = {}
        self.told_positions: dict[tuple[str, int, str], int] = {}
        self.shown_clocks: dict[str, int] = {}  # of the book as it was read last
        self.told_trades: list[tuple[str, int, int, bool, int]] = []
        self.counts: Counter[str] = Counter()
        self.engine.listen(self._hear)

    def _hear(self, event: ExchangeEvent) -> None:
        if isinstance(event, BookChanged | BookCleared) and event.clock <= self.shown_clocks.get(event.ticker, 0):
            raise Difference(f"a change of {event.ticker} has clock {event.clock}, which was shown before")
        if isinstance(event, BookChanged):
            book = self.told_books.setdefault(event.ticker, {})
            key = (event.is_bid, event.price)
            book[key] = book.get(key, 0) + event.change
            if not book[key]:
                del book[key]
        elif isinstance(event, BookCleared):
            self.told_books[event.ticker] = {}
        elif isinstance(event, Traded):
            self.told_trades.append((event.ticker, event.price, event.count, event.taker_is_bid, event.ts_us))
        elif isinstance(event, OrderChanged):
            self.told_orders[event.order.order_id] = event.order
        elif isinstance(event, PositionChanged):
            place = (event.member_id, event.position.subaccount, event.position.ticker)
            self.told_positions[place] = event.position.count

    # --- the world

    def add_series(self, ticker: str, fee_type: str, multiplier: Decimal) -> None:
        fee = int(multiplier * 10_000)
        self.engine.add_series(Series(ticker, ticker, "Test", fee_type=FeeType(fee_type), fee_multiplier=fee))
        self.engine.add_event(Event(f"{ticker}-E", ticker, ticker))

    def add_market(self, market: ModelMarket, series: str, structure: str) -> None:
        self.model.markets[market.ticker] = market
        listed = Market(
            market.ticker,
            f"{series}-E",
            self.engine.new_id(),
            market.opens,
            market.closes,
            settlement_timer_us=market.timer,
            exchange_index=market.shard,
            price_level_structure=structure,
            bands=STRUCTURES[structure],
            fee_waiver_until_us=market.free_until,
        )
        self.engine.add_market(listed)
        self.model.advance(self.clock.us)

    def add_member(self, name: str, precision: str) -> None:
        self.model.precision[name] = Decimal(precision)
        self.engine.add_member(name, member_id=name, balance_step=micro(Decimal(precision)))

    def deposit(self, member: str, money: Decimal, subaccount: int, shard: int) -> None:
        self.engine.deposit(member, micro(money), subaccount=subaccount, exchange_index=shard)
        self.model.accounts.setdefault((member, subaccount, shard), Account()).balance += money
        self.deposited += micro(money)

    # --- telling both the same

    def both(self, verb: str, ask_engine: Callable[[], Any], ask_model: Callable[[], Any]) -> Any:
        """Do one thing on both and return the engine's and the model's answer, or None when both refused alike."""
        self.model.advance(self.clock.us)
        refusal: tuple[int, str, str | None] | None = None
        said: Any = None
        try:
            said = ask_engine()
        except Refusal as error:
            refusal = (error.status, error.code, error.details)
        try:
            expected = ask_model()
        except Refused as error:
            self.same(verb, refusal, error.facts)
            self.counts[f"{verb}: refused"] += 1
            self.counts[f"refusal {error.facts[1]}" + (f" ({error.facts[2]})" if error.facts[2] else "")] += 1
            return None
        self.same(f"{verb} was refused", refusal, None)
        self.counts[f"{verb}: done"] += 1
        return said, expected

    def same(self, what: str, engine: object, model: object) -> None:
        """Raise Difference unless both sides of a comparison are equal."""
        if engine != model:
            raise Difference(f"{what}: engine {engine!r}, reference {model!r}")

    # --- comparing

    def compare_quickly(self) -> None:
        """Compare what moves all the time: books (asked for and told), queues, balances."""
        for ticker in self.model.markets:
            self._compare_book(ticker)
        for member in MEMBERS:
            queue = {self.ids.index(order.order_id): ahead for order, ahead in self.engine.queue_positions(member)}
            self.same("queue positions", queue, self._queue(member))
            for subaccount in (0, 1):
                view = self.engine.balance(member, subaccount=subaccount)
                cash = {
                    shard: micro(account.balance)
                    for (name, number, shard), account in self.model.accounts.items()
                    if (name, number) == (member, subaccount)
                }
                self.same(f"balance of {member}", dict(view.breakdown), cash)

    def _compare_book(self, ticker: str) -> None:
        view = self.engine.book(ticker)
        self.shown_clocks[ticker] = view.clock
        levels: dict[tuple[bool, int], int] = {}
        for is_bid in (True, False):
            for order in self.model.queue(ticker, is_bid):
                key = (is_bid, units(order.price))
                levels[key] = levels.get(key, 0) + lots(order.remaining)
        shown = [(True, price, size) for price, size in view.bids] + [(False, price, size) for price, size in view.asks]
        self.same(f"book of {ticker}", shown, [(is_bid, price, size) for (is_bid, price), size in levels.items()])
        self.same(f"told book of {ticker}", self.told_books.get(ticker, {}), levels)

    def _queue(self, member: str) -> dict[int, int]:
        ahead: dict[int, int] = {}
        for ticker in self.model.markets:
            for is_bid in (True, False):
                before = 0
                for order in self.model.queue(ticker, is_bid):
                    if order.member == member:
                        ahead[order.number] = before
                    before += lots(order.remaining)
        return ahead

    def compare_everything(self) -> None:
        """Compare all that can be read, what was told, and that no cash and no contract appeared or vanished."""
        self.compare_quickly()
        for number, order in enumerate(self.model.orders):
            self._compare_order(number, order)
        self._compare_positions()
        self._compare_papers()
        for group in self.model.groups:
            self._compare_group(group.number)
        self._compare_markets()
        self._check_conservation()

    def _compare_order(self, number: int, order: ModelOrder) -> None:
        order_id = self.ids[number]
        kept = self.engine.order(order.member, order_id, exchange_index=order.shard)
        found = (
            kept.status.value,
            kept.reason.value,
            (kept.price, kept.initial, kept.remaining, kept.filled),
            (kept.taker_cost, kept.maker_cost, kept.taker_fees, kept.maker_fees, kept.rounding),
            kept.client_order_id,
        )
        costs = (order.taker_cost, order.maker_cost, order.taker_fees, order.maker_fees, order.over_rounded)
        expected = (
            order.status,
            order.reason,
            (units(order.price), lots(order.initial), lots(order.remaining), lots(order.filled)),
            tuple(map(micro, costs)),
            order.client_id,
        )
        self.same(f"order {number}", found, expected)
        told = self.told_orders[order_id]
        self.same(f"told order {number}", (told.status.value, told.filled), (order.status, lots(order.filled)))
        self.counts[f"order ends {order.status} {order.reason or '-'}"] += 1

    def _compare_positions(self) -> None:
        for (name, subaccount, ticker), position in self.model.positions.items():
            rows, _ = self.engine.positions(name, tickers=(ticker,), is_settled=None, subaccount=subaccount)
            row = rows[0]
            money = (position.exposure, position.traded, position.realized, position.fees)
            expected = (lots(position.count), *map(micro, money))
            found = (row.count, row.exposure, row.total_traded, row.realized, row.fees)
            self.same(f"position of {name} in {ticker}", found, expected)
            told = self.told_positions[name, subaccount, ticker]
            self.same(f"told position of {name} in {ticker}", told, lots(position.count))

    def _compare_papers(self) -> None:
        for member in MEMBERS:
            fills = [
                (self.ids.index(fill.order_id), fill.is_taker, fill.price, fill.count, fill.fee, fill.post_position)
                for fill in reversed(self.engine.fills(member))
            ]
            expected = [
                (
                    fill.order,
                    fill.is_taker,
                    units(fill.price),
                    lots(fill.count),
                    micro(fill.fee),
                    lots(fill.position_after),
                )
                for fill in self.model.fills
                if fill.member == member
            ]
            self.same(f"fills of {member}", fills, expected)
            rows = {(row.subaccount, row.ticker): (row.result, *ROW(row)) for row in self.engine.settlements(member)}
            paid = {
                (row.subaccount, row.ticker): (row.result, *_in_units(row))
                for row in self.model.settlements
                if row.member == member
            }
            self.same(f"settlements of {member}", rows, paid)
            self.counts["settlement row"] += len(rows)

    def _compare_group(self, number: int) -> None:
        group = self.model.groups[number]
        if group.is_deleted:
            return
        kept = self.engine.group(group.member, self.group_ids[number])
        resting = [order.number for order in self.model.orders if order.group == number and order.status == "resting"]
        found = (kept.is_triggered, kept.limit, sorted(self.ids.index(order_id) for order_id in kept.order_ids))
        self.same(f"group {number}", found, (group.is_triggered, lots(group.limit), resting))

    def _compare_markets(self) -> None:
        for ticker, market in self.model.markets.items():
            kept, quote = self.engine.market(ticker), self.engine.quote(ticker)
            found = (kept.status.value, kept.result, quote.volume, quote.last_price)
            expected = (market.status, market.result, lots(market.volume), units(market.last_price))
            self.same(f"market {ticker}", found, expected)
            longs = [p.count for (_, _, t), p in self.model.positions.items() if t == ticker and p.count > 0]
            if market.status != "finalized":
                self.same(f"open interest of {ticker}", quote.open_interest, lots(sum(longs, Decimal(0))))
        told = [_trade(trade) for trade in self.model.trades]
        self.same("told trades", self.told_trades, told)

    def _check_conservation(self) -> None:
        cash = sum(money for member in self.engine.members.values() for money in member.balances.values())
        held: Counter[str] = Counter()
        locked = 0
        for member in self.engine.members.values():
            for position in member.positions.values():
                held[position.ticker] += position.count
                locked += max(position.count, 0) * 10_000
        self.same("every contract has two sides", [count for count in held.values() if count], [])
        fees = micro(self.model.fees_collected)
        self.same("cash, fees and what contracts lock", cash + fees + locked, self.deposited)


def _in_units(row: ModelSettlement) -> tuple[int, ...]:
    counts = {"yes_count", "no_count"}
    return tuple(lots(getattr(row, name)) if name in counts else micro(getattr(row, name)) for name in ROW_NUMBERS)


def _trade(trade: ModelTrade) -> tuple[str, int, int, bool, int]:
    return trade.ticker, units(trade.price), lots(trade.count), trade.taker_is_bid, trade.at


def _rules(choices: Choices) -> Rules:
    return Rules(
        trade_fee_step=micro(choices.trade_fee_step),
        rebate_step=None if choices.rebate_step is None else micro(choices.rebate_step),
        self_trade_scope="member" if choices.self_trade_scope == "member" else "subaccount",
        reduce_only_allows_fok=choices.reduce_only_allows_fok,
        post_only_amend="cancel" if choices.post_only_amend == "cancel" else "refuse",
        group_limit="hit" if choices.group_limit == "hit" else "exceeded",
        margin="balance" if choices.margin == "balance" else "free",
    )
