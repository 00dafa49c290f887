"""Messages of the stream other than books: trades, tickers, private papers, lifecycle, as text ready for a frame.

Source: Kalshi trade API v2, AsyncAPI document of October 2026. `dollar_volume` is half the volume, as in every recorded
ticker; a deprecated `action` and `side` at the ask read buy and no.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from markets.sandbox import bodies
from markets.sandbox.accounts import Fill, Position
from markets.sandbox.catalogue import Event, Market
from markets.sandbox.events import EventFeeChanged, GroupChanged, LifecycleChanged, Traded
from markets.sandbox.frames import micros_text, time_text, to_text
from markets.sandbox.numbers import CONTRACT, DOLLAR, SECOND, count_text, money_text, price_text
from markets.sandbox.orders import Order, UpdateReason
from markets.sandbox.quotes import Quote

COMBO = "KXMVE"
SHOWN_AT_CREATION = (
    "rules_primary",
    "rules_secondary",
    "strike_type",
    "floor_strike",
    "cap_strike",
    "custom_strike",
)


def trade(event: Traded) -> str:
    """Return a public trade at the maker's price."""
    side, book_side = ("yes", "bid") if event.taker_is_bid else ("no", "ask")
    return (
        f'{{"trade_id":"{event.trade_id}","market_ticker":"{event.ticker}",'
        f'"yes_price_dollars":"{price_text(event.price)}","no_price_dollars":"{price_text(DOLLAR - event.price)}",'
        f'"count_fp":"{count_text(event.count)}","taker_side":"{side}","taker_outcome_side":"{side}",'
        f'"taker_book_side":"{book_side}","is_block_trade":false,'
        f'"ts":{event.ts_us // SECOND},"ts_ms":{event.ts_us // 1000}}}'
    )


def ticker(quote: Quote, market_id: str) -> str:
    """Return best prices, last trade and volumes of a market."""
    ts_ms = quote.ts_us // 1000
    return to_text(
        {
            "market_id": market_id,
            "market_ticker": quote.ticker,
            "price_dollars": price_text(quote.last_price),
            "yes_bid_dollars": price_text(quote.bid),
            "yes_ask_dollars": price_text(quote.ask),
            "volume_fp": count_text(quote.volume),
            "open_interest_fp": count_text(quote.open_interest),
            "dollar_volume": quote.volume // (2 * CONTRACT),
            "dollar_open_interest": quote.open_interest // (2 * CONTRACT),
            "yes_bid_size_fp": count_text(quote.bid_size),
            "yes_ask_size_fp": count_text(quote.ask_size),
            "last_trade_size_fp": count_text(quote.last_count),
            "ts": ts_ms // 1000,
            "ts_ms": ts_ms,
            "time": time_text(ts_ms),
        }
    )


def fill(row: Fill) -> str:
    """Return one side of a match to its member."""
    side, book_side = ("yes", "bid") if row.is_bid else ("no", "ask")
    body: dict[str, Any] = {"trade_id": row.trade_id, "order_id": row.order_id}
    if row.client_order_id:
        body["client_order_id"] = row.client_order_id
    body |= {
        "market_ticker": row.ticker,
        "exchange_index": row.exchange_index,
        "is_taker": row.is_taker,
        "side": side,
        "yes_price_dollars": price_text(row.price),
        "count_fp": count_text(row.count),
        "fee_cost": money_text(row.fee),
        "action": "buy",
        "ts": row.ts_us // SECOND,
        "ts_ms": row.ts_us // 1000,
        "post_position_fp": count_text(row.post_position),
        "purchased_side": side,
        "outcome_side": side,
        "book_side": book_side,
        "subaccount": row.subaccount,
    }
    return to_text(body)


def user_order(row: Order, reason: UpdateReason) -> str:
    """Return an order whole, after it changed; an unnamed reason is left out."""
    side, book_side = ("yes", "bid") if row.is_bid else ("no", "ask")
    body: dict[str, Any] = {
        "order_id": row.order_id,
        "user_id": row.member_id,
        "ticker": row.ticker,
        "exchange_index": row.exchange_index,
        "status": str(row.status),
        "side": side,
        "is_yes": row.is_bid,
        "outcome_side": side,
        "book_side": book_side,
        "yes_price_dollars": price_text(row.price),
        "fill_count_fp": count_text(row.filled),
        "remaining_count_fp": count_text(row.remaining),
        "initial_count_fp": count_text(row.initial),
        "taker_fill_cost_dollars": money_text(row.taker_cost),
        "maker_fill_cost_dollars": money_text(row.maker_cost),
        "taker_fees_dollars": money_text(row.taker_fees),
        "maker_fees_dollars": money_text(row.maker_fees),
        "client_order_id": row.client_order_id,
        "self_trade_prevention_type": str(row.self_trade),
        "created_time": micros_text(row.created_us),
        "created_ts_ms": row.created_us // 1000,
        "last_update_time": micros_text(row.updated_us),
        "last_updated_ts_ms": row.updated_us // 1000,
        "subaccount_number": row.subaccount,
    }
    if row.group_id:
        body["order_group_id"] = row.group_id
    if row.expires_us:
        body |= {"expiration_time": micros_text(row.expires_us), "expiration_ts_ms": row.expires_us // 1000}
    if reason:
        body["last_update_reason"] = str(reason)
    return to_text(body)


def market_position(member: str, row: Position) -> str:
    """Return a position after it changed."""
    return to_text(
        {
            "user_id": member,
            "market_ticker": row.ticker,
            "position_fp": count_text(row.count),
            "position_cost_dollars": money_text(row.exposure),
            "realized_pnl_dollars": money_text(row.realized),
            "fees_paid_dollars": money_text(row.fees),
            "position_fee_cost_dollars": money_text(row.open_fees),
            "volume_fp": count_text(row.volume),
            "subaccount": row.subaccount,
        }
    )


def order_group(event: GroupChanged) -> str:
    """Return what happened to an order group."""
    body: dict[str, Any] = {"event_type": event.kind, "order_group_id": event.group_id}
    if event.limit is not None:
        body["contracts_limit_fp"] = count_text(event.limit)
    return to_text({**body, "ts_ms": event.ts_us // 1000})


# --- lifecycle ----------------------------------------------------------------------------------------


def lifecycle(event: LifecycleChanged, market: Market) -> str:
    """Return what happened to a market; fields exist only for their kind."""
    body: dict[str, Any] = {"market_ticker": event.ticker, "event_type": event.kind}
    kinds: dict[str, Callable[[LifecycleChanged, Market], dict[str, Any]]] = {
        "created": _created,
        "activated": lambda event, market: {"is_deactivated": False},
        "deactivated": lambda event, market: {"is_deactivated": True},
        "close_date_updated": lambda event, market: {"close_ts": _seconds(event.close_us or 0)},
        "determined": _determined,
        "settled": lambda event, market: {"settled_ts": _seconds(event.ts_us)},
        "price_level_structure_updated": _grid,
        "metadata_updated": lambda event, market: dict(event.details),
    }
    found = {**body, **kinds[event.kind](event, market)}
    if event.ticker.startswith(COMBO):
        found.pop("price_ranges", None)  # the message of combos names the structure alone
    return to_text(found)


def _created(event: LifecycleChanged, market: Market) -> dict[str, Any]:
    shown = {name: market.details[name] for name in SHOWN_AT_CREATION if name in market.details}
    expected = market.close_us if market.expected_expiration_us is None else market.expected_expiration_us
    return {
        "exchange_index": market.exchange_index,
        "open_ts": _seconds(market.open_us),
        "close_ts": _seconds(market.close_us),
        "price_level_structure": market.price_level_structure,
        "price_ranges": bodies.price_ranges(market.bands),
        "additional_metadata": {
            "name": market.yes_sub_title,
            "title": market.title,
            "yes_sub_title": market.yes_sub_title,
            "no_sub_title": market.no_sub_title,
            "rules_primary": "",
            "rules_secondary": "",
            "can_close_early": market.can_close_early,
            "event_ticker": market.event_ticker,
            "expected_expiration_ts": _seconds(expected),
            **shown,
        },
    }


def _determined(event: LifecycleChanged, market: Market) -> dict[str, Any]:
    return {
        "determination_ts": _seconds(event.ts_us),
        "result": event.result,
        "settlement_value": price_text(event.value or 0),
    }


def _grid(event: LifecycleChanged, market: Market) -> dict[str, Any]:
    return {"price_level_structure": event.structure, "price_ranges": bodies.price_ranges(event.bands)}


def event_lifecycle(row: Event) -> str:
    """Return a new event."""
    body: dict[str, Any] = {
        "event_ticker": row.ticker,
        "exchange_index": row.exchange_index,
        "title": row.title,
        "subtitle": row.sub_title,
        "collateral_return_type": row.collateral_return_type,
        "series_ticker": row.series_ticker,
    }
    if row.strike_us is not None:
        body["strike_date"] = _seconds(row.strike_us)
    elif row.strike_period:
        body["strike_period"] = row.strike_period
    return to_text(body)


def event_fee_update(event: EventFeeChanged) -> str:
    """Return an event's fee override; nulls say that it was cleared."""
    multiplier = None if event.fee_multiplier is None else bodies.multiplier(event.fee_multiplier)
    return to_text(
        {
            "event_ticker": event.event_ticker,
            "fee_type_override": event.fee_type,
            "fee_multiplier_override": multiplier,
        }
    )


def _seconds(at_us: int) -> int:
    return at_us // SECOND
