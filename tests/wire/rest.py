"""Bodies of the REST API, written by us from the exchange's field tables; tickers, ids and values are our own."""

from __future__ import annotations

from typing import Any

TICKER = "KXSNOWOSLO-26DEC01-T5"
ORDER_ID = "0d9f1f0e-7a51-4b8c-9a55-0c5b5a0f7d01"
OUR_ID = "5b0a4f3e-1c9d-4b7a-8a60-3f1d2c4b5a69"

STATUS = {
    "exchange_active": True,
    "trading_active": False,
    "exchange_estimated_resume_time": "2026-12-03T10:00:00Z",
    "exchange_index_statuses": [
        {"exchange_index": 0, "description": "Default", "exchange_active": True, "trading_active": False},
        {"exchange_index": 1, "description": "Combos", "exchange_active": True, "trading_active": True},
    ],
}

MARKET: dict[str, Any] = {
    "ticker": TICKER,
    "event_ticker": "KXSNOWOSLO-26DEC01",
    "market_type": "binary",
    "yes_sub_title": "More than 5 cm",
    "no_sub_title": "5 cm or less",
    "created_time": "2026-11-20T08:00:00.120845Z",
    "open_time": "2026-11-20T09:00:00Z",
    "close_time": "2026-12-01T22:59:00.1Z",
    "latest_expiration_time": "2026-12-08T22:59:00Z",
    "settlement_timer_seconds": 1800,
    "status": "active",
    "yes_bid_dollars": "0.3100",
    "yes_bid_size_fp": "12.50",
    "yes_ask_dollars": "0.3300",
    "yes_ask_size_fp": "40.00",
    "last_price_dollars": "0.3200",
    "previous_price_dollars": "0.3000",
    "volume_fp": "1520.25",
    "volume_24h_fp": "77.00",
    "open_interest_fp": "640.00",
    "result": "",
    "can_close_early": True,
    "floor_strike": 5,
    "rules_primary": "If more than 5 cm fall, the market resolves to Yes.",
    "price_level_structure": "tapered_deci_cent",
    "price_ranges": [
        {"start": "0.0000", "end": "0.1000", "step": "0.0010"},
        {"start": "0.1000", "end": "0.9000", "step": "0.0100"},
        {"start": "0.9000", "end": "1.0000", "step": "0.0010"},
    ],
    "exchange_index": 0,
    "a_key_of_next_year": {"whatever": [1, 2, 3]},
}

ORDER: dict[str, Any] = {
    "order_id": ORDER_ID,
    "client_order_id": OUR_ID,
    "ticker": TICKER,
    "side": "yes",
    "action": "sell",  # contradicts what follows, as real rows do
    "outcome_side": "yes",
    "book_side": "bid",
    "type": "limit",
    "status": "resting",
    "yes_price_dollars": "0.3100",
    "no_price_dollars": "0.6900",
    "fill_count_fp": "4.00",
    "remaining_count_fp": "6.00",
    "initial_count_fp": "10.00",
    "taker_fees_dollars": "0.010000",
    "maker_fees_dollars": "0.002500",
    "taker_fill_cost_dollars": "0.310000",
    "maker_fill_cost_dollars": "0.930000",
    "created_time": "2026-11-22T14:00:00.866753Z",
    "last_update_time": "2026-11-22T14:00:30.1Z",
    "expiration_time": None,
    "subaccount_number": None,
}

ACK: dict[str, Any] = {
    "order_id": ORDER_ID,
    "client_order_id": OUR_ID,
    "fill_count": "4.00",
    "remaining_count": "6.00",
    "average_fill_price": "0.3100",
    "average_fee_paid": "0.0150",
    "ts_ms": 1_795_356_000_123,
}

FILL: dict[str, Any] = {
    "fill_id": "c2b7",
    "trade_id": "c2b7",
    "order_id": ORDER_ID,
    "ticker": TICKER,
    "market_ticker": TICKER,
    "outcome_side": "no",
    "book_side": "ask",
    "count_fp": "2.50",
    "yes_price_dollars": "0.3300",
    "no_price_dollars": "0.6700",
    "is_taker": True,
    "created_time": "2026-11-22T14:00:00.123456Z",
    "fee_cost": "0.038700",
    "ts": 1_795_356_000,
}

POSITION: dict[str, Any] = {
    "ticker": TICKER,
    "exchange_index": 0,
    "total_traded_dollars": "3.600000",
    "position_fp": "-6.00",
    "market_exposure_dollars": "3.600000",
    "realized_pnl_dollars": "0.400000",
    "fees_paid_dollars": "0.100800",
    "last_updated_ts": "2026-11-22T13:40:00.1Z",
}

BALANCE = {
    "balance": 12_345,
    "balance_dollars": "123.4567",
    "portfolio_value": 500,
    "updated_ts": 1_795_356_000,
    "balance_breakdown": [{"exchange_index": 0, "balance": "123.4567"}],
}

LIMITS = {
    "usage_tier": "basic",
    "read": {"refill_rate": 200, "bucket_capacity": 600},
    "write": {"refill_rate": 100, "bucket_capacity": 100},
    "grants": [],
}

GENERATED = {"api_key_id": "k-77", "key_type": "ed25519", "private_key": "-----BEGIN PRIVATE KEY-----\nCANARY\n"}


def refused(code: str, details: str | None = None) -> dict[str, Any]:
    """The usual shape of an error."""
    inner = {"code": code, "message": code} | ({} if details is None else {"details": details})
    return {"error": inner}
