"""What the exchange says of a series, an event or a market, as the values of a row's columns.

Values stand in the order of `rows.COLUMNS`, quotes in that of `rows.QUOTE_COLUMNS`: prices in $0.0001, counts in 0.01
contract. What cannot be represented is left out, never rounded. Source: Kalshi trade API v2, `GET /series`,
`GET /events`, `GET /markets`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from markets import rows
from markets.kalshi.messages import EventBody, MarketBody, SeriesBody
from markets.kalshi.prices import NotRepresentable, to_count_units, to_price_units
from markets.models import Event, Market, Series, search_words

REPLAY = "Replay"  # category of the series under which the local exchange lists what it replays


@dataclass(frozen=True, slots=True)
class Parents:
    """What a market's row needs of its event and series; empty as long as they are not known."""

    series_ticker: str = ""
    event_title: str = ""
    category: str = ""


def series_values(row: SeriesBody) -> rows.Values:
    """Return a series' columns."""
    return _in_order(
        Series,
        title=row.title,
        category=row.category,
        tags=list(row.tags),
        frequency=row.frequency,
        fee_type=row.fee_type,
        fee_multiplier=row.fee_multiplier,
    )


def event_values(row: EventBody) -> rows.Values:
    """Return an event's columns."""
    return _in_order(
        Event,
        series_ticker=row.series_ticker,
        title=row.title,
        sub_title=row.sub_title,
        category=row.category,
        mutually_exclusive=row.mutually_exclusive,
        fee_type_override=row.fee_type_override or "",
        fee_multiplier_override=row.fee_multiplier_override,
        strike_at=row.strike_at,
        exchange_index=row.exchange_index,
    )


def market_values(row: MarketBody, parents: Parents) -> rows.Values:
    """Return a market's columns without its quotes."""
    return _in_order(
        Market,
        event_ticker=row.event_ticker,
        series_ticker=parents.series_ticker,
        title=row.title,
        subtitle=row.subtitle,
        yes_sub_title=row.yes_sub_title,
        no_sub_title=row.no_sub_title,
        search_text=_search_text(row, parents),
        status=row.status,
        open_at=row.open_at,
        close_at=row.close_at,
        expected_expiration_at=row.expected_expiration_at,
        can_close_early=row.can_close_early,
        price_level_structure=row.price_level_structure,
        price_ranges=_ranges(row),
        rules_primary=row.rules_primary,
        rules_secondary=row.rules_secondary,
        result=row.result,
        settlement_value=None if row.settlement_value is None else _price(row.settlement_value),
        exchange_index=row.exchange_index,
        fee_waiver_until=row.fee_waiver_until,
        is_replay=parents.category == REPLAY,
    )


def market_quotes(row: MarketBody) -> rows.Values:
    """Return a market's quotes; nobody bidding (0), nobody asking (1) and never traded (0) are None."""
    bid = _price(row.yes_bid) or None
    ask = None if row.yes_ask >= 1 else _price(row.yes_ask)
    quotes = {
        "yes_bid": bid,
        "yes_ask": ask,
        "yes_bid_size": None if bid is None else _count(row.yes_bid_size),
        "yes_ask_size": None if ask is None else _count(row.yes_ask_size),
        "last_price": _price(row.last_price) or None,
        "previous_price": _price(row.previous_price) or None,
        "volume": _count(row.volume),
        "volume_24h": _count(row.volume_24h),
        "open_interest": _count(row.open_interest),
    }
    return tuple(quotes[name] for name in rows.QUOTE_COLUMNS)


def _in_order(model: type[Any], **values: Any) -> rows.Values:
    return tuple(_storable(values[name]) for name in rows.COLUMNS[model])


def _storable(value: Any) -> Any:
    """Return a value without NUL, which PostgreSQL keeps in no text: one title must not stop a whole page."""
    if isinstance(value, str):
        return value.replace("\0", "")
    return [_storable(one) for one in value] if isinstance(value, list) else value


def _search_text(row: MarketBody, parents: Parents) -> str:
    texts = (row.ticker, parents.event_title, row.title, row.subtitle, row.yes_sub_title)
    return " ".join(dict.fromkeys(search_words(" ".join(texts))))


def _ranges(row: MarketBody) -> list[list[int]]:
    """Return the grid; one that cannot be represented is empty, so that no order has a price on it."""
    try:
        return [list(band) for band in row.bands]
    except NotRepresentable:
        return []


def _price(price: Decimal) -> int | None:
    try:
        return to_price_units(price)
    except NotRepresentable:
        return None


def _count(count: Decimal) -> int:
    try:
        return to_count_units(count)
    except NotRepresentable:
        return 0
