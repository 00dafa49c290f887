"""The exchange's memory as JSON values, and back."""

from __future__ import annotations

from collections import deque
from typing import Any

from markets.sandbox.accounts import Fill, Member, Position, Settlement, Transfer
from markets.sandbox.book import Book
from markets.sandbox.catalogue import Event, Market, Series
from markets.sandbox.floor import Floor
from markets.sandbox.life import set_timers
from markets.sandbox.orders import Group, Order, OrderStatus
from markets.sandbox.resting import await_expiry
from markets.sandbox.rows import from_rows, to_rows
from markets.sandbox.statistics import Minute, Statistics, Trade

VERSION = 1


def export_state(floor: Floor) -> dict[str, Any]:
    """Return everything as JSON values; what is due is done first."""
    floor.begin()
    version, internal, gauss = floor.rng.getstate()
    return {
        "version": VERSION,
        "random": [version, list(internal), gauss],
        "priority": floor.priority,
        "paused": sorted(floor.paused),
        "stopped": sorted(floor.stopped),
        "fees_collected": floor.fees_collected,
        "trades": to_rows(Trade, floor.trades),
        "series": to_rows(Series, floor.series.values()),
        "events": to_rows(Event, floor.events.values()),
        "markets": to_rows(Market, floor.markets.values()),
        "books": {ticker: _book(book) for ticker, book in floor.books.items()},
        "holders": {ticker: [list(holder) for holder in holders] for ticker, holders in floor.holders.items()},
        "members": to_rows(Member, floor.members.values()),
        "accounts": {member.member_id: _account(member) for member in floor.members.values()},
        "orders": to_rows(Order, floor.orders.values()),
        "groups": to_rows(Group, floor.groups.values()),
    }


def _book(book: Book) -> dict[str, Any]:
    statistics = book.statistics
    return {
        "clock": book.clock,
        "minutes": to_rows(Minute, statistics.minutes),
        "trades": to_rows(Trade, statistics.trades),
        "quote": [statistics.bid, statistics.ask],
    }


def _account(member: Member) -> dict[str, Any]:
    return {
        "balances": [[*pocket, money] for pocket, money in member.balances.items()],
        "positions": to_rows(Position, member.positions.values()),
        "fills": to_rows(Fill, member.fills),
        "settlements": to_rows(Settlement, member.settlements),
        "transfers": to_rows(Transfer, member.transfers),
    }


def import_state(floor: Floor, saved: dict[str, Any]) -> None:
    """Become what was exported, and note again what will be due."""
    if floor.series or floor.members:
        raise ValueError("only an empty exchange can take over a saved state")
    if saved["version"] != VERSION:
        raise ValueError(f"the saved state has version {saved['version']}, not {VERSION}")
    version, internal, gauss = saved["random"]
    floor.rng.setstate((version, tuple(internal), gauss))
    floor.priority = saved["priority"]
    floor.paused, floor.stopped = set(saved["paused"]), set(saved["stopped"])
    floor.fees_collected = saved["fees_collected"]
    floor.trades.extend(from_rows(Trade, saved["trades"]))
    _import_catalogue(floor, saved)
    for member in from_rows(Member, saved["members"]):
        floor.members[member.member_id] = member
        _import_account(member, saved["accounts"][member.member_id])
    floor.groups.update((group.group_id, group) for group in from_rows(Group, saved["groups"]))
    _import_orders(floor, list(from_rows(Order, saved["orders"])))


def _import_catalogue(floor: Floor, saved: dict[str, Any]) -> None:
    floor.series.update((series.ticker, series) for series in from_rows(Series, saved["series"]))
    floor.events.update((event.ticker, event) for event in from_rows(Event, saved["events"]))
    for market in from_rows(Market, saved["markets"]):
        floor.markets[market.ticker] = market
        _import_book(floor.open_book(market), saved["books"][market.ticker])
        holders = [(member_id, subaccount) for member_id, subaccount in saved["holders"][market.ticker]]
        floor.holders[market.ticker] = dict.fromkeys(holders)
        if not market.is_replay:
            set_timers(floor, market)


def _import_book(book: Book, saved: dict[str, Any]) -> None:
    book.clock = saved["clock"]
    _import_statistics(book.statistics, saved)


def _import_statistics(statistics: Statistics, saved: dict[str, Any]) -> None:
    statistics.trades.extend(from_rows(Trade, saved["trades"]))
    statistics.minutes.extend(from_rows(Minute, saved["minutes"]))
    statistics.recent.extend(statistics.minutes)  # what is older than a day goes at the next read
    statistics.day_volume = sum(minute.volume for minute in statistics.minutes)
    statistics.bid, statistics.ask = saved["quote"]
    if statistics.minutes:
        statistics.last_price = statistics.minutes[-1].last_price
        statistics.open_interest = statistics.minutes[-1].open_interest


def _import_account(member: Member, saved: dict[str, Any]) -> None:
    member.balances = {(subaccount, index): money for subaccount, index, money in saved["balances"]}
    positions = from_rows(Position, saved["positions"])
    member.positions = {(position.subaccount, position.ticker): position for position in positions}
    member.fills = deque(from_rows(Fill, saved["fills"]))
    member.settlements = list(from_rows(Settlement, saved["settlements"]))
    member.transfers = list(from_rows(Transfer, saved["transfers"]))


def _import_orders(floor: Floor, orders: list[Order]) -> None:
    """Keep every order, and put those that rest back into their queues."""
    floor.orders.update((order.order_id, order) for order in orders)
    resting = [order for order in orders if order.status is OrderStatus.RESTING]
    for order in sorted(resting, key=lambda order: order.priority):
        floor.books[order.ticker].side(order.is_bid).add(order)
        await_expiry(floor, order)
