"""Requests that a strict decoder does not take: what they are told, and that nothing happened and nothing is broken."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from tests.markets.sandbox.conftest import House
from tests.markets.sandbox.peer import PREFIX, Peer, order_body

ORDERS = "/portfolio/events/orders"


def send(peer: Peer, method: str, path: str, raw: bytes) -> requests.Response:
    """Send a signed request whose body is these bytes."""
    headers = {**peer.headers(method, PREFIX + path), "Content-Type": "application/json"}
    return peer.session.request(method, peer.url + PREFIX + path, data=raw, headers=headers, timeout=5)


# --- numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expires", [10**18, 2**63 - 1])
def test_an_expiry_beyond_the_calendar_is_refused_and_breaks_no_list(desk: Peer, ticker: str, expires: int) -> None:
    answer = desk.call("POST", ORDERS, body=order_body(ticker, expiration_time=expires))

    # An answer shows times as RFC 3339, whose years have four digits.
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_order")
    assert desk.get("/portfolio/orders")["orders"] == []


@pytest.mark.parametrize("huge", [2**63, -(2**63) - 1, 10**30])
def test_a_number_beyond_64_bits_is_refused_as_the_decoder_does(desk: Peer, ticker: str, huge: int) -> None:
    body = json.dumps(order_body(ticker)).replace('"bid"', f'"bid", "expiration_time": {huge}').encode()

    answer = send(desk, "POST", ORDERS, body)

    details = "json: cannot unmarshal number into Go struct field CreateOrderV2Request.expiration_time of type int64"
    assert (answer.status_code, answer.json()) == (
        400,
        {"code": "bad_request", "message": "bad request", "details": details},
    )
    assert desk.get("/portfolio/orders")["orders"] == []


@pytest.mark.parametrize("given", ["1_0", " 5", "٣", "5.0", "0x5", str(2**63)])
def test_a_query_number_is_plain_digits_of_64_bits(desk: Peer, given: str) -> None:
    answer = desk.call("GET", "/portfolio/orders", limit=given)

    assert (answer.status_code, list(answer.json())) == (400, ["msg"])


@pytest.mark.parametrize(("path", "name"), [("/portfolio/orders", "event_ticker"), ("/portfolio/fills", "ticker")])
def test_a_list_of_tickers_has_a_hundred_at_the_most(desk: Peer, path: str, name: str) -> None:
    assert desk.call("GET", path, **{name: ",".join(["KXTEST"] * 100)}).status_code == 200
    assert desk.call("GET", path, **{name: ",".join(["KXTEST"] * 101)}).status_code == 400


def test_a_price_with_more_than_four_decimals_is_refused_by_its_precision_zeros_too(desk: Peer, ticker: str) -> None:
    error = desk.create(ticker, "bid", "0.48000", "1.00").json()["error"]

    assert (error["code"], error["details"]) == ("invalid_order", "invalid price: invalid dollar precision: -5")


@pytest.mark.parametrize("subaccount", [-1, 64])
def test_a_sub_account_is_a_number_from_0_to_63(desk: Peer, ticker: str, subaccount: int) -> None:
    answer = desk.call("POST", ORDERS, body=order_body(ticker, subaccount=subaccount))

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_parameters")


# --- bodies -------------------------------------------------------------------------------------------


def test_a_body_nested_without_end_is_refused_and_the_next_request_is_answered(desk: Peer, ticker: str) -> None:
    deep = b'{"client_order_id": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"

    answer = send(desk, "POST", ORDERS, deep)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert desk.create(ticker, "bid", "0.4800", "1.00").status_code == 201


def test_of_a_key_that_comes_twice_the_last_counts(desk: Peer, ticker: str) -> None:
    raw = json.dumps(order_body(ticker)).replace('"count": "1.00"', '"count": "1.00", "count": "2.00"').encode()

    assert send(desk, "POST", ORDERS, raw).json()["remaining_count"] == "2.00"


def test_a_batch_with_an_item_that_cannot_be_decoded_creates_nothing(desk: Peer, ticker: str) -> None:
    items = [order_body(ticker), order_body(ticker) | {"count": 1}]

    answer = desk.call("POST", f"{ORDERS}/batched", body={"orders": items})

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert desk.get("/portfolio/orders")["orders"] == []


def test_a_batch_of_cancels_with_an_item_that_cannot_be_decoded_cancels_nothing(desk: Peer, ticker: str) -> None:
    resting = desk.create(ticker, "bid", "0.4800", "1.00").json()["order_id"]

    for wrong in ({"order_id": 5}, {"order_id": "x", "subaccount": "0"}, {"order_id": "x", "exchange_index": True}):
        answer = desk.call("DELETE", f"{ORDERS}/batched", body={"orders": [{"order_id": resting}, wrong]})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")

    assert desk.get(f"/portfolio/orders/{resting}")["order"]["status"] == "resting"


def test_null_in_place_of_an_object_is_an_object_without_fields(desk: Peer, ticker: str) -> None:
    # The decoder leaves everything as it is where it meets a null.
    alone = send(desk, "POST", ORDERS, b"null")
    batch = desk.call("POST", f"{ORDERS}/batched", body={"orders": [None, order_body(ticker)]})

    assert (alone.status_code, alone.json()["error"]["code"]) == (400, "invalid_parameters")
    first, second = batch.json()["orders"]
    assert (batch.status_code, first["error"]["code"], second["remaining_count"]) == (201, "invalid_parameters", "1.00")
    assert desk.call("POST", f"{ORDERS}/batched", body={"orders": [order_body(ticker), 5]}).status_code == 400
    assert len(desk.get("/portfolio/orders")["orders"]) == 1


def test_a_refused_item_without_a_client_order_id_names_none(desk: Peer, ticker: str) -> None:
    answer = desk.call("POST", f"{ORDERS}/batched", body={"orders": [order_body(ticker, price="0.4850")]})

    (item,) = answer.json()["orders"]
    assert item["error"]["code"] == "invalid_price"
    assert item.get("client_order_id") is None


@pytest.mark.parametrize("scopes", [[{}], [["read"]], [5], "read", {"read": 1}])
def test_scopes_that_are_no_list_of_words_are_refused(desk: Peer, scopes: Any) -> None:
    answer = desk.call("POST", "/api_keys/generate", body={"name": "bot", "scopes": scopes})

    assert answer.status_code == 400


@pytest.mark.parametrize("subaccount", [-1, 64])
def test_a_key_is_bound_to_a_sub_account_from_0_to_63(desk: Peer, subaccount: int) -> None:
    answer = desk.call("POST", "/api_keys/generate", body={"name": "bot", "subaccount": subaccount})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_parameters")


# --- signatures ---------------------------------------------------------------------------------------


def test_a_timestamp_of_thousands_of_digits_is_out_of_the_window(desk: Peer) -> None:
    path = f"{PREFIX}/portfolio/balance"
    headers = {**desk.headers("GET", path), "KALSHI-ACCESS-TIMESTAMP": "1" * 5000}

    answer = desk.session.get(desk.url + path, headers=headers, timeout=5)

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "header_timestamp_expired")


# --- shards -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shard", [-1, 4, 101])
def test_money_moves_only_to_a_shard_that_exists(desk: Peer, shard: int) -> None:
    body = {
        "source": "event_contract",
        "destination": "event_contract",
        "amount": 100,
        "destination_exchange_shard": shard,
    }

    answer = desk.call("POST", "/portfolio/intra_exchange_instance_transfer", body=body)

    assert answer.status_code == 400
    assert desk.get("/portfolio/balance")["balance_breakdown"] == [{"balance": "10000.0000", "exchange_index": 0}]


def test_cancel_all_is_refused_while_the_whole_exchange_is_paused(house: House, desk: Peer, ticker: str) -> None:
    resting = desk.create(ticker, "bid", "0.4800", "1.00").json()["order_id"]
    house.do(house.venue.exchange.pause_exchange)
    try:
        answer = desk.call("DELETE", ORDERS)
    finally:
        house.do(house.venue.exchange.resume_exchange)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_unavailable")
    assert desk.get(f"/portfolio/orders/{resting}")["order"]["status"] == "resting"
    assert desk.call("DELETE", ORDERS).status_code == 204


def test_a_wrong_method_is_a_path_that_nobody_serves(desk: Peer) -> None:
    for method in ("HEAD", "OPTIONS", "PATCH", "PUT"):
        answer = desk.session.request(method, desk.url + PREFIX + ORDERS, timeout=5)
        assert answer.status_code == 404
