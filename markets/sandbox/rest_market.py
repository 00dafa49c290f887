"""REST: books, trades and candles of markets.

Source: Kalshi trade API v2, OpenAPI 3.34.0: books hold bids only, ascending, the best last.
"""

from __future__ import annotations

from typing import Any

from markets.sandbox import bodies
from markets.sandbox.errors import bad_request, failed_validation
from markets.sandbox.refusals import not_found
from markets.sandbox.routes import Call, Route
from markets.sandbox.venue import Venue
from markets.sandbox.web import Answer, answer

MAX_TICKERS = 100
MAX_TICKER_LENGTH = 200
MAX_CANDLES = 10_000
PERIODS = {1, 60, 1440}


def orderbook(call: Call) -> Answer:
    """Return one book, the best `depth` levels of each side; 0 is all."""
    depth = call.query.number("depth", low=0, high=100) or 0
    ticker = call.venue.exchange.market(call.path["ticker"]).ticker
    return answer({"orderbook_fp": _book(call.venue, ticker, depth)})


def orderbooks(call: Call) -> Answer:
    """Return up to 100 books at once; a ticker nobody knows is left out."""
    tickers = call.query.repeated("tickers")
    if not tickers:
        raise failed_validation("GetMarketOrderbooks", "Tickers", "required")
    if len(tickers) > MAX_TICKERS or any(len(ticker) > MAX_TICKER_LENGTH for ticker in tickers):
        raise failed_validation("GetMarketOrderbooks", "Tickers", "max")
    known = [ticker for ticker in tickers if ticker in call.venue.exchange.markets]
    found = [{"orderbook_fp": _book(call.venue, ticker), "ticker": ticker} for ticker in known]
    return answer({"orderbooks": found})


def _book(venue: Venue, ticker: str, depth: int = 0) -> dict[str, Any]:
    view = venue.view(ticker)
    bids, asks = ([], []) if view is None else (list(view.bids.items()), list(view.asks.items()))
    return bodies.book(bids, asks, depth)


def trades(call: Call) -> Answer:
    """Return public trades, newest first; there are no block trades here."""
    query = call.query
    limit = query.limit(100, 1000, low=0)
    low, high = query.moment("min_ts"), query.moment("max_ts")
    rows = [] if query.maybe_flag("is_block_trade") else call.venue.trades(query.text("ticker"), low, high)
    page, cursor = query.page(rows, lambda row: row.trade_id, limit=limit)
    return answer({"cursor": cursor, "trades": [bodies.trade(row) for row in page]})


def candlesticks(call: Call) -> Answer:
    """Return the candles of one market of a series."""
    venue, ticker = call.venue, call.path["ticker"]
    market = venue.exchange.market(ticker)
    if venue.series_of(market) != call.path["series_ticker"]:
        raise not_found()
    return answer({"candlesticks": _candles(call, ticker), "ticker": ticker})


def candlesticks_of_many(call: Call) -> Answer:
    """Return the candles of up to 100 markets, 10,000 in all."""
    tickers = call.query.names("market_tickers")
    if not tickers or len(tickers) > MAX_TICKERS:
        raise failed_validation("BatchGetMarketCandlesticks", "MarketTickers", "required" if not tickers else "max")
    known = [ticker for ticker in tickers if ticker in call.venue.exchange.markets]
    found = [{"candlesticks": _candles(call, ticker), "market_ticker": ticker} for ticker in known]
    if sum(len(row["candlesticks"]) for row in found) > MAX_CANDLES:
        raise bad_request("too many candlesticks requested")
    return answer({"markets": found})


def _asked(call: Call) -> tuple[int, int, int]:
    """Return start, end and the length of a period in minutes."""
    query = call.query
    start, end, minutes = query.required("start_ts"), query.required("end_ts"), query.required("period_interval")
    if minutes not in PERIODS:
        raise bad_request("invalid period_interval")
    return start, end, minutes


def _candles(call: Call, ticker: str) -> list[dict[str, Any]]:
    start, end, minutes = _asked(call)
    if (end - start) // (60 * minutes) > MAX_CANDLES:
        raise bad_request("too many candlesticks requested")
    latest = call.query.flag("include_latest_before_start")
    found = call.venue.candles(ticker, start_s=start, end_s=end, minutes=minutes, include_latest=latest)
    return [bodies.candle(row) for row in found]


def candlesticks_of_event(call: Call) -> Answer:
    """Return the candles of each market of an event, as far as 10,000 of them together reach."""
    venue, ticker = call.venue, call.path["ticker"]
    event = venue.exchange.events.get(ticker)
    if event is None or event.series_ticker != call.path["series_ticker"]:
        raise not_found()
    start, end, minutes = _asked(call)
    tickers = [market.ticker for market in venue.markets_of_event(ticker)]
    period_s = 60 * minutes
    end = min(end, start + MAX_CANDLES // max(1, len(tickers)) * period_s)
    rows = [venue.candles(name, start_s=start, end_s=end, minutes=minutes) for name in tickers]
    return answer(
        {
            "adjusted_end_ts": end,
            "market_candlesticks": [[bodies.candle(row) for row in found] for found in rows],
            "market_tickers": tickers,
        }
    )


ROUTES = [
    Route("GET", "/markets/trades", "GetTrades", trades),
    Route("GET", "/markets/orderbooks", "GetMarketOrderbooks", orderbooks),
    Route("GET", "/markets/candlesticks", "BatchGetMarketCandlesticks", candlesticks_of_many),
    Route("GET", "/markets/{ticker}/orderbook", "GetMarketOrderbook", orderbook),
    Route("GET", "/series/{series_ticker}/markets/{ticker}/candlesticks", "GetMarketCandlesticks", candlesticks),
    Route(
        "GET",
        "/series/{series_ticker}/events/{ticker}/candlesticks",
        "GetMarketCandlesticksByEvent",
        candlesticks_of_event,
    ),
]
