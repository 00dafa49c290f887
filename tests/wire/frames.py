"""Frames of the WebSocket, written by us from the exchange's field tables; tickers, ids and values are our own."""

from __future__ import annotations

import json
from typing import Any

OSLO = "KXSNOWOSLO-26DEC01-T5"
BERGEN = "KXRAINBERGEN-26DEC01-T9"


def encoded(frame: dict[str, Any]) -> bytes:
    """As it comes over the wire, newline included."""
    return json.dumps(frame).encode() + b"\n"


def subscribed(channel: str, sid: int, command_id: int) -> dict[str, Any]:
    return {"id": command_id, "type": "subscribed", "sending_ts_ms": 1, "msg": {"channel": channel, "sid": sid}}


def ok(command_id: int, sid: int | None = None, seq: int | None = None, tickers: Any = ()) -> dict[str, Any]:
    frame: dict[str, Any] = {"id": command_id, "type": "ok", "msg": {"market_tickers": list(tickers)}}
    return frame | ({} if sid is None else {"sid": sid, "seq": seq})


def snapshot(
    ticker: str, seq: int, *, yes: Any = None, no: Any = None, sid: int = 1, clock: int | None = 10
) -> dict[str, Any]:
    """A side that is None is left out, as the exchange leaves out an empty one."""
    msg: dict[str, Any] = {"market_ticker": ticker, "market_id": "m-1", "clock": clock}
    sides = {"yes_dollars_fp": yes, "no_dollars_fp": no}
    msg |= {name: levels for name, levels in sides.items() if levels is not None}
    return {"type": "orderbook_snapshot", "sid": sid, "seq": seq, "msg": msg}


def delta(
    ticker: str, seq: int, *, price: str = "0.4800", change: str = "5.00", side: str = "yes", sid: int = 1, **more: Any
) -> dict[str, Any]:
    msg = {"market_ticker": ticker, "price_dollars": price, "delta_fp": change, "side": side, "ts_ms": 77, "clock": 11}
    return {"type": "orderbook_delta", "sid": sid, "seq": seq, "sending_ts_ms": 3, "msg": msg | more}


def trade(ticker: str, seq: int, *, sid: int = 2, **more: Any) -> dict[str, Any]:
    msg = {
        "trade_id": f"t-{seq}",
        "market_ticker": ticker,
        "yes_price_dollars": "0.3600",
        "no_price_dollars": "0.6400",
        "count_fp": "2.50",
        "taker_side": "yes",
        "taker_outcome_side": "no",
        "taker_book_side": "ask",
        "is_block_trade": False,
        "ts": 1,
        "ts_ms": 78,
    }
    return {"type": "trade", "sid": sid, "seq": seq, "msg": msg | more}


def lifecycle(ticker: str, seq: int, *, sid: int = 3, event_type: str = "deactivated", **more: Any) -> dict[str, Any]:
    msg = {"market_ticker": ticker, "event_type": event_type}
    return {"type": "market_lifecycle_v2", "sid": sid, "seq": seq, "msg": msg | more}


def error(code: int, text: str, **where: Any) -> dict[str, Any]:
    msg = {name: where.pop(name) for name in ("market_ticker", "market_tickers") if name in where}
    return {"type": "error", "msg": {"code": code, "msg": text} | msg} | where


USER_ORDER = {
    "type": "user_order",
    "sid": 1,
    "msg": {
        "order_id": "o-1",
        "user_id": "u-1",
        "client_order_id": "c-1",
        "ticker": OSLO,
        "exchange_index": 0,
        "status": "resting",
        "side": "yes",
        "is_yes": True,
        "outcome_side": "yes",
        "book_side": "bid",
        "yes_price_dollars": "0.3100",
        "fill_count_fp": "4.00",
        "remaining_count_fp": "6.00",
        "initial_count_fp": "10.00",
        "taker_fill_cost_dollars": "0.000000",
        "maker_fill_cost_dollars": "1.240000",
        "taker_fees_dollars": "0.000000",
        "maker_fees_dollars": "0.001000",
        "created_ts_ms": 1_795_356_000_000,
        "last_updated_ts_ms": 1_795_356_030_123,
        "last_update_reason": "Trade",
    },
}

FILL = {
    "type": "fill",
    "sid": 2,
    "msg": {
        "trade_id": "t-9",
        "order_id": "o-1",
        "client_order_id": "c-1",
        "market_ticker": OSLO,
        "exchange_index": 0,
        "is_taker": False,
        "side": "yes",
        "yes_price_dollars": "0.3100",
        "count_fp": "4.00",
        "fee_cost": "0.001000",
        "action": "buy",
        "ts": 1_795_356_030,
        "ts_ms": 1_795_356_030_123,
        "post_position_fp": "4.00",
        "purchased_side": "yes",
        "outcome_side": "yes",
        "book_side": "bid",
    },
}
