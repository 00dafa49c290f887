"""An exchange's catalogue over HTTP, small enough to be read: lists, pages, cursors and their faults.

Shapes and rules are those of the exchange's documentation (series unpaged, events ≤ 200, markets ≤ 1,000 a
page, `""` ends the cursor, an unknown cursor gives page one again).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

FILTERS = {
    "unopened": {"initialized"},
    "open": {"active"},
    "paused": {"inactive"},
    "closed": {"closed", "determined", "disputed", "amended"},
    "settled": {"finalized"},
}


def series(ticker: str, **changes: Any) -> dict[str, Any]:
    return {
        "ticker": ticker,
        "frequency": "daily",
        "title": f"Series {ticker}",
        "category": "Climate and Weather",
        "categories": ["Climate and Weather"],
        "tags": ["Daily temperature"],
        "settlement_sources": [],
        "contract_url": "",
        "contract_terms_url": "",
        "fee_type": "quadratic",
        "fee_multiplier": 1,
        "additional_prohibitions": [],
        "last_updated_ts": "2026-11-01T12:00:00Z",
        "exchange_index": 0,
    } | changes


def event(ticker: str, series_ticker: str, **changes: Any) -> dict[str, Any]:
    return {
        "event_ticker": ticker,
        "series_ticker": series_ticker,
        "sub_title": "On Nov 25, 2026",
        "title": f"Event {ticker}",
        "collateral_return_type": "MECNET",
        "mutually_exclusive": True,
        "category": "Climate and Weather",
        "strike_date": "2026-11-26T04:59:00Z",
        "settlement_sources": [],
        "last_updated_ts": "2026-11-22T05:00:00Z",
        "exchange_index": 0,
    } | changes


def market(ticker: str, event_ticker: str, **changes: Any) -> dict[str, Any]:
    return {
        "ticker": ticker,
        "event_ticker": event_ticker,
        "market_type": "binary",
        "title": "Will the high temp be >52°?",
        "subtitle": "53° or above",
        "yes_sub_title": "53° or above",
        "no_sub_title": "52° or below",
        "created_time": "2026-11-21T14:00:03.120845Z",
        "updated_time": "2026-11-22T05:00:00.31286Z",
        "open_time": "2026-11-21T15:00:00Z",
        "close_time": "2099-11-26T04:59:00Z",
        "expected_expiration_time": "2099-11-26T15:00:00Z",
        "expiration_time": "2099-12-01T04:59:00Z",
        "latest_expiration_time": "2099-12-01T04:59:00Z",
        "settlement_timer_seconds": 3600,
        "status": "active",
        "notional_value_dollars": "1.0000",
        "yes_bid_dollars": "0.4900",
        "yes_bid_size_fp": "120.00",
        "yes_ask_dollars": "0.5000",
        "yes_ask_size_fp": "75.50",
        "no_bid_dollars": "0.5000",
        "no_ask_dollars": "0.5100",
        "last_price_dollars": "0.5000",
        "previous_yes_bid_dollars": "0.4400",
        "previous_yes_ask_dollars": "0.4600",
        "previous_price_dollars": "0.4500",
        "volume_fp": "33896.00",
        "volume_24h_fp": "5120.55",
        "open_interest_fp": "20422.00",
        "result": "",
        "can_close_early": True,
        "expiration_value": "",
        "strike_type": "greater",
        "floor_strike": 52,
        "rules_primary": "If it is above 52°F, the market resolves to Yes.",
        "rules_secondary": "",
        "price_level_structure": "linear_cent",
        "price_ranges": [{"start": "0.0000", "end": "1.0000", "step": "0.0100"}],
        "settlement_bounds_type": "default",
        "exchange_index": 0,
    } | changes


@dataclass
class Listing:
    """What the exchange lists now, what it was asked, and how it misbehaves."""

    series: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    markets: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    page_rows: int = 1_000
    refusals: list[int] = field(default_factory=list)  # statuses of the next answers
    loops: bool = False  # every cursor leads to page one, as one the exchange does not know
    url: str = ""

    def add(self, *rows: dict[str, Any]) -> None:
        for row in rows:
            if "event_ticker" in row and "ticker" in row:
                self.markets[row["ticker"]] = row
            elif "event_ticker" in row:
                self.events[row["event_ticker"]] = row
            else:
                self.series[row["ticker"]] = row

    def answer(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        kind = path.rsplit("/", 1)[-1]
        self.asked.append((kind, query))
        if kind == "series":
            return {"series": self._changed(self.series, query, "last_updated_ts")}
        if kind == "events":
            return self._page("events", self._changed(self.events, query, "last_updated_ts"), query, 200)
        return self._page("markets", self._markets(query), query, 1_000)

    def asked_for(self, kind: str) -> list[dict[str, str]]:
        return [query for name, query in self.asked if name == kind]

    def _markets(self, query: dict[str, str]) -> list[dict[str, Any]]:
        found = self._changed(self.markets, query, "updated_time")
        if status := query.get("status"):
            found = [row for row in found if row["status"] in FILTERS[status]]
        if tickers := query.get("tickers"):
            found = [row for row in found if row["ticker"] in tickers.split(",")]
        if query.get("mve_filter") == "exclude":
            found = [row for row in found if not row["ticker"].startswith("KXMVE")]
        return found

    def _changed(self, rows: dict[str, dict[str, Any]], query: dict[str, str], name: str) -> list[dict[str, Any]]:
        since = int(query.get("min_updated_ts", 0))
        return [row for row in rows.values() if datetime.fromisoformat(row[name]).timestamp() >= since]

    def _page(self, kind: str, rows: list[dict[str, Any]], query: dict[str, str], most: int) -> dict[str, Any]:
        size = min(int(query["limit"]), self.page_rows, most)
        start = 0 if self.loops else int(query.get("cursor") or 0)
        more = start + size < len(rows)
        cursor = f"{len(self.asked)}" if self.loops else str(start + size)
        return {kind: rows[start : start + size], "cursor": cursor if more or self.loops else ""}


@contextmanager
def listing_served() -> Iterator[Listing]:
    """Serve an empty listing on loopback; its `url` is that of the REST API."""
    listing = Listing()

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or the body, a second write, waits 40 ms for the head's receipt

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            status = listing.refusals.pop(0) if listing.refusals else 200
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            body = listing.answer(parts.path, query) if status == 200 else {"error": {"code": "x", "message": "x"}}
            encoded = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def log_message(self, *args: Any) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    listing.url = f"http://127.0.0.1:{server.server_port}/trade-api/v2"
    try:
        yield listing
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
