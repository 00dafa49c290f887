"""Every event of the engine goes on: to the subscribers it concerns, and into the record of what really happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from markets.sandbox import events, messages
from markets.sandbox.audience import Audience, Change, WholeBook
from markets.sandbox.exchange import Exchange
from markets.sandbox.numbers import count_text, money_text, price_text
from markets.sandbox.truth import Truth

# Their message knows no such events.
UNTOLD_OF_COMBOS = {"price_level_structure_updated", "metadata_updated"}


class Publisher:
    """Listens to one exchange. Tickers whose quotes changed gather in `quoted` until somebody sends them."""

    def __init__(self, exchange: Exchange, audience: Audience, truth: Truth) -> None:
        self._exchange = exchange
        self._audience = audience
        self._truth = truth
        self.quoted: set[str] = set()
        self.changes_of_members = 0
        self.on_created: list[Callable[[str], None]] = []
        self.on_order: list[Callable[[events.OrderChanged], None]] = []
        self._receivers: dict[type, Callable[[Any], None]] = {
            events.BookChanged: self._book_changed,
            events.BookCleared: self._book_cleared,
            events.Traded: self._traded,
            events.OrderChanged: self._order_changed,
            events.Filled: self._filled,
            events.FillTakenBack: self._fill_taken_back,
            events.PositionChanged: self._position_changed,
            events.Settled: self._settled,
            events.LifecycleChanged: self._lifecycle,
            events.EventCreated: self._event_created,
            events.EventFeeChanged: self._event_fee_changed,
            events.GroupChanged: self._group_changed,
        }
        exchange.listen(self.receive)

    def receive(self, event: events.ExchangeEvent) -> None:
        """Take one event down and pass it on."""
        receiver = self._receivers.get(type(event))
        if receiver is not None:
            receiver(event)

    def _name(self, member_id: str) -> str:
        return self._exchange.members[member_id].name

    # --- public ------------------------------------------------------------------------------------

    def _book_changed(self, event: events.BookChanged) -> None:
        self.quoted.add(event.ticker)
        if event.ticker in self._audience.by_market["orderbook_delta"]:
            self._audience.book_changed(
                Change(
                    ticker=event.ticker,
                    market_id=self._exchange.markets[event.ticker].market_id,
                    clock=event.clock,
                    is_bid=event.is_bid,
                    price=event.price,
                    change=event.change,
                    ts_ms=event.ts_us // 1000,
                    owner=event.member_id,
                    client_order_id=event.client_order_id,
                    subaccount=event.subaccount,
                )
            )

    def _book_cleared(self, event: events.BookCleared) -> None:
        self.quoted.add(event.ticker)
        market_id = self._exchange.markets[event.ticker].market_id
        self._audience.book_replaced(WholeBook(event.ticker, market_id, event.clock, {}, {}))

    def _traded(self, event: events.Traded) -> None:
        self.quoted.add(event.ticker)
        if self._audience.has_listeners("trade", event.ticker):
            self._audience.tell("trade", "trade", event.ticker, messages.trade(event))

    def _lifecycle(self, event: events.LifecycleChanged) -> None:
        if event.kind == "created":
            for heard in self.on_created:
                heard(event.ticker)
        if event.ticker.startswith(messages.COMBO) and event.kind in UNTOLD_OF_COMBOS:
            return
        text = messages.lifecycle(event, self._exchange.markets[event.ticker])
        self._lifecycle_channel(event.ticker, text)

    def _lifecycle_channel(self, ticker: str, text: str) -> None:
        kind = "multivariate_market_lifecycle" if ticker.startswith(messages.COMBO) else "market_lifecycle_v2"
        self._audience.tell(kind, kind, ticker, text)

    def _event_created(self, event: events.EventCreated) -> None:
        text = messages.event_lifecycle(self._exchange.events[event.event_ticker])
        channel = (
            "multivariate_market_lifecycle" if event.event_ticker.startswith(messages.COMBO) else "market_lifecycle_v2"
        )
        self._audience.tell(channel, "event_lifecycle", "", text)

    def _event_fee_changed(self, event: events.EventFeeChanged) -> None:
        self._audience.tell("market_lifecycle_v2", "event_fee_update", "", messages.event_fee_update(event))

    # --- private -----------------------------------------------------------------------------------

    def _order_changed(self, event: events.OrderChanged) -> None:
        self.changes_of_members += 1
        row = event.order
        self._truth.record(
            "order",
            row.updated_us // 1000,
            member=self._name(event.member_id),
            order_id=row.order_id,
            client_order_id=row.client_order_id,
            ticker=row.ticker,
            side="bid" if row.is_bid else "ask",
            price=price_text(row.price),
            count=count_text(row.initial),
            filled=count_text(row.filled),
            remaining=count_text(row.remaining),
            status=str(row.status),
            reason=str(event.reason),
        )
        for heard in self.on_order:
            heard(event)
        self._private(
            "user_orders",
            "user_order",
            event.member_id,
            row.ticker,
            row.subaccount,
            lambda: messages.user_order(row, event.reason),
        )

    def _filled(self, event: events.Filled) -> None:
        self.changes_of_members += 1
        row = event.fill
        self._truth.record(
            "fill",
            row.ts_us // 1000,
            member=self._name(event.member_id),
            trade_id=row.trade_id,
            order_id=row.order_id,
            client_order_id=row.client_order_id,
            ticker=row.ticker,
            side="bid" if row.is_bid else "ask",
            price=price_text(row.price),
            count=count_text(row.count),
            fee=money_text(row.fee),
            is_taker=row.is_taker,
        )
        self._private("fill", "fill", event.member_id, row.ticker, row.subaccount, lambda: messages.fill(row))

    def _fill_taken_back(self, event: events.FillTakenBack) -> None:
        self.changes_of_members += 1
        row = event.fill
        self._truth.record(
            "fill_taken_back",
            event.ts_us // 1000,
            member=self._name(event.member_id),
            trade_id=row.trade_id,
            order_id=row.order_id,
            ticker=row.ticker,
            count=count_text(row.count),
            left=count_text(event.left),
        )

    def _position_changed(self, event: events.PositionChanged) -> None:
        self.changes_of_members += 1
        row = event.position
        self._private(
            "market_positions",
            "market_position",
            event.member_id,
            row.ticker,
            row.subaccount,
            lambda: messages.market_position(event.member_id, row),
        )

    def _settled(self, event: events.Settled) -> None:
        self.changes_of_members += 1
        row = event.settlement
        self._truth.record(
            "settlement",
            row.settled_us // 1000,
            member=self._name(event.member_id),
            ticker=row.ticker,
            result=row.result,
            revenue=money_text(row.revenue),
        )

    def _group_changed(self, event: events.GroupChanged) -> None:
        self.changes_of_members += 1
        channel = "order_group_updates"
        self._private(channel, channel, event.member_id, "", event.subaccount, lambda: messages.order_group(event))

    def _private(
        self, channel: str, kind: str, member: str, ticker: str, subaccount: int, body: Callable[[], str]
    ) -> None:
        """Send a member's message to its connections; a restricted key hears of its own sub-account only."""
        listeners = [
            heard
            for heard in self._audience.listeners(channel, ticker)
            if heard.session.member == member and heard.session.subaccount in {None, subaccount}
        ]
        if listeners:
            text = body()
            for heard in listeners:
                heard.send(kind, text)
