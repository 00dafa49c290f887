"""Bodies of series, events, markets, books, trades and candles, as REST shows them.

Source: Kalshi trade API v2, OpenAPI 3.34.0; conventions for missing quotes and trimmed times as recorded.
"""

from __future__ import annotations

from typing import Any

from markets.sandbox.candles import Candle, Ohlc
from markets.sandbox.catalogue import MULTIPLIER, Event, Market, Series
from markets.sandbox.frames import micros_text
from markets.sandbox.grid import Bands
from markets.sandbox.numbers import DOLLAR, SECOND, count_text, price_text
from markets.sandbox.quotes import Quote, Trade

UNTRADED = dict.fromkeys(("close_dollars", "high_dollars", "low_dollars", "open_dollars"))
SOURCES = [{"name": "The local exchange", "url": "https://example.invalid/source"}]


def multiplier(value: int) -> float:
    """Return a fee multiplier as the JSON number it is on the wire."""
    return value // MULTIPLIER if value % MULTIPLIER == 0 else value / MULTIPLIER


def price_ranges(bands: Bands) -> list[dict[str, str]]:
    """Return a price grid."""
    return [
        {"start": price_text(start), "end": price_text(end), "step": price_text(step)} for start, end, step in bands
    ]


def series(row: Series, *, volume: int | None = None) -> dict[str, Any]:
    """Return a series; its volume only where it was asked for."""
    found: dict[str, Any] = {
        "additional_prohibitions": [],
        "categories": [row.category],
        "category": row.category,
        "contract_terms_url": f"https://example.invalid/terms/{row.ticker}.pdf",
        "contract_url": f"https://example.invalid/contract/{row.ticker}.pdf",
        "exchange_index": row.exchange_index,
        "fee_multiplier": multiplier(row.fee_multiplier),
        "fee_type": str(row.fee_type),
        "frequency": row.frequency,
        "last_updated_ts": micros_text(row.updated_us),
        "settlement_sources": SOURCES,
        "tags": list(row.tags),
        "ticker": row.ticker,
        "title": row.title,
    }
    if volume is not None:
        found["volume_fp"] = count_text(volume)
    if row.product_metadata:
        found["product_metadata"] = row.product_metadata
    return found


def event(row: Event, category: str) -> dict[str, Any]:
    """Return an event without its markets; strike date and strike period exclude each other."""
    found: dict[str, Any] = {
        "category": category,
        "collateral_return_type": row.collateral_return_type,
        "event_ticker": row.ticker,
        "exchange_index": row.exchange_index,
        "last_updated_ts": micros_text(row.updated_us),
        "mutually_exclusive": row.mutually_exclusive,
        "series_ticker": row.series_ticker,
        "settlement_sources": SOURCES,
        "sub_title": row.sub_title,
        "title": row.title,
    }
    if row.fee_type_override is not None:
        found["fee_type_override"] = str(row.fee_type_override)
    if row.fee_multiplier_override is not None:
        found["fee_multiplier_override"] = multiplier(row.fee_multiplier_override)
    if row.product_metadata:
        found["product_metadata"] = row.product_metadata
    if row.strike_us is not None:
        found["strike_date"] = micros_text(row.strike_us)
    elif row.strike_period:
        found["strike_period"] = row.strike_period
    return found


def market(row: Market, quote: Quote) -> dict[str, Any]:
    """Return a market with its quotes: no bid is 0.0000, no ask 1.0000, and each NO price mirrors the YES one."""
    return {**_description(row), **_times(row), **_quotes(quote), **_result(row), **row.details}


def _description(row: Market) -> dict[str, Any]:
    return {
        "can_close_early": row.can_close_early,
        "event_ticker": row.event_ticker,
        "exchange_index": row.exchange_index,
        "market_type": row.market_type,
        "no_sub_title": row.no_sub_title,
        "notional_value_dollars": price_text(row.notional_value),
        "price_level_structure": row.price_level_structure,
        "price_ranges": price_ranges(row.bands),
        "rules_primary": "",
        "rules_secondary": "",
        "settlement_bounds_type": "default",
        "settlement_timer_seconds": row.settlement_timer_us // SECOND,
        "status": str(row.status),
        "subtitle": row.yes_sub_title,
        "ticker": row.ticker,
        "title": row.title,
        "yes_sub_title": row.yes_sub_title,
    }


def _times(row: Market) -> dict[str, Any]:
    latest = row.close_us if row.latest_expiration_us is None else row.latest_expiration_us
    expected = latest if row.expected_expiration_us is None else row.expected_expiration_us
    found = {
        "close_time": micros_text(row.close_us),
        "created_time": micros_text(row.created_us),
        "expected_expiration_time": micros_text(expected),
        "expiration_time": micros_text(latest),
        "latest_expiration_time": micros_text(latest),
        "open_time": micros_text(row.open_us),
        "updated_time": micros_text(row.updated_us),
    }
    if row.fee_waiver_until_us:
        found["fee_waiver_expiration_time"] = micros_text(row.fee_waiver_until_us)
    if row.settled_us is not None:
        found["settlement_ts"] = micros_text(row.settled_us)
    return found


def _quotes(quote: Quote) -> dict[str, Any]:
    return {
        "last_price_dollars": price_text(quote.last_price),
        "no_ask_dollars": price_text(DOLLAR - quote.bid),
        "no_bid_dollars": price_text(DOLLAR - quote.ask),
        "open_interest_fp": count_text(quote.open_interest),
        "previous_price_dollars": price_text(quote.previous_price),
        "previous_yes_ask_dollars": price_text(quote.previous_ask),
        "previous_yes_bid_dollars": price_text(quote.previous_bid),
        "volume_24h_fp": count_text(quote.volume_24h),
        "volume_fp": count_text(quote.volume),
        "yes_ask_dollars": price_text(quote.ask),
        "yes_ask_size_fp": count_text(quote.ask_size),
        "yes_bid_dollars": price_text(quote.bid),
        "yes_bid_size_fp": count_text(quote.bid_size),
    }


def _result(row: Market) -> dict[str, Any]:
    found: dict[str, Any] = {"expiration_value": row.expiration_value, "result": row.result}
    if row.settlement_value is not None:
        found["settlement_value_dollars"] = price_text(row.settlement_value)
    return found


def book(bids: list[tuple[int, int]], asks: list[tuple[int, int]], depth: int = 0) -> dict[str, Any]:
    """Return both sides given at YES prices: bids only, ascending, the best last, NO bids at NO prices."""
    yes = sorted(bids)
    no = sorted((DOLLAR - price, count) for price, count in asks)
    return {"no_dollars": _levels(no[-depth:]), "yes_dollars": _levels(yes[-depth:])}


def _levels(levels: list[tuple[int, int]]) -> list[list[str]]:
    return [[price_text(price), count_text(count)] for price, count in levels]


def trade(row: Trade) -> dict[str, Any]:
    """Return one public trade."""
    side = "yes" if row.taker_is_bid else "no"
    return {
        "count_fp": count_text(row.count),
        "created_time": micros_text(row.ts_us),
        "is_block_trade": False,
        "no_price_dollars": price_text(DOLLAR - row.price),
        "taker_book_side": "bid" if row.taker_is_bid else "ask",
        "taker_outcome_side": side,
        "taker_side": side,
        "ticker": row.ticker,
        "trade_id": row.trade_id,
        "yes_price_dollars": price_text(row.price),
    }


def candle(row: Candle) -> dict[str, Any]:
    """Return one candle; the prices of a period without a trade are null but for the previous one."""
    return {
        "end_period_ts": row.end_s,
        "open_interest_fp": count_text(row.open_interest),
        "price": {
            **(UNTRADED if row.price is None else _ohlc(row.price)),
            "mean_dollars": _maybe(row.mean),
            "previous_dollars": _maybe(row.previous),
        },
        "volume_fp": count_text(row.volume),
        "yes_ask": _ohlc(row.ask),
        "yes_bid": _ohlc(row.bid),
    }


def _ohlc(row: Ohlc) -> dict[str, str]:
    return {
        "close_dollars": price_text(row.close),
        "high_dollars": price_text(row.high),
        "low_dollars": price_text(row.low),
        "open_dollars": price_text(row.open),
    }


def _maybe(price: int | None) -> str | None:
    return None if price is None else price_text(price)
