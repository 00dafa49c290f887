"""What anybody may read: status, series, events, markets, books, trades, candles; filters, pages and refusals."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests

from markets.sandbox.numbers import SECOND
from tests.markets.sandbox.conformance import Judge
from tests.markets.sandbox.conftest import HOUR_US, House
from tests.markets.sandbox.peer import PREFIX, Peer


@pytest.fixture
def public(house: House, judge: Judge) -> Any:
    """Return a function that reads without a signature."""

    def read(path: str, **params: Any) -> requests.Response:
        answer = requests.get(f"{house.url}{PREFIX}{path}", params=params, timeout=5, allow_redirects=False)
        judge.overhear("GET", path, answer)
        return answer

    return read


def tickers_of(answer: requests.Response) -> list[str]:
    return [market["ticker"] for market in answer.json()["markets"]]


def test_status_tells_of_every_shard(public: Any) -> None:
    body = public("/exchange/status").json()

    assert (body["exchange_active"], body["trading_active"]) == (True, True)
    assert [shard["exchange_index"] for shard in body["exchange_index_statuses"]] == [0, 1, 2, 3]


def test_status_tells_of_a_pause(house: House, public: Any) -> None:
    house.do(house.venue.exchange.pause_trading, 0)
    paused = public("/exchange/status").json()
    house.do(house.venue.exchange.resume_trading, 0)

    assert (paused["exchange_active"], paused["trading_active"]) == (True, False)
    assert [shard["trading_active"] for shard in paused["exchange_index_statuses"]] == [False, True, True, True]


def test_the_week_has_a_pause_on_thursday(public: Any) -> None:
    week = public("/exchange/schedule").json()["schedule"]["standard_hours"][0]

    assert week["thursday"] == [
        {"open_time": "00:00", "close_time": "03:00"},
        {"open_time": "05:00", "close_time": "00:00"},
    ]
    assert week["friday"] == [{"open_time": "00:00", "close_time": "00:00"}]


def test_freshness_of_reads_is_a_time(public: Any) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", public("/exchange/user_data_timestamp").json()["as_of_time"])
    assert set(public("/historical/cutoff").json()) == {
        "market_positions_last_updated_ts",
        "market_settled_ts",
        "orders_updated_ts",
        "trades_created_ts",
    }


def test_costs_are_those_that_differ_from_the_default(public: Any) -> None:
    body = public("/account/endpoint_costs").json()

    assert body["default_cost"] == 10
    assert {"cost": 2, "method": "DELETE", "path": "/trade-api/v2/portfolio/events/orders/:order_id"} in body[
        "endpoint_costs"
    ]


def test_series_are_filtered_by_exact_category_and_by_tag(house: House, public: Any) -> None:
    house.market(series="KXWEATHERTEST", category="Weather of tests")

    assert [row["ticker"] for row in public("/series", category="Weather of tests").json()["series"]] == [
        "KXWEATHERTEST"
    ]
    assert public("/series", category="weather of tests").json()["series"] == []
    one = public("/series/KXWEATHERTEST", include_volume="true").json()["series"]
    assert (one["fee_type"], one["fee_multiplier"], one["volume_fp"]) == ("quadratic", 1, "0.00")
    assert public("/series/KXNOBODY").status_code == 404


def test_events_carry_their_markets_beside_inside_or_not_at_all(house: House, public: Any) -> None:
    ticker = house.market(series="KXEVENTTEST", event="KXEVENTTEST-1")

    beside = public("/events/KXEVENTTEST-1").json()
    inside = public("/events/KXEVENTTEST-1", with_nested_markets="true").json()
    without = public("/events/KXEVENTTEST-1", exclude_markets="true").json()

    assert ([market["ticker"] for market in beside["markets"]], "markets" in beside["event"]) == ([ticker], False)
    assert (inside["markets"], [market["ticker"] for market in inside["event"]["markets"]]) == ([], [ticker])
    assert (without["markets"], "markets" in without["event"]) == ([], False)
    assert public("/events/KXNOBODY").status_code == 404
    assert public("/events/KXEVENTTEST-1/metadata").json()["market_details"][0]["market_ticker"] == ticker


def test_an_event_matches_a_status_if_any_of_its_markets_does(house: House, public: Any) -> None:
    house.market(series="KXSTATUSTEST", event="KXSTATUSTEST-1")
    closed = house.market(series="KXSTATUSTEST", event="KXSTATUSTEST-1")
    house.do(house.venue.exchange.move_close, closed, house.venue.now_us())

    for status in ("open", "closed"):
        found = public("/events", status=status, series_ticker="KXSTATUSTEST").json()["events"]
        assert [event["event_ticker"] for event in found] == ["KXSTATUSTEST-1"]
    assert public("/events", status="settled", series_ticker="KXSTATUSTEST").json()["events"] == []


def test_events_and_series_are_found_by_ticker_close_and_change(house: House, public: Any) -> None:
    house.market(series="KXFOUND", event="KXFOUND-1")
    house.market(series="KXFOUND", event="KXFOUND-2", close_us=house.venue.now_us() + 48 * HOUR_US)
    now = house.venue.now_us() // 1_000_000

    def found(**params: Any) -> list[str]:
        rows = public("/events", series_ticker="KXFOUND", **params).json()["events"]
        return [row["event_ticker"] for row in rows]

    assert found() == ["KXFOUND-2", "KXFOUND-1"]
    assert found(tickers="KXFOUND-1,KXNOBODY") == ["KXFOUND-1"]
    assert found(min_close_ts=now + 47 * 3600) == ["KXFOUND-2"]
    assert found(min_updated_ts=now - 60) == ["KXFOUND-2", "KXFOUND-1"]
    assert found(min_updated_ts=now + 60) == []
    changed = public("/series", min_updated_ts=now - 60).json()["series"]
    assert "KXFOUND" in [row["ticker"] for row in changed]
    assert public("/series", min_updated_ts=now + 60).json()["series"] == []


def test_a_market_without_quotes_shows_no_bid_as_nothing_and_no_ask_as_a_dollar(house: House, public: Any) -> None:
    body = public(f"/markets/{house.market()}").json()["market"]

    assert (body["yes_bid_dollars"], body["yes_bid_size_fp"], body["no_ask_dollars"]) == ("0.0000", "0.00", "1.0000")
    assert (body["yes_ask_dollars"], body["yes_ask_size_fp"], body["no_bid_dollars"]) == ("1.0000", "0.00", "0.0000")
    assert body["last_price_dollars"] == "0.0000"


def test_a_market_shows_its_best_prices_on_both_legs(house: House, public: Any, desk: Peer, ticker: str) -> None:
    desk.create(ticker, "bid", "0.4800", "10.00")
    desk.create(ticker, "ask", "0.5100", "7.50")

    body = public(f"/markets/{ticker}").json()["market"]

    assert (body["yes_bid_dollars"], body["no_ask_dollars"], body["yes_bid_size_fp"]) == ("0.4800", "0.5200", "10.00")
    assert (body["yes_ask_dollars"], body["no_bid_dollars"], body["yes_ask_size_fp"]) == ("0.5100", "0.4900", "7.50")


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("unopened", "initialized"),
        ("open", "active"),
        ("paused", "inactive"),
        ("closed", "closed"),
        ("settled", "finalized"),
    ],
)
def test_the_filter_has_its_own_words_for_a_status(house: House, public: Any, status: str, shown: str) -> None:
    exchange, now = house.venue.exchange, house.venue.now_us()
    ahead = {"open_us": now + HOUR_US, "close_us": now + 2 * HOUR_US}
    listed = house.market(event="KXWORDS-1", series="KXWORDS", **(ahead if shown == "initialized" else {}))
    if shown == "inactive":
        house.do(exchange.pause_market, listed)
    elif shown == "closed":
        house.do(exchange.move_close, listed, now)
    elif shown == "finalized":
        house.do(exchange.determine, listed, "yes")
        house.do(exchange.settle, listed)

    found = public("/markets", status=status, series_ticker="KXWORDS").json()["markets"]

    assert listed in [market["ticker"] for market in found]
    assert {market["status"] for market in found} == {shown}


@pytest.mark.parametrize("status", ["active", "finalized", "initialized", "nonsense"])
def test_any_other_word_for_a_status_is_refused(public: Any, status: str) -> None:
    refused = public("/markets", status=status)

    assert (refused.status_code, refused.json()) == (
        400,
        {"error": {"code": "bad_request", "message": "bad request", "details": "invalid status filter"}},
    )


def test_a_limit_above_the_maximum_is_refused_in_the_validators_words(public: Any) -> None:
    refused = public("/markets", limit=1001)

    assert (refused.status_code, refused.json()) == (
        400,
        {
            "msg": "Parameter validation failed for GetMarkets: Key: 'GetMarketsParams.Limit' "
            "Error:Field validation for 'Limit' failed on the 'lte' tag"
        },
    )
    assert public("/events", limit=201).status_code == 400
    assert public("/markets", limit="many").status_code == 400


def test_pages_lead_on_to_an_empty_cursor_and_garbage_leads_to_page_one(house: House, public: Any) -> None:
    listed = [house.market(series="KXPAGES", event="KXPAGES-1") for _ in range(5)]

    first = public("/markets", limit=2, series_ticker="KXPAGES")
    second = public("/markets", limit=2, series_ticker="KXPAGES", cursor=first.json()["cursor"])
    third = public("/markets", limit=2, series_ticker="KXPAGES", cursor=second.json()["cursor"])
    garbage = public("/markets", limit=2, series_ticker="KXPAGES", cursor="no cursor at all")

    assert tickers_of(first) + tickers_of(second) + tickers_of(third) == listed[::-1]
    assert third.json()["cursor"] == ""
    assert (garbage.status_code, tickers_of(garbage)) == (200, tickers_of(first))


def test_markets_are_found_by_ticker_event_and_change(house: House, public: Any) -> None:
    first = house.market(series="KXFIND", event="KXFIND-1")
    second = house.market(series="KXFIND", event="KXFIND-2")
    now = house.venue.now_us() // SECOND

    assert tickers_of(public("/markets", tickers=f"{first},{second},KXNOBODY")) == [second, first]
    assert tickers_of(public("/markets", event_ticker="KXFIND-1")) == [first]
    assert second in tickers_of(public("/markets", min_updated_ts=now - 60, limit=1000))
    assert tickers_of(public("/markets", min_updated_ts=now + 60)) == []


def test_combos_can_be_left_out_or_asked_for_alone(house: House, public: Any) -> None:
    combo = house.market(series="KXMVETEST", event="KXMVETEST-1")

    assert combo in tickers_of(public("/markets", mve_filter="only", limit=1000))
    assert combo not in tickers_of(public("/markets", mve_filter="exclude", limit=1000))
    events = public("/events").json()["events"]
    assert "KXMVETEST-1" not in [event["event_ticker"] for event in events]


@pytest.mark.parametrize(
    "params",
    [
        {"min_created_ts": 1, "status": "closed"},
        {"max_close_ts": 1, "status": "open"},
        {"min_settled_ts": 1, "status": "open"},
        {"min_updated_ts": 1, "status": "open"},
        {"min_updated_ts": 1, "event_ticker": "KXFIND-1"},
        {"min_updated_ts": 1, "series_ticker": "KXFIND"},
        {"min_updated_ts": 1, "min_close_ts": 1},
    ],
)
def test_filters_that_exclude_each_other_are_refused(public: Any, params: dict[str, Any]) -> None:
    assert public("/markets", **params).status_code == 400


def test_filters_that_may_stand_together_are_taken(public: Any) -> None:
    for params in (
        {"min_updated_ts": 1, "mve_filter": "exclude", "series_ticker": "KXFIND"},
        {"max_close_ts": 1, "status": "closed"},
        {"min_created_ts": 1, "status": "open"},
    ):
        assert public("/markets", **params).status_code == 200


def test_a_book_holds_bids_only_ascending_with_the_best_last(public: Any, desk: Peer, ticker: str) -> None:
    for price, count in (("0.4800", "10.00"), ("0.4500", "60.00"), ("0.4900", "120.00")):
        desk.create(ticker, "bid", price, count)
    for price, count in (("0.5000", "75.50"), ("0.5400", "40.00")):
        desk.create(ticker, "ask", price, count)

    assert public(f"/markets/{ticker}/orderbook").json() == {
        "orderbook_fp": {
            "no_dollars": [["0.4600", "40.00"], ["0.5000", "75.50"]],
            "yes_dollars": [["0.4500", "60.00"], ["0.4800", "10.00"], ["0.4900", "120.00"]],
        }
    }
    assert public(f"/markets/{ticker}/orderbook", depth=1).json()["orderbook_fp"] == {
        "no_dollars": [["0.5000", "75.50"]],
        "yes_dollars": [["0.4900", "120.00"]],
    }
    assert public(f"/markets/{ticker}/orderbook", depth=101).status_code == 400
    assert public("/markets/KXNOBODY/orderbook").status_code == 404


def test_many_books_come_by_a_repeated_parameter(house: House, public: Any, desk: Peer) -> None:
    first, second = house.market(), house.market()
    desk.create(first, "bid", "0.4800", "10.00")

    found = public("/markets/orderbooks", tickers=[first, second])

    assert found.json()["orderbooks"] == [
        {"ticker": first, "orderbook_fp": {"no_dollars": [], "yes_dollars": [["0.4800", "10.00"]]}},
        {"ticker": second, "orderbook_fp": {"no_dollars": [], "yes_dollars": []}},
    ]
    assert public("/markets/orderbooks").status_code == 400
    assert public("/markets/orderbooks", tickers=["X"] * 101).status_code == 400


def test_trades_come_newest_first_at_the_makers_price(public: Any, desk: Peer, rival: Peer, ticker: str) -> None:
    desk.create(ticker, "bid", "0.4800", "10.00")
    rival.create(ticker, "ask", "0.4700", "4.00")
    rival.create(ticker, "ask", "0.4800", "1.50")

    rows = public("/markets/trades", ticker=ticker).json()["trades"]

    assert [(row["yes_price_dollars"], row["no_price_dollars"], row["count_fp"]) for row in rows] == [
        ("0.4800", "0.5200", "1.50"),
        ("0.4800", "0.5200", "4.00"),
    ]
    assert {(row["taker_book_side"], row["taker_outcome_side"], row["is_block_trade"]) for row in rows} == {
        ("ask", "no", False)
    }
    assert public("/markets/trades", ticker=ticker, is_block_trade="true").json()["trades"] == []


def test_candles_hold_what_was_traded_and_nulls_where_nothing_was(
    house: House, public: Any, desk: Peer, rival: Peer
) -> None:
    ticker = house.market(series="KXCANDLES", event="KXCANDLES-1")
    desk.create(ticker, "bid", "0.4800", "10.00")
    rival.create(ticker, "ask", "0.4800", "4.00")
    now = house.venue.now_us() // SECOND
    span = {"start_ts": now - 60, "end_ts": now + 120, "period_interval": 1}

    one = public(f"/series/KXCANDLES/markets/{ticker}/candlesticks", **span).json()
    many = public("/markets/candlesticks", market_tickers=ticker, **span).json()

    traded = [row for row in one["candlesticks"] if row["volume_fp"] == "4.00"]
    assert [row["price"]["close_dollars"] for row in traded] == ["0.4800"]
    assert many == {"markets": [{"market_ticker": ticker, "candlesticks": one["candlesticks"]}]}
    assert public(f"/series/KXOTHER/markets/{ticker}/candlesticks", **span).status_code == 404
    assert (
        public(f"/series/KXCANDLES/markets/{ticker}/candlesticks", **{**span, "period_interval": 7}).status_code == 400
    )
    assert public(f"/series/KXCANDLES/markets/{ticker}/candlesticks").status_code == 400


def test_a_trailing_slash_is_sent_on_and_an_unknown_path_is_plain_text(public: Any) -> None:
    moved = public("/markets/")
    unknown = public("/nowhere")

    assert (moved.status_code, moved.headers["location"]) == (301, "/trade-api/v2/markets")
    assert (unknown.status_code, unknown.headers["content-type"]) == (404, "text/plain; charset=utf-8")


def test_keys_of_a_body_come_in_alphabetical_order(public: Any, ticker: str) -> None:
    text = public(f"/markets/{ticker}").text

    assert text.startswith('{"market":{"can_close_early":')
    assert ": " not in text.split('"title"')[0]
