"""REST: series, events and markets, with their filters.

Source: Kalshi trade API v2, OpenAPI 3.34.0, and the fact that any status outside the filter's own words is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from markets.sandbox import bodies
from markets.sandbox.catalogue import Event, Market
from markets.sandbox.errors import bad_request
from markets.sandbox.numbers import SECOND
from markets.sandbox.params import Query
from markets.sandbox.refusals import not_found
from markets.sandbox.routes import Call, Route
from markets.sandbox.venue import Venue
from markets.sandbox.web import Answer, answer

STATUSES: dict[str, frozenset[str]] = {
    "unopened": frozenset({"initialized"}),
    "open": frozenset({"active"}),
    "paused": frozenset({"inactive"}),
    "closed": frozenset({"closed", "determined", "disputed", "amended"}),
    "settled": frozenset({"finalized"}),
}
COMBO = "KXMVE"
# Which status filters a family of times may stand beside, and what it looks at.
FAMILIES: dict[str, tuple[frozenset[str], Callable[[Market], int | None]]] = {
    "created": (frozenset({"", "unopened", "open"}), lambda market: market.created_us),
    "close": (frozenset({"", "closed"}), lambda market: market.close_us),
    "settled": (frozenset({"", "settled"}), lambda market: market.settled_us),
    "updated": (frozenset({""}), lambda market: market.updated_us),
}
OTHER_FILTERS = ("event_ticker", "tickers")


# --- series -------------------------------------------------------------------------------------------


def series_list(call: Call) -> Answer:
    """Return every series that passes the filters; there are no pages."""
    query = call.query
    category, tags, since = query.text("category"), set(query.names("tags")), query.moment("min_updated_ts")
    found = [
        row
        for row in call.venue.exchange.series.values()
        if (not category or row.category == category)
        and (not tags or tags & set(row.tags))
        and (since is None or row.updated_us >= since)
    ]
    with_volume = query.flag("include_volume")
    return answer({"series": [_series(call.venue, row.ticker, with_volume) for row in found]})


def one_series(call: Call) -> Answer:
    """Return one series."""
    ticker = call.path["series_ticker"]
    if ticker not in call.venue.exchange.series:
        raise not_found()
    return answer({"series": _series(call.venue, ticker, call.query.flag("include_volume"))})


def _series(venue: Venue, ticker: str, with_volume: bool) -> dict[str, Any]:
    volume = (
        sum(venue.quote(market.ticker).volume for market in venue.markets_of_series(ticker)) if with_volume else None
    )
    return bodies.series(venue.exchange.series[ticker], volume=volume)


# --- events -------------------------------------------------------------------------------------------


def events(call: Call) -> Answer:
    """Return events that are no combos, newest first; one matches a status if any of its markets does."""
    query, venue = call.query, call.venue
    limit = query.limit(200, 200)
    status = query.text("status")
    if status and (status not in STATUSES or status == "paused"):
        raise bad_request("invalid status filter")
    rows = [row for row in reversed(venue.exchange.events.values()) if _event_passes(venue, row, query, status)]
    page, cursor = query.page(rows, lambda row: row.ticker, limit=limit)
    nested = query.flag("with_nested_markets")
    body: dict[str, Any] = {"cursor": cursor, "events": [_event(venue, row, nested) for row in page]}
    if query.flag("with_milestones"):
        body["milestones"] = []
    return answer(body)


def combos(call: Call) -> Answer:
    """Return events of combos, newest first."""
    query, venue = call.query, call.venue
    limit = query.limit(100, 200)
    wanted, tickers = query.text("series_ticker"), query.names("tickers")
    rows = [
        row
        for row in reversed(venue.exchange.events.values())
        if row.series_ticker.startswith(COMBO)
        and wanted in {"", row.series_ticker}
        and (not tickers or row.ticker in tickers)
        and _is_in_collection(venue, row, query.text("collection_ticker"))
    ]
    page, cursor = query.page(rows, lambda row: row.ticker, limit=limit)
    nested = query.flag("with_nested_markets")
    return answer({"cursor": cursor, "events": [_event(venue, row, nested) for row in page]})


def _is_in_collection(venue: Venue, row: Event, collection: str) -> bool:
    markets = venue.markets_of_event(row.ticker)
    return not collection or any(market.details.get("mve_collection_ticker") == collection for market in markets)


def _event_passes(venue: Venue, row: Event, query: Query, status: str) -> bool:
    if row.series_ticker.startswith(COMBO) or query.text("series_ticker") not in {"", row.series_ticker}:
        return False
    if (tickers := query.names("tickers")) and row.ticker not in tickers:
        return False
    since, closing = query.moment("min_updated_ts"), query.moment("min_close_ts")
    if since is not None and row.updated_us < since:
        return False
    markets = venue.markets_of_event(row.ticker)
    if closing is not None and not any(market.close_us >= closing for market in markets):
        return False
    return not status or any(market.status in STATUSES[status] for market in markets)


def one_event(call: Call) -> Answer:
    """Return one event, its markets beside it or inside it."""
    venue = call.venue
    row = venue.exchange.events.get(call.path["event_ticker"])
    if row is None:
        raise not_found()
    nested, without = call.query.flag("with_nested_markets"), call.query.flag("exclude_markets")
    beside = [] if nested or without else _markets(venue, row.ticker)
    return answer({"event": _event(venue, row, nested and not without), "markets": beside})


def event_metadata(call: Call) -> Answer:
    """Return pictures and sources of one event."""
    row = call.venue.exchange.events.get(call.path["event_ticker"])
    if row is None:
        raise not_found()
    picture = "https://example.invalid/images"
    details = [
        {"color_code": "#0AC285", "image_url": f"{picture}/{market.ticker}.webp", "market_ticker": market.ticker}
        for market in call.venue.markets_of_event(row.ticker)
    ]
    found = {
        "featured_image_url": f"{picture}/{row.ticker}-wide.webp",
        "image_url": f"{picture}/{row.ticker}.webp",
        "market_details": details,
        "settlement_sources": bodies.SOURCES,
    }
    named = ("competition", "competition_scope")
    return answer({**found, **{name: row.product_metadata[name] for name in named if name in row.product_metadata}})


def _event(venue: Venue, row: Event, nested: bool) -> dict[str, Any]:
    found = bodies.event(row, venue.exchange.series[row.series_ticker].category)
    if nested:
        found["markets"] = _markets(venue, row.ticker)
    return found


def _markets(venue: Venue, event_ticker: str) -> list[dict[str, Any]]:
    return [bodies.market(row, venue.quote(row.ticker)) for row in venue.markets_of_event(event_ticker)]


# --- markets ------------------------------------------------------------------------------------------


def markets(call: Call) -> Answer:
    """Return markets that pass the filters, newest first."""
    query, venue = call.query, call.venue
    limit = query.limit(100, 1000, low=0)
    passes = _market_filter(venue, query)
    rows = [row for row in reversed(venue.exchange.markets.values()) if passes(row)]
    page, cursor = query.page(rows, lambda row: row.ticker, limit=limit)
    return answer({"cursor": cursor, "markets": [bodies.market(row, venue.quote(row.ticker)) for row in page]})


def _market_filter(venue: Venue, query: Query) -> Callable[[Market], bool]:
    status = query.text("status")
    if status and status not in STATUSES:
        raise bad_request("invalid status filter")
    mve = query.choice("mve_filter", ("only", "exclude"))
    in_time = _time_filter(query, status, mve)
    event_ticker, series_ticker, tickers = (
        query.text("event_ticker"),
        query.text("series_ticker"),
        set(query.names("tickers")),
    )

    def passes(row: Market) -> bool:
        return (
            (not status or row.status in STATUSES[status])
            and (not event_ticker or row.event_ticker == event_ticker)
            and (not tickers or row.ticker in tickers)
            and (not mve or row.ticker.startswith(COMBO) == (mve == "only"))
            and (not series_ticker or venue.series_of(row) == series_ticker)
            and in_time(row)
        )

    return passes


def _time_filter(query: Query, status: str, mve: str) -> Callable[[Market], bool]:
    """Return the test of the one family of times that may be given."""
    bounds = {name: (query.moment(f"min_{name}_ts"), query.moment(f"max_{name}_ts")) for name in FAMILIES}
    given = [name for name, pair in bounds.items() if pair != (None, None)]
    if not given:
        return lambda row: True
    if len(given) > 1:
        raise bad_request("timestamp filters are mutually exclusive")
    name = given[0]
    statuses, moment = FAMILIES[name]
    if status not in statuses:
        raise bad_request(f"{name} timestamp filters cannot be combined with this status filter")
    if name == "updated":
        _check_updated(query, mve)
    low, high = bounds[name]

    def in_time(row: Market) -> bool:
        at = moment(row)
        # Bounds are whole seconds: a market changed within the last second asked for belongs to it.
        return at is not None and (low is None or at >= low) and (high is None or at < high + SECOND)

    return in_time


def _check_updated(query: Query, mve: str) -> None:
    if any(query.text(name) for name in OTHER_FILTERS) or mve == "only":
        raise bad_request("updated timestamp filters cannot be combined with other filters")
    if query.text("series_ticker") and mve != "exclude":
        raise bad_request("series_ticker with an updated timestamp filter requires mve_filter=exclude")


def one_market(call: Call) -> Answer:
    """Return one market."""
    row = call.venue.exchange.market(call.path["ticker"])
    return answer({"market": bodies.market(row, call.venue.quote(row.ticker))})


ROUTES = [
    Route("GET", "/series", "GetSeriesList", series_list),
    Route("GET", "/series/{series_ticker}", "GetSeries", one_series),
    Route("GET", "/events", "GetEvents", events),
    Route("GET", "/events/multivariate", "GetMultivariateEvents", combos),
    Route("GET", "/events/{event_ticker}", "GetEvent", one_event),
    Route("GET", "/events/{event_ticker}/metadata", "GetEventMetadata", event_metadata),
    Route("GET", "/markets", "GetMarkets", markets),
    Route("GET", "/markets/{ticker}", "GetMarket", one_market),
]
