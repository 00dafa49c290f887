"""Asks an exchange that runs in another process for everything it shows, so that the judge hears it too."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import websocket

from tests.markets.sandbox.conformance import Judge
from tests.markets.sandbox.peer import PREFIX, Peer

LISTS = (
    "/exchange/status",
    "/exchange/schedule",
    "/exchange/user_data_timestamp",
    "/historical/cutoff",
    "/account/limits",
    "/account/endpoint_costs",
    "/account/api_usage_level/volume_progress",
    "/api_keys",
    "/series",
    "/events",
    "/events/multivariate",
    "/markets",
    "/markets/trades",
    "/portfolio/balance",
    "/portfolio/positions",
    "/portfolio/fills",
    "/portfolio/orders",
    "/portfolio/order_groups",
    "/portfolio/settlements",
    "/portfolio/summary/total_resting_order_value",
    "/portfolio/subaccounts/balances",
)
CHANNELS = ["orderbook_delta", "trade", "ticker", "fill", "user_orders", "market_positions"]
MOST_MARKETS = 8  # Basic allows sixty reads at once; what is looked at one by one stays within that
FRAMES = 400
SECONDS = 0.5


def sample(described: Path, judge: Judge) -> int:
    """Read all lists, some markets and some frames as the member of a credentials file; return how much was judged."""
    facts = json.loads(described.read_text())
    pem = Path(facts["private_key_file"]).read_text()
    peer = Peer.from_pem(facts["rest_url"].removesuffix(PREFIX), facts["key_id"], pem, heard=judge.hear)
    for path in LISTS:
        peer.call("GET", path)
    rows = peer.get("/markets", limit=MOST_MARKETS, status="open", mve_filter="exclude")["markets"]
    for row in rows:
        peer.call("GET", f"/markets/{row['ticker']}")
        peer.call("GET", f"/events/{row['event_ticker']}", with_nested_markets="true")
        peer.call("GET", f"/markets/{row['ticker']}/orderbook")
    tickers = [row["ticker"] for row in rows]
    peer.call("GET", "/markets/orderbooks", tickers=tickers)
    now = int(time.time())
    peer.call(
        "GET",
        "/markets/candlesticks",
        market_tickers=",".join(tickers),
        start_ts=now - 3600,
        end_ts=now,
        period_interval=1,
    )
    return len(LISTS) + 3 + 3 * len(rows) + _listen(peer, tickers)


def _listen(peer: Peer, tickers: list[str]) -> int:
    """Follow some markets for a moment and return how many frames came."""
    if not tickers:
        return 0
    socket = peer.connect()
    asked: dict[str, Any] = {"channels": CHANNELS, "market_tickers": tickers, "send_initial_snapshot": True}
    socket.send("subscribe", **asked)
    until = time.monotonic() + SECONDS
    socket.raw.settimeout(SECONDS)
    try:
        while len(socket.frames) < FRAMES and time.monotonic() < until:
            socket.next()
    except websocket.WebSocketTimeoutException:
        pass
    socket.close()
    return len(socket.frames)
