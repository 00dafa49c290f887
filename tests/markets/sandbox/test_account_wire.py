"""What a member reads of its money and what it may do with keys, groups and sub-accounts, over REST."""

from __future__ import annotations

import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from tests.markets.sandbox.conftest import House
from tests.markets.sandbox.peer import Peer


def trade(maker: Peer, taker: Peer, ticker: str, *, price: str = "0.5000", count: str = "10.00") -> None:
    maker.create(ticker, "ask", price, count)
    taker.create(ticker, "bid", price, count)


# --- money --------------------------------------------------------------------------------------------


def test_balance_is_cash_in_cents_and_in_dollars(desk: Peer, rival: Peer, ticker: str) -> None:
    trade(rival, desk, ticker)

    body = desk.get("/portfolio/balance")

    # 10,000 − 10 × 0.50 − a taker's fee of 0.175
    assert (body["balance"], body["balance_dollars"]) == (999_482, "9994.8250")
    assert body["balance_breakdown"] == [{"balance": "9994.8250", "exchange_index": 0}]
    assert (body["portfolio_value"], abs(body["updated_ts"] - time.time()) < 5) == (500, True)


def test_resting_orders_take_nothing_from_the_balance(desk: Peer, ticker: str) -> None:
    desk.create(ticker, "bid", "0.4800", "10.00")

    assert desk.get("/portfolio/balance")["balance_dollars"] == "10000.0000"
    assert desk.get("/portfolio/summary/total_resting_order_value") == {
        "resting_order_value_breakdown": [{"balance": "4.8000", "exchange_index": 0}],
        "total_resting_order_value": 480,
    }


def test_positions_are_signed_and_summed_by_event(desk: Peer, rival: Peer, ticker: str) -> None:
    trade(rival, desk, ticker)

    mine, theirs = desk.get("/portfolio/positions"), rival.get("/portfolio/positions")

    assert [(row["ticker"], row["position_fp"]) for row in mine["market_positions"]] == [(ticker, "10.00")]
    assert [row["position_fp"] for row in theirs["market_positions"]] == ["-10.00"]
    assert mine["market_positions"][0]["fees_paid_dollars"] == "0.175000"
    assert [(row["total_cost_dollars"], row["total_cost_shares_fp"]) for row in mine["event_positions"]] == [
        ("5.000000", "10.00")
    ]


def test_flat_markets_stay_in_the_list_unless_asked_otherwise(desk: Peer, rival: Peer, ticker: str) -> None:
    trade(rival, desk, ticker)
    trade(desk, rival, ticker)

    assert [row["position_fp"] for row in desk.get("/portfolio/positions")["market_positions"]] == ["0.00"]
    assert desk.get("/portfolio/positions", count_filter="position")["market_positions"] == []
    # Of several fields any will do.
    for either in ("total_traded", "position,total_traded"):
        rows = desk.get("/portfolio/positions", count_filter=either)["market_positions"]
        assert [row["total_traded_dollars"] for row in rows] == ["10.000000"]
    assert desk.call("GET", "/portfolio/positions", count_filter="luck").status_code == 400


def test_pages_of_settled_positions_are_cut_between_events(house: House, desk: Peer, rival: Peer) -> None:
    events: dict[str, set[str]] = {}
    for number in (1, 2, 3):
        for _ in range(2):
            ticker = house.market(series="KXSETTLED", event=f"KXSETTLED-E{number}")
            trade(rival, desk, ticker, count="1.00")
            house.do(house.venue.exchange.determine, ticker, "yes")
            house.do(house.venue.exchange.settle, ticker)
            events.setdefault(f"KXSETTLED-E{number}", set()).add(ticker)

    for status in ("settled", "all"):
        pages: list[set[str]] = []
        cursor = ""
        while not pages or cursor:
            body = desk.get("/portfolio/positions", settlement_status=status, limit=2, cursor=cursor)
            pages.append({row["ticker"] for row in body["market_positions"]})
            cursor = body["cursor"]
        assert pages == [events["KXSETTLED-E3"] | events["KXSETTLED-E2"], events["KXSETTLED-E1"]]


def test_a_fill_has_the_trades_id_and_no_client_order_id(desk: Peer, rival: Peer, ticker: str) -> None:
    trade(rival, desk, ticker)

    (fill,) = desk.get("/portfolio/fills")["fills"]

    assert fill["fill_id"] == fill["trade_id"] == desk.get("/markets/trades", ticker=ticker)["trades"][0]["trade_id"]
    assert "client_order_id" not in fill
    assert (fill["fee_cost"], fill["is_taker"], fill["book_side"], fill["ticker"]) == ("0.175000", True, "bid", ticker)
    assert desk.get("/portfolio/fills", order_id="nobody")["fills"] == []


def test_a_settled_market_pays_in_cents(house: House, desk: Peer, rival: Peer, ticker: str) -> None:
    trade(rival, desk, ticker)
    house.do(house.venue.exchange.determine, ticker, "yes")
    house.do(house.venue.exchange.settle, ticker)

    (row,) = desk.get("/portfolio/settlements")["settlements"]

    assert (row["market_result"], row["revenue"], row["value"]) == ("yes", 1000, 100)
    assert (row["yes_count_fp"], row["yes_total_cost_dollars"], row["fee_cost"]) == ("10.00", "5.000000", "0.175000")
    assert desk.get("/portfolio/balance")["balance_dollars"] == "10004.8250"
    assert desk.get("/portfolio/positions")["market_positions"] == []
    assert desk.get("/portfolio/positions", settlement_status="all")["market_positions"][0]["ticker"] == ticker


def test_play_money_comes_from_no_bank(desk: Peer) -> None:
    assert desk.get("/portfolio/deposits") == {"cursor": "", "deposits": []}
    assert desk.get("/portfolio/withdrawals") == {"cursor": "", "withdrawals": []}


def test_a_transfer_is_made_once(desk: Peer) -> None:
    desk.call("POST", "/portfolio/subaccounts", body={})
    body = {
        "client_transfer_id": "11111111-1111-4111-8111-111111111111",
        "from_subaccount": 0,
        "to_subaccount": 1,
        "amount_cents": 2500,
    }

    assert desk.call("POST", "/portfolio/subaccounts/transfer", body=body).status_code == 200
    again = desk.call("POST", "/portfolio/subaccounts/transfer", body=body)

    assert (again.status_code, again.json()["error"]["code"]) == (409, "transfer_already_applied")
    balances = desk.get("/portfolio/subaccounts/balances")["subaccount_balances"]
    assert [(row["subaccount_number"], row["balance"]) for row in balances] == [(0, "9975.0000"), (1, "25.0000")]


def test_a_numbered_sub_account_moves_between_shards_without_a_clients_id(desk: Peer) -> None:
    desk.call("POST", "/portfolio/subaccounts", body={})
    path = "/portfolio/intra_exchange_instance_transfer"
    body = {"source": "event_contract", "destination": "event_contract", "amount": 100_000, "destination_subaccount": 1}
    named = {**body, "client_transfer_id": "33333333-3333-4333-8333-333333333333"}

    assert desk.call("POST", path, body=named).status_code == 400
    assert desk.call("POST", path, body=body).status_code == 200
    moved = desk.get("/portfolio/subaccounts/transfers")["transfers"]
    assert [(row["to_subaccount"], row["amount_cents"]) for row in moved] == [(1, 1000)]


def test_a_shard_without_money_refuses_orders(house: House, desk: Peer) -> None:
    ticker = house.market(exchange_index=2)

    refused = desk.create(ticker, "bid", "0.4800", "1.00")
    body = {"source": "event_contract", "destination": "event_contract", "amount": 100_000}
    moved = desk.call(
        "POST", "/portfolio/intra_exchange_instance_transfer", body={**body, "destination_exchange_shard": 2}
    )

    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "insufficient_shard_balance")
    assert moved.status_code == 200
    assert desk.create(ticker, "bid", "0.4800", "1.00").status_code == 201
    assert desk.get("/portfolio/balance", exchange_index=2)["balance_dollars"] == "10.0000"


# --- keys ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "kind", "header"),
    [
        ({}, "rsa", "-----BEGIN RSA PRIVATE KEY-----"),
        ({"key_type": "rsa"}, "rsa", "-----BEGIN RSA PRIVATE KEY-----"),
        ({"key_type": "ed25519"}, "ed25519", "-----BEGIN PRIVATE KEY-----"),
    ],
)
def test_a_generated_key_signs_at_once(house: House, desk: Peer, asked: dict[str, str], kind: str, header: str) -> None:
    made = desk.call("POST", "/api_keys/generate", body={"name": "bot", **asked})

    assert made.status_code == 201
    body = made.json()
    assert (body["key_type"], body["private_key"].splitlines()[0]) == (kind, header)
    key = serialization.load_pem_private_key(body["private_key"].encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey if kind == "rsa" else ed25519.Ed25519PrivateKey)
    peer = Peer(house.url, body["api_key_id"], key, heard=house.judge.overhear)
    assert peer.get("/portfolio/orders")["orders"] == []


def test_keys_are_listed_with_their_scopes_and_deleted_once(house: House, desk: Peer) -> None:
    made = desk.call("POST", "/api_keys/generate", body={"name": "reader", "scopes": ["read"]}).json()

    keys = {row["api_key_id"]: row for row in desk.get("/api_keys")["api_keys"]}
    assert (keys[made["api_key_id"]]["name"], keys[made["api_key_id"]]["scopes"]) == ("reader", ["read"])
    assert keys[desk.key_id]["scopes"] == ["read", "write"]
    assert desk.call("DELETE", f"/api_keys/{made['api_key_id']}").status_code == 204
    assert desk.call("DELETE", f"/api_keys/{made['api_key_id']}").status_code == 404


def test_nobody_deletes_anothers_key(desk: Peer, rival: Peer) -> None:
    assert rival.call("DELETE", f"/api_keys/{desk.key_id}").status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [{}, {"name": "x", "key_type": "dsa"}, {"name": "x", "scopes": ["all"]}, {"name": "x", "scopes": ["write"]}],
)
def test_keys_that_make_no_sense_are_refused(desk: Peer, wrong: dict[str, Any]) -> None:
    assert desk.call("POST", "/api_keys/generate", body=wrong).status_code == 400


def test_only_high_levels_bring_their_own_key(house: House) -> None:
    pair = ed25519.Ed25519PrivateKey.generate()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = pair.public_key().public_bytes(serialization.Encoding.PEM, form).decode()
    basic, premier = house.member(tier="basic"), house.member(tier="premier")

    refused = basic.call("POST", "/api_keys", body={"name": "own", "public_key": pem})
    taken = premier.call("POST", "/api_keys", body={"name": "own", "public_key": pem})
    wrong = premier.call("POST", "/api_keys", body={"name": "own", "public_key": "no key"})

    assert (refused.status_code, taken.status_code, wrong.status_code) == (403, 201, 400)
    peer = Peer(house.url, taken.json()["api_key_id"], pair, heard=house.judge.overhear)
    assert peer.get("/portfolio/orders")["orders"] == []


# --- order groups -------------------------------------------------------------------------------------


def test_a_list_without_groups_is_an_empty_object(desk: Peer) -> None:
    assert desk.call("GET", "/portfolio/order_groups").text == "{}"


def test_a_group_cancels_its_orders_when_triggered_and_takes_new_ones_after_a_reset(desk: Peer, ticker: str) -> None:
    made = desk.call("POST", "/portfolio/order_groups/create", body={"contracts_limit": 150})
    assert made.status_code == 201
    group = made.json()["order_group_id"]
    order = desk.create(ticker, "bid", "0.4800", "1.00", order_group_id=group).json()["order_id"]
    assert desk.get(f"/portfolio/order_groups/{group}") == {
        "contracts_limit_fp": "150.00",
        "exchange_index": 0,
        "is_auto_cancel_enabled": True,
        "orders": [order],
    }

    assert desk.call("PUT", f"/portfolio/order_groups/{group}/trigger", body={}).json() == {}

    assert desk.get(f"/portfolio/orders/{order}")["order"]["status"] == "canceled"
    assert desk.create(ticker, "bid", "0.4800", "1.00", order_group_id=group).status_code >= 400
    assert desk.call("PUT", f"/portfolio/order_groups/{group}/reset", body={}).json() == {}
    assert desk.create(ticker, "bid", "0.4800", "1.00", order_group_id=group).status_code == 201
    assert desk.call("PUT", f"/portfolio/order_groups/{group}/limit", body={"contracts_limit_fp": "20.00"}).json() == {}
    assert desk.get("/portfolio/order_groups")["order_groups"][0]["contracts_limit_fp"] == "20.00"
    assert desk.call("DELETE", f"/portfolio/order_groups/{group}").json() == {}
    assert desk.call("GET", f"/portfolio/order_groups/{group}").status_code == 404


@pytest.mark.parametrize("wrong", [{}, {"contracts_limit": 0}, {"contracts_limit": 5, "contracts_limit_fp": "6.00"}])
def test_a_group_needs_one_limit_that_makes_sense(desk: Peer, wrong: dict[str, Any]) -> None:
    assert desk.call("POST", "/portfolio/order_groups/create", body=wrong).status_code == 400


def test_a_limit_given_in_both_ways_must_be_the_same(desk: Peer) -> None:
    both = {"contracts_limit": 5, "contracts_limit_fp": "5.00"}
    made = desk.call("POST", "/portfolio/order_groups/create", body=both)

    group = made.json()["order_group_id"]
    assert desk.get(f"/portfolio/order_groups/{group}")["contracts_limit_fp"] == "5.00"
    path = f"/portfolio/order_groups/{group}/limit"
    assert desk.call("PUT", path, body={"contracts_limit": 7, "contracts_limit_fp": "7.50"}).status_code == 400
    assert desk.call("PUT", path, body={"contracts_limit": 7, "contracts_limit_fp": "7"}).status_code == 200


def test_a_group_call_without_a_body_is_refused(desk: Peer) -> None:
    group = desk.call("POST", "/portfolio/order_groups/create", body={"contracts_limit": 1}).json()["order_group_id"]

    refused = desk.call("PUT", f"/portfolio/order_groups/{group}/reset")

    assert refused.json() == {"code": "invalid_content_type", "message": "invalid_content_type"}


# --- buckets ------------------------------------------------------------------------------------------


def test_limits_tell_what_the_buckets_hold(house: House) -> None:
    assert house.member(tier="basic").get("/account/limits") == {
        "grants": [],
        "read": {"bucket_capacity": 600, "refill_rate": 200},
        "usage_tier": "basic",
        "write": {"bucket_capacity": 100, "refill_rate": 100},
    }


def test_an_empty_write_bucket_refuses_and_fills_again(house: House, ticker: str) -> None:
    desk = house.member(tier="basic")
    house.do(lambda: setattr(house.venue.clock, "held_us", house.venue.now_us()))
    try:
        made = [desk.create(ticker, "bid", "0.4000", "1.00") for _ in range(11)]
        house.do(house.venue.clock.advance, 100_000)
        later = desk.create(ticker, "bid", "0.4000", "1.00")
    finally:
        house.do(house.venue.clock.release)

    assert [answer.status_code for answer in made] == [201] * 10 + [429]
    assert made[-1].json() == {"error": "too many requests"}
    assert "retry-after" not in made[-1].headers
    assert later.status_code == 201


def test_keys_of_one_account_share_its_buckets(house: House, ticker: str) -> None:
    desk = house.member(tier="basic")
    second = house.key_of(desk.member_id)  # type: ignore[attr-defined]
    house.do(lambda: setattr(house.venue.clock, "held_us", house.venue.now_us()))
    try:
        for peer in [desk, second] * 5:
            assert peer.create(ticker, "bid", "0.4000", "1.00").status_code == 201
        refused = second.create(ticker, "bid", "0.4000", "1.00")
    finally:
        house.do(house.venue.clock.release)

    assert refused.status_code == 429


def test_a_batch_must_fit_the_bucket_as_a_whole(house: House, ticker: str) -> None:
    desk = house.member(tier="basic")
    one = {
        "ticker": ticker,
        "side": "bid",
        "price": "0.4000",
        "count": "1.00",
        "time_in_force": "good_till_canceled",
        "self_trade_prevention_type": "taker_at_cross",
    }

    refused = desk.call("POST", "/portfolio/events/orders/batched", body={"orders": [one] * 11})
    taken = desk.call("POST", "/portfolio/events/orders/batched", body={"orders": [one] * 10})

    assert (refused.status_code, taken.status_code) == (429, 201)


def test_the_balance_has_a_bucket_of_its_own(house: House) -> None:
    desk = house.member(tier="basic")
    house.do(lambda: setattr(house.venue.clock, "held_us", house.venue.now_us()))
    try:
        first, second = desk.call("GET", "/portfolio/balance"), desk.call("GET", "/portfolio/balance")
        other = desk.call("GET", "/portfolio/positions")
    finally:
        house.do(house.venue.clock.release)

    assert (first.status_code, second.status_code, other.status_code) == (200, 429, 200)
