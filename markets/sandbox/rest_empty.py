"""REST: lists of what the local exchange has none of, in the form in which the real one shows them empty.

Source: Kalshi trade API v2, OpenAPI 3.34.0. Nothing moves to the historical tier here, fees are never announced to
change, and nobody puts combos together.
"""

from __future__ import annotations

from markets.sandbox.numbers import CENT, SECOND, count_text
from markets.sandbox.refusals import not_found
from markets.sandbox.routes import Call, Handler, Route
from markets.sandbox.web import Answer, answer

DAY_US = 86_400 * SECOND
HUNDRED_THOUSAND = 100_000
# Which share of the exchange's volume, in 1/100000, earns a usage level and keeps it.
SHARES = {
    "expert": (75, 50),
    "premier": (125, 100),
    "paragon": (250, 200),
    "prime": (500, 400),
    "prestige": (1000, 800),
}


def empty_page(key: str, *, default: int, most: int, low: int = 1) -> Handler:
    """Return a handler of a page without rows; a limit out of bounds is refused all the same."""

    def handle(call: Call) -> Answer:
        call.query.limit(default, most, low=low)
        return answer({"cursor": "", key: []})

    return handle


def empty_list(key: str) -> Handler:
    """Return a handler of a list without rows."""

    def handle(call: Call) -> Answer:
        return answer({key: []})

    return handle


def missing(call: Call) -> Answer:
    """Answer for one thing that does not exist here."""
    raise not_found()


def volume_progress(call: Call) -> Answer:
    """Return the member's own volume of 30 days, and what share of the exchange's each higher level asks for."""
    venue = call.venue
    since = venue.now_us() - 30 * DAY_US
    volume = sum(fill.count for fill in venue.exchange.members[call.member].fills if fill.ts_us >= since)
    everybody = sum(market.volume for market in venue.exchange.markets.values())
    goals = [
        {
            "earn_volume_goal_fp": count_text(everybody * earned // HUNDRED_THOUSAND),
            "keep_volume_goal_fp": count_text(everybody * kept // HUNDRED_THOUSAND),
            "level": level,
        }
        for level, (earned, kept) in SHARES.items()
    ]
    row = {"computed_ts": venue.now_us() // SECOND, "goals": goals, "trailing_30d_volume_fp": count_text(volume)}
    return answer({"volume_progress": [row]})


def subaccount_transfers(call: Call) -> Answer:
    """Return money that moved between sub-accounts, newest first."""
    call.unrestricted()
    limit = call.query.limit(100, 1000)
    member = call.venue.exchange.members[call.member]
    moved = [row for row in reversed(member.transfers) if row.from_index == row.to_index]
    page, cursor = call.query.page(moved, lambda row: row.transfer_id, limit=limit)
    rows = [
        {
            "amount_cents": row.amount // CENT,
            "created_ts": row.ts_us // SECOND,
            "exchange_index": row.from_index,
            "from_subaccount": row.from_subaccount,
            "to_subaccount": row.to_subaccount,
            "transfer_id": row.transfer_id,
        }
        for row in page
    ]
    return answer({"cursor": cursor, "transfers": rows})


def netting(call: Call) -> Answer:
    """Say that nothing is netted between markets."""
    call.unrestricted()
    member = call.venue.exchange.members[call.member]
    rows = [
        {"enabled": False, "exchange_index": 0, "subaccount_number": number} for number in range(member.subaccounts)
    ]
    return answer({"netting_configs": rows})


def _page(path: str, operation: str, key: str, default: int, most: int, scope: str = "", low: int = 1) -> Route:
    return Route("GET", path, operation, empty_page(key, default=default, most=most, low=low), scope)


ROUTES = [
    Route("GET", "/series/fee_changes", "GetSeriesFeeChanges", empty_list("series_fee_change_arr")),
    _page("/events/fee_changes", "GetEventFeeChanges", "event_fee_changes", 100, 1000),
    _page("/multivariate_event_collections", "GetMultivariateEventCollections", "multivariate_contracts", 100, 200),
    _page("/historical/markets", "GetHistoricalMarkets", "markets", 100, 1000, low=0),
    Route("GET", "/historical/markets/{ticker}", "GetHistoricalMarket", missing),
    _page("/historical/trades", "GetTradesHistorical", "trades", 100, 1000, low=0),
    Route(
        "GET",
        "/account/api_usage_level/volume_progress",
        "GetAccountApiUsageLevelVolumeProgress",
        volume_progress,
        "read",
    ),
    Route("GET", "/portfolio/subaccounts/transfers", "GetSubaccountTransfers", subaccount_transfers, "read"),
    Route("GET", "/portfolio/subaccounts/netting", "GetSubaccountNetting", netting, "read"),
]
