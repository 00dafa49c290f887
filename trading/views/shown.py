"""Orders and markets as lists show them: what a row needs beside the order itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from markets.kalshi.prices import Direction
from markets.models import Event, Market
from markets.templatetags import prices
from trading import permissions
from trading.events import order_frame
from trading.models import Membership, Order, OrderState

UNTIL = {"good_till_canceled": "GTC", "immediate_or_cancel": "IOC", "fill_or_kill": "FOK"}


@dataclass(frozen=True, slots=True)
class ShownOrder:
    """One order of a list: the order, its frame as scripts get it, and what is derived for the reader."""

    order: Order
    frame: dict[str, Any]
    market_name: str
    kind: str  # the glyph of its state
    same: Direction  # the same order in the other side's words
    until: str
    can_cancel: bool
    is_mine: bool


def shown_orders(
    orders: Iterable[Order], *, membership: Membership, number: int, names: dict[str, str]
) -> list[ShownOrder]:
    """Return orders as rows, each as of the team's news `number`."""
    orders = list(orders)
    cancelable = permissions.cancelable_by(membership, orders)
    return [
        ShownOrder(
            order=order,
            frame=dict(order_frame(order, number)),
            market_name=names.get(order.ticker, order.ticker),
            kind=state_kind(order),
            same=Direction(order.action, order.side, order.price).mirrored(),  # type: ignore[arg-type]
            until=UNTIL.get(order.time_in_force, order.time_in_force),
            can_cancel=order.is_cancelable and order.pk in cancelable,
            is_mine=order.placed_by_id == membership.user_id,
        )
        for order in orders
    ]


def state_kind(order: Order) -> str:
    """Return the name of the glyph: the state, and what is derived from its numbers."""
    if order.state == OrderState.RESTING and order.cancel_requested_at is not None:
        return "cancel_sent"
    if order.state == OrderState.RESTING and order.filled > 0:
        return "partly"
    if order.state in {OrderState.DRAFT, OrderState.QUEUED}:
        return "sending"
    return order.state


@dataclass(frozen=True, slots=True)
class ShownMarket:
    """One market of a list, with what is derived for the reader."""

    market: Market
    change: str


@dataclass(frozen=True, slots=True)
class Group:
    """One event of a list, with those of its markets that are shown."""

    title: str
    event_ticker: str
    rows: list[ShownMarket]


def grouped(markets: Iterable[Market], titles: dict[str, str]) -> list[Group]:
    """Put the markets of one event together; events in the order of their first market."""
    found: dict[str, Group] = {}
    for market in markets:
        title = titles.get(market.event_ticker) or market.title or market.event_ticker
        group = found.setdefault(market.event_ticker, Group(title, market.event_ticker, []))
        group.rows.append(ShownMarket(market, change_words(market)))
    return list(found.values())


def change_words(market: Market) -> str:
    """Return how the last price moved within a day: `▲ 2¢`, `▼ 0.5¢`, or a dash."""
    if market.last_price is None or market.previous_price is None or market.last_price == market.previous_price:
        return prices.UNKNOWN
    moved = market.last_price - market.previous_price
    return f"{'▲' if moved > 0 else '▼'} {prices.cents(abs(moved))}"


def market_names(environment: str, tickers: Iterable[str]) -> dict[str, str]:
    """Return for each ticker the event's title and the answer's name, where the catalogue has them."""
    markets = Market.objects.in_environment(environment).filter(ticker__in=set(tickers))
    rows = list(markets.only("ticker", "event_ticker", "title", "subtitle", "yes_sub_title"))
    titles = event_titles(environment, {market.event_ticker for market in rows})
    return {market.ticker: full_name(market, titles.get(market.event_ticker, "")) for market in rows}


def event_titles(environment: str, tickers: Iterable[str]) -> dict[str, str]:
    """Return the titles of events by ticker."""
    events = Event.objects.in_environment(environment).filter(ticker__in=set(tickers))
    return dict(events.values_list("ticker", "title"))


def full_name(market: Market, event_title: str) -> str:
    """Return a market's name for a list without its event above it."""
    title = event_title or market.title
    if market.name == title:
        return market.name
    return f"{title} {market.name}" if title.endswith("?") else f"{title}: {market.name}"
