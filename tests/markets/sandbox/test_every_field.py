"""What only some markets, events, orders and pauses have: each of these fields is shown once and as it was given."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests

from markets.sandbox.catalogue import Event, FeeType, Market, Series
from markets.sandbox.grid import STRUCTURES
from markets.sandbox.numbers import CENT, MONEY, SECOND
from tests.markets.sandbox.conftest import HOUR_US, House
from tests.markets.sandbox.peer import PREFIX, Peer

LEG = {
    "event_ticker": "KXGAME-1",
    "market_ticker": "KXGAME-1-HOME",
    "side": "yes",
    "yes_settlement_value_dollars": "1.0000",
}
DETAILS: dict[str, Any] = {
    "cap_strike": 60.5,
    "custom_strike": {
        "Associated Events": "KXGAME-1",
        "Associated Market Sides": "yes",
        "Associated Markets": "KXGAME-1-HOME",
    },
    "early_close_condition": "If the game is called off.",
    "floor_strike": 50,
    "functional_strike": "round(x)",
    "is_provisional": True,
    "mve_collection_ticker": "KXMVETEST-R",
    "mve_selected_legs": [LEG],
    "occurrence_datetime": "2026-11-24T04:59:00Z",
    "primary_participant_key": "home",
    "rules_primary": "If both happen.",
    "rules_secondary": "",
    "settlement_bounds_type": "floor",
    "settlement_floor_dollars": "0.1000",
    "strike_type": "between",
}
SCENERY = {"competition": "The League", "competition_scope": "Game", "image": 1}


def post(house: House, path: str, **body: Any) -> Any:
    answer = requests.post(f"{house.url}/__sandbox__/{path}", json=body, timeout=5)
    assert answer.status_code == 200, answer.text
    return answer.json()


def get(house: House, path: str, **params: Any) -> Any:
    answer = requests.get(f"{house.url}{PREFIX}{path}", params=params, timeout=5)
    assert answer.status_code == 200, answer.text
    return answer.json()


def list_one(house: House, name: str, *, period: str = "", **market: Any) -> str:
    """List a series, an event and a market that have every field there is, and return the market's ticker."""
    exchange, now = house.venue.exchange, house.venue.now_us()
    series, event, ticker = name, f"{name}-26NOV", f"{name}-26NOV-A"

    def add() -> None:
        exchange.add_series(
            Series(series, "Everything", "Tests", product_metadata=SCENERY, fee_type=FeeType.WITH_COMBO_MAKER)
        )
        listed = Event(event, series, "Once", sub_title="Then", exchange_index=1, product_metadata=SCENERY)
        listed.strike_us, listed.strike_period = None if period else now + HOUR_US, period
        exchange.add_event(listed)
        exchange.add_market(
            Market(
                ticker=ticker,
                event_ticker=event,
                market_id=exchange.new_id(),
                open_us=now - HOUR_US,
                close_us=now + HOUR_US,
                exchange_index=1,
                price_level_structure="center_deci_edge_centi_cent",
                bands=STRUCTURES["center_deci_edge_centi_cent"],
                fee_waiver_until_us=now + 60 * SECOND,
                details=DETAILS,
                **market,
            )
        )
        exchange.set_event_fee(event, FeeType.WITH_MAKER, 5000)

    house.do(add)
    return ticker


@pytest.fixture(scope="module")
def combo(house: House) -> str:
    """Return a combo that has been paid out."""
    ticker = list_one(house, "KXMVETEST")
    house.do(house.venue.exchange.determine, ticker, "yes")  # it has no timer: it is paid out at once
    return ticker


@pytest.fixture(scope="module")
def plain(house: House) -> str:
    """Return a market with the same fields that is no combo by its name."""
    ticker = list_one(house, "KXEVERYTHING", period="week")
    house.do(house.venue.exchange.determine, ticker, "no")
    return ticker


def shows_everything(market: dict[str, Any], value: str) -> None:
    assert {name: market[name] for name in DETAILS} == DETAILS
    assert market["settlement_value_dollars"] == value
    assert market["settlement_ts"] < market["fee_waiver_expiration_time"]


def test_a_combo_shows_its_legs_in_every_list(house: House, combo: str) -> None:
    only = {"series_ticker": "KXMVETEST"}
    (event,) = get(house, "/events/multivariate", with_nested_markets="true", **only)["events"]
    (market,) = get(house, "/markets", mve_filter="only", **only)["markets"]

    shows_everything(event["markets"][0], "1.0000")
    shows_everything(market, "1.0000")
    shows_everything(get(house, f"/markets/{combo}")["market"], "1.0000")
    assert (event["fee_type_override"], event["fee_multiplier_override"]) == ("quadratic_with_maker_fees", 0.5)
    assert "strike_date" in event


def test_combos_are_found_by_collection_series_and_ticker(house: House, combo: str) -> None:
    def found(**params: Any) -> list[str]:
        return [row["event_ticker"] for row in get(house, "/events/multivariate", **params)["events"]]

    assert "KXMVETEST-26NOV" in found(collection_ticker="KXMVETEST-R")
    assert found(tickers="KXMVETEST-26NOV") == ["KXMVETEST-26NOV"]
    assert found(series_ticker="KXMVETEST") == ["KXMVETEST-26NOV"]
    assert found(collection_ticker="KXMVETEST-S") == found(series_ticker="KXOTHER") == found(tickers="KX") == []
    assert "KXMVETEST-26NOV" not in [row["event_ticker"] for row in get(house, "/events")["events"]]
    assert get(house, "/markets", mve_filter="exclude", tickers=combo)["markets"] == []


def test_an_event_shows_overrides_period_and_scenery(house: House, combo: str, plain: str) -> None:
    lone = get(house, "/events/KXEVERYTHING-26NOV")
    nested = get(house, "/events/KXEVERYTHING-26NOV", with_nested_markets="true")["event"]
    with_period = get(house, "/events/multivariate", tickers="KXMVETEST-26NOV")

    assert lone["event"]["strike_period"] == "week"
    assert "strike_date" not in lone["event"]
    assert lone["event"]["product_metadata"] == SCENERY
    shows_everything(lone["markets"][0], "0.0000")
    shows_everything(nested["markets"][0], "0.0000")
    assert with_period["events"][0]["product_metadata"] == SCENERY
    listed = get(house, "/events", with_nested_markets="true", series_ticker="KXEVERYTHING")["events"]
    shows_everything(listed[0]["markets"][0], "0.0000")


def test_milestones_are_asked_for_and_there_are_none(house: House) -> None:
    assert get(house, "/events", with_milestones="true")["milestones"] == []
    assert "milestones" not in get(house, "/events")


def test_a_combo_may_have_a_period_for_its_strike(house: House) -> None:
    list_one(house, "KXMVEPERIOD", period="month")

    (event,) = get(house, "/events/multivariate", series_ticker="KXMVEPERIOD")["events"]
    alone = get(house, "/events/KXMVEPERIOD-26NOV")["event"]

    assert event["strike_period"] == alone["strike_period"] == "month"


def test_pictures_and_competition_of_an_event(house: House, plain: str) -> None:
    found = get(house, "/events/KXEVERYTHING-26NOV/metadata")

    assert (found["competition"], found["competition_scope"]) == ("The League", "Game")
    assert found["featured_image_url"].endswith("KXEVERYTHING-26NOV-wide.webp")


def test_a_series_shows_its_scenery(house: House, plain: str) -> None:
    assert get(house, "/series/KXEVERYTHING")["series"]["product_metadata"] == SCENERY
    listed = {row["ticker"]: row for row in get(house, "/series", include_product_metadata="true")["series"]}
    assert listed["KXEVERYTHING"]["product_metadata"] == SCENERY


# --- pauses -------------------------------------------------------------------------------------------


def test_a_pause_says_when_it_may_end_and_then_nothing_of_it(house: House) -> None:
    post(house, "trading/pause", resumes_in_seconds=7200)
    paused = get(house, "/exchange/status")
    post(house, "trading/resume")
    after = get(house, "/exchange/status")

    assert paused["trading_active"] is False
    assert paused["exchange_estimated_resume_time"] > after.get("exchange_estimated_resume_time", "")
    assert "exchange_estimated_resume_time" not in after


def test_announced_maintenance_stands_in_the_schedule(house: House) -> None:
    post(house, "exchange/maintenance", windows=[[1_795_600_800, 1_795_608_000]])

    assert get(house, "/exchange/schedule")["schedule"]["maintenance_windows"] == [
        {"start_datetime": "2026-11-25T10:00:00Z", "end_datetime": "2026-11-25T12:00:00Z"}
    ]
    post(house, "exchange/maintenance", windows=[])


# --- an account ---------------------------------------------------------------------------------------


def test_usage_levels_are_granted_by_hand_and_by_volume(house: House) -> None:
    def grants(tier: str) -> list[dict[str, Any]]:
        found = house.member(tier=tier).get("/account/limits")["grants"]
        assert all(grant.pop("exchange_instance") == "event_contract" for grant in found)
        return list(found)

    assert grants("basic") == []
    assert grants("advanced") == [{"level": "advanced", "source": "manual"}]
    first, second = grants("premier")
    assert (first["level"], first["source"], second["level"]) == ("premier", "volume", "advanced")
    assert 29 * 86_400 < first["expires_ts"] - time.time() <= 30 * 86_400


def test_goals_are_shares_of_the_exchanges_volume(house: House) -> None:
    desk, rival, ticker = house.member(), house.member(), house.market()
    before = goals(desk)
    rival.create(ticker, "ask", "0.5000", "4000.00")
    desk.create(ticker, "bid", "0.5000", "4000.00")
    after = goals(desk)

    (progress,) = desk.get("/account/api_usage_level/volume_progress")["volume_progress"]
    assert progress["trailing_30d_volume_fp"] == "4000.00"
    # 4,000 contracts more: 0.075 % are 3 contracts, 1 % is 40.
    assert after["expert"] - before["expert"] == 300
    assert after["prestige"] - before["prestige"] == 4000


def goals(peer: Peer) -> dict[str, int]:
    (row,) = peer.get("/account/api_usage_level/volume_progress")["volume_progress"]
    return {goal["level"]: int(goal["earn_volume_goal_fp"].replace(".", "")) for goal in row["goals"]}


def test_keys_of_a_subaccount_say_so_and_where_the_owner_lives_is_attested(house: House, desk: Peer) -> None:
    desk.call("POST", "/portfolio/subaccounts", body={})
    body = {"name": "of one", "key_type": "ed25519", "scopes": ["read"], "subaccount": 1}
    desk.call("POST", "/api_keys/generate", body=body)

    found = desk.get("/api_keys")

    assert [row.get("subaccount") for row in found["api_keys"]] == [None, 1]
    assert found["api_key_region_expiration_ts"] > time.time() + 300 * 86_400


# --- orders -------------------------------------------------------------------------------------------


def test_an_order_with_expiry_and_group_shows_both_everywhere(house: House, desk: Peer, ticker: str) -> None:
    socket = desk.connect()
    socket.send("subscribe", channels=["user_orders"])
    socket.until("subscribed")
    group = desk.call("POST", "/portfolio/order_groups/create", body={"contracts_limit": 5}).json()["order_group_id"]
    expires = int(time.time()) + 3600
    made = desk.create(
        ticker, "bid", "0.4000", "5.00", expiration_time=expires, order_group_id=group, client_order_id="with all"
    )
    told = socket.until("user_order")["msg"]
    (listed,) = desk.get("/portfolio/orders")["orders"]
    order_id = made.json()["order_id"]
    smaller = desk.call("POST", f"/portfolio/events/orders/{order_id}/decrease", body={"reduce_by": "1.00"}).json()

    assert told["order_group_id"] == listed["order_group_id"] == group
    assert told["expiration_ts_ms"] == expires * 1000
    assert told["expiration_time"] == listed["expiration_time"]
    assert smaller["client_order_id"] == "with all"
    assert smaller["remaining_count"] == "4.00"


def test_money_moved_between_subaccounts_and_shards_is_listed(house: House, desk: Peer) -> None:
    desk.call("POST", "/portfolio/subaccounts", body={})
    first = "0a6a0b8e-6f0c-4b7c-8d54-d7f0b4a5c001"
    second = "0a6a0b8e-6f0c-4b7c-8d54-d7f0b4a5c002"
    inside = {"client_transfer_id": first, "from_subaccount": 0, "to_subaccount": 1, "amount_cents": 250}
    desk.call("POST", "/portfolio/subaccounts/transfer", body=inside)
    between = {
        "client_transfer_id": second,
        "source": "event_contract",
        "destination": "event_contract",
        "amount": 12_345,
        "destination_exchange_shard": 2,
    }
    moved = desk.call("POST", "/portfolio/intra_exchange_instance_transfer", body=between).json()["transfer_id"]

    (own,) = desk.get("/portfolio/subaccounts/transfers")["transfers"]
    (shard,) = desk.get("/portfolio/intra_exchange_instance_transfers")["transfers"]

    assert (own["amount_cents"], own["from_subaccount"], own["to_subaccount"]) == (250, 0, 1)
    assert desk.get(f"/portfolio/intra_exchange_instance_transfers/{moved}") == {"transfer": shard}
    assert (shard["amount"], shard["status"], shard["client_transfer_id"]) == ("1.2345", "complete", second)
    assert (shard["source_exchange_shard"], shard["destination_exchange_shard"]) == (0, 2)
    missing = desk.call("GET", f"/portfolio/intra_exchange_instance_transfers/{own['transfer_id']}")
    assert missing.status_code == 404
    balances = {(row["subaccount_number"], row["exchange_index"]): row["balance"] for row in money(desk)}
    assert balances == {(0, 0): "9996.2655", (1, 0): "2.5000", (0, 2): "1.2345"}
    assert 250 * CENT == 2 * MONEY + MONEY // 2


def money(peer: Peer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = peer.get("/portfolio/subaccounts/balances")["subaccount_balances"]
    return found


# --- the stream ---------------------------------------------------------------------------------------


def test_lifecycle_messages_carry_strikes_and_periods(house: House, desk: Peer) -> None:
    socket = desk.connect()
    socket.send("subscribe", channels=["market_lifecycle_v2"])
    socket.until("subscribed")
    list_one(house, "KXTOLD", period="day")
    of_day = socket.until("event_lifecycle")["msg"]
    created = socket.until("market_lifecycle_v2", event_type="created")["msg"]["additional_metadata"]
    list_one(house, "KXDATED")
    dated = socket.until("event_lifecycle")["msg"]

    assert of_day["strike_period"] == "day"
    assert "strike_date" not in of_day
    assert dated["strike_date"] > 1_700_000_000
    assert (created["strike_type"], created["floor_strike"], created["cap_strike"]) == ("between", 50, 60.5)
    assert created["custom_strike"] == DETAILS["custom_strike"]


def test_changed_strikes_and_names_are_told(house: House, desk: Peer, ticker: str) -> None:
    socket = desk.connect()
    socket.send("subscribe", channels=["market_lifecycle_v2"])
    socket.until("subscribed")
    changed = {
        "strike_type": "between",
        "floor_strike": 3,
        "cap_strike": 4.5,
        "custom_strike": {"a": "b"},
        "yes_sub_title": "3 to 4.5",
    }

    house.do(house.venue.exchange.update_details, ticker, changed)

    told = socket.until("market_lifecycle_v2", event_type="metadata_updated")["msg"]
    assert told == {"market_ticker": ticker, "event_type": "metadata_updated", **changed}
    shown = get(house, f"/markets/{ticker}")["market"]
    assert {name: shown[name] for name in changed} == changed


def test_a_ticker_subscription_by_market_id_is_acknowledged_by_id(house: House, desk: Peer) -> None:
    one, two = house.market(), house.market()
    ids = {ticker: house.venue.exchange.markets[ticker].market_id for ticker in (one, two)}
    socket = desk.connect()
    socket.send("subscribe", channels=["ticker"], market_id=ids[one])
    sid = socket.until("subscribed")["msg"]["sid"]
    socket.send("update_subscription", sid=sid, action="add_markets", market_ids=[ids[two]])

    told = socket.until("ok")["msg"]

    assert told == {"market_tickers": sorted([one, two]), "market_ids": [ids[name] for name in sorted([one, two])]}


def test_an_unknown_market_named_alone_is_named_alone(desk: Peer) -> None:
    socket = desk.connect()
    socket.send("subscribe", channels=["orderbook_delta"], market_ticker="KXNOBODY")

    assert socket.until("error")["msg"] == {"code": 11, "msg": "Invalid parameter", "market_ticker": "KXNOBODY"}


# --- candles of an event --------------------------------------------------------------------------------


def test_candles_of_an_event_come_market_by_market(house: House, desk: Peer, rival: Peer) -> None:
    ticker = house.market(series="KXCHART", event="KXCHART-1")
    other = house.market(series="KXCHART", event="KXCHART-1")
    rival.create(ticker, "ask", "0.6000", "3.00")
    desk.create(ticker, "bid", "0.6000", "3.00")
    now = int(time.time())
    asked = {"start_ts": now - 60, "end_ts": now + 120, "period_interval": 1}

    found = get(house, "/series/KXCHART/events/KXCHART-1/candlesticks", **asked)

    assert found["market_tickers"] == [ticker, other]
    assert found["adjusted_end_ts"] == now + 120
    traded = [candle for candle in found["market_candlesticks"][0] if candle["volume_fp"] == "3.00"]
    assert [candle["price"]["close_dollars"] for candle in traded] == ["0.6000"]
    assert all(candle["volume_fp"] == "0.00" for candle in found["market_candlesticks"][1])


def test_candles_of_too_long_a_time_end_where_ten_thousand_are_reached(house: House) -> None:
    house.market(series="KXLONG", event="KXLONG-1")
    house.market(series="KXLONG", event="KXLONG-1")
    asked = {"start_ts": 1_795_000_000, "end_ts": 1_796_000_000, "period_interval": 1}

    found = get(house, "/series/KXLONG/events/KXLONG-1/candlesticks", **asked)

    assert found["adjusted_end_ts"] == 1_795_000_000 + 5000 * 60


def test_candles_of_an_event_of_another_series_are_not_found(house: House) -> None:
    house.market(series="KXONE", event="KXONE-1")
    asked = {"start_ts": 1, "end_ts": 2, "period_interval": 1}
    answer = requests.get(f"{house.url}{PREFIX}/series/KXTWO/events/KXONE-1/candlesticks", params=asked, timeout=5)

    assert answer.status_code == 404
