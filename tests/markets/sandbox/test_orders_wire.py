"""Orders over REST: what goes in, what comes back, and how it is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.markets.sandbox.conftest import House
from tests.markets.sandbox.peer import Peer, order_body

ORDERS = "/portfolio/events/orders"
NOT_FOUND = {"error": {"code": "not_found", "message": "not found"}}


def error_of(answer: Any) -> tuple[int, str, str | None]:
    body = answer.json()["error"]
    return answer.status_code, body["code"], body.get("details")


def test_an_order_rests_and_is_read_back(desk: Peer, ticker: str) -> None:
    made = desk.create(ticker, "bid", "0.4800", "10.00", client_order_id="mine-1")

    assert made.status_code == 201
    body = made.json()
    assert set(body) == {"order_id", "client_order_id", "fill_count", "remaining_count", "ts_ms"}
    assert (body["client_order_id"], body["fill_count"], body["remaining_count"]) == ("mine-1", "0.00", "10.00")
    order = desk.get(f"/portfolio/orders/{body['order_id']}")["order"]
    assert (order["status"], order["book_side"], order["outcome_side"]) == ("resting", "bid", "yes")
    assert (order["yes_price_dollars"], order["no_price_dollars"]) == ("0.4800", "0.5200")
    assert (order["initial_count_fp"], order["remaining_count_fp"], order["fill_count_fp"]) == (
        "10.00",
        "10.00",
        "0.00",
    )


def test_an_order_that_crosses_says_average_price_and_fee_per_contract(desk: Peer, rival: Peer, ticker: str) -> None:
    rival.create(ticker, "ask", "0.5000", "4.00")

    body = desk.create(ticker, "bid", "0.6000", "10.00").json()

    assert (body["fill_count"], body["remaining_count"]) == ("4.00", "6.00")
    assert (body["average_fill_price"], body["average_fee_paid"]) == ("0.5000", "0.0175")


def test_ioc_with_nothing_to_hit_is_created_and_canceled(desk: Peer, ticker: str) -> None:
    made = desk.create(ticker, "bid", "0.4800", "10.00", time_in_force="immediate_or_cancel")

    assert made.status_code == 201
    assert (made.json()["fill_count"], made.json()["remaining_count"]) == ("0.00", "0.00")
    assert desk.get(f"/portfolio/orders/{made.json()['order_id']}")["order"]["status"] == "canceled"


def test_fok_that_cannot_fill_is_refused(desk: Peer, ticker: str) -> None:
    refused = desk.create(ticker, "bid", "0.4800", "10.00", time_in_force="fill_or_kill")

    assert error_of(refused) == (409, "fill_or_kill_insufficient_resting_volume", None)


def test_a_client_order_id_is_used_for_ever(desk: Peer, ticker: str) -> None:
    made = desk.create(ticker, "bid", "0.4800", "1.00", client_order_id="once").json()
    assert error_of(desk.create(ticker, "bid", "0.4800", "1.00", client_order_id="once"))[:2] == (
        409,
        "order_already_exists",
    )

    desk.call("DELETE", f"{ORDERS}/{made['order_id']}")

    assert error_of(desk.create(ticker, "bid", "0.4700", "2.00", client_order_id="once"))[:2] == (
        409,
        "order_already_exists",
    )


def test_cancels_of_finished_and_unknown_orders_are_refused_in_the_same_bytes(
    desk: Peer, rival: Peer, ticker: str
) -> None:
    canceled = desk.create(ticker, "bid", "0.4800", "1.00").json()["order_id"]
    first = desk.call("DELETE", f"{ORDERS}/{canceled}", market_ticker=ticker)
    assert (first.status_code, first.json()["reduced_by"]) == (200, "1.00")
    assert set(first.json()) == {"order_id", "reduced_by", "ts_ms"}
    executed = desk.create(ticker, "bid", "0.5000", "1.00").json()["order_id"]
    rival.create(ticker, "ask", "0.5000", "1.00")

    unknown = "00000000-0000-4000-8000-000000000000"
    refused = [desk.call("DELETE", f"{ORDERS}/{order}") for order in (canceled, executed, unknown)]

    assert [answer.status_code for answer in refused] == [404, 404, 404]
    assert len({answer.content for answer in refused}) == 1
    assert refused[0].json() == NOT_FOUND


def test_nobody_reads_or_cancels_anothers_order(desk: Peer, rival: Peer, ticker: str) -> None:
    order = desk.create(ticker, "bid", "0.4800", "1.00").json()["order_id"]

    assert rival.call("GET", f"/portfolio/orders/{order}").json() == NOT_FOUND
    assert rival.call("DELETE", f"{ORDERS}/{order}").json() == NOT_FOUND


def test_numbers_where_text_is_wanted_are_refused_as_the_decoder_does(desk: Peer, ticker: str) -> None:
    body = {
        "ticker": ticker,
        "side": "bid",
        "price": "0.4800",
        "count": 10,
        "time_in_force": "good_till_canceled",
        "self_trade_prevention_type": "taker_at_cross",
    }

    refused = desk.call("POST", ORDERS, body=body)

    assert (refused.status_code, refused.json()) == (
        400,
        {
            "code": "bad_request",
            "message": "bad request",
            "details": "json: cannot unmarshal number into Go struct field CreateOrderV2Request.count of type string",
        },
    )


def test_a_write_without_a_json_body_is_refused(desk: Peer) -> None:
    refused = desk.call("POST", ORDERS)

    assert (refused.status_code, refused.json()) == (
        400,
        {"code": "invalid_content_type", "message": "invalid_content_type"},
    )


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"price": "0.5150"}, (400, "invalid_price", None)),
        ({"price": "0.51505"}, (400, "invalid_order", "invalid price: invalid dollar precision: -5")),
        ({"count": "0.00"}, (400, "invalid_order_size", None)),
        ({"count": "1.005"}, (400, "invalid_order_size", None)),
        ({"count": "100000.00"}, (400, "insufficient_balance", None)),
        (
            {"reduce_only": True},
            (400, "invalid_order", "reduce_only can only be used with IoC or FoK orders"),
        ),
        ({"ticker": "KXNOBODY-1"}, (404, "not_found", None)),
    ],
)
def test_orders_that_do_not_fit_are_refused(
    desk: Peer, ticker: str, fields: dict[str, Any], refusal: tuple[int, str, str | None]
) -> None:
    body = {
        "ticker": ticker,
        "side": "bid",
        "price": "0.5100",
        "count": "1.00",
        "time_in_force": "good_till_canceled",
        "self_trade_prevention_type": "taker_at_cross",
        **fields,
    }

    assert error_of(desk.call("POST", ORDERS, body=body)) == refusal
    assert desk.get("/portfolio/orders")["orders"] == []


def test_post_only_that_would_trade_is_refused(desk: Peer, rival: Peer, ticker: str) -> None:
    rival.create(ticker, "ask", "0.5000", "4.00")

    assert error_of(desk.create(ticker, "bid", "0.5000", "1.00", post_only=True)) == (
        400,
        "invalid_order",
        "post only cross",
    )


def test_the_first_order_family_is_gone(desk: Peer) -> None:
    for method, path in [
        ("POST", "/portfolio/orders"),
        ("DELETE", "/portfolio/orders/some-order"),
        ("POST", "/portfolio/orders/some-order/amend"),
        ("POST", "/portfolio/orders/some-order/decrease"),
        ("POST", "/portfolio/orders/batched"),
        ("DELETE", "/portfolio/orders/batched"),
    ]:
        refused = desk.call(method, path, body={})
        assert error_of(refused)[:2] == (410, "deprecated_v1_order_endpoint")
        assert refused.json()["error"]["message"] == "Please switch to the V2 endpoints"


def test_orders_are_refused_while_the_market_is_paused_or_closed(house: House, desk: Peer, ticker: str) -> None:
    order = desk.create(ticker, "bid", "0.4800", "1.00").json()["order_id"]
    house.do(house.venue.exchange.pause_market, ticker)
    assert error_of(desk.create(ticker, "bid", "0.4800", "1.00"))[:2] == (400, "MARKET_NOT_ACTIVE")

    house.do(house.venue.exchange.move_close, ticker, house.venue.now_us())

    assert error_of(desk.create(ticker, "bid", "0.4800", "1.00"))[0] == 400
    assert desk.call("DELETE", f"{ORDERS}/{order}").status_code in {400, 404}


def test_a_batch_answers_each_item_for_itself(desk: Peer, ticker: str) -> None:
    one = order_body(ticker)
    items = [
        {**one, "client_order_id": "a"},
        {**one, "client_order_id": "b", "price": "0.4850"},
        {**one, "client_order_id": "a"},
    ]

    answer = desk.call("POST", f"{ORDERS}/batched", body={"orders": items})

    assert answer.status_code == 201
    first, second, third = answer.json()["orders"]
    assert (first["remaining_count"], "error" in first) == ("1.00", False)
    assert second["error"] == {"code": "invalid_price", "message": "invalid price"}
    assert (second["client_order_id"], second["fill_count"], second["ts_ms"]) == ("b", None, None)
    assert third["error"]["code"] == "order_already_exists"


def test_a_batch_of_cancels_answers_each_item_for_itself(desk: Peer, ticker: str) -> None:
    order = desk.create(ticker, "bid", "0.4800", "2.50", client_order_id="mine").json()["order_id"]
    unknown = "00000000-0000-4000-8000-000000000000"

    answer = desk.call("DELETE", f"{ORDERS}/batched", body={"orders": [{"order_id": order}, {"order_id": unknown}]})

    assert answer.status_code == 200
    first, second = answer.json()["orders"]
    assert (first["order_id"], first["client_order_id"], first["reduced_by"]) == (order, "mine", "2.50")
    assert (second["reduced_by"], second["error"]) == ("0.00", {"code": "not_found", "message": "not found"})


def test_cancel_all_leaves_nothing_and_answers_nothing(desk: Peer, house: House) -> None:
    for _ in range(2):
        desk.create(house.market(), "bid", "0.4800", "1.00")

    answer = desk.call("DELETE", ORDERS)

    assert (answer.status_code, answer.content) == (204, b"")
    assert desk.get("/portfolio/orders", status="resting")["orders"] == []


def test_amend_takes_the_total_and_moves_the_order(desk: Peer, ticker: str) -> None:
    order = desk.create(ticker, "bid", "0.4800", "10.00", client_order_id="old").json()["order_id"]

    body = {"ticker": ticker, "side": "bid", "price": "0.4900", "count": "8.00", "updated_client_order_id": "new"}
    answer = desk.call("POST", f"{ORDERS}/{order}/amend", body=body)

    assert answer.status_code == 200
    assert (answer.json()["client_order_id"], answer.json()["remaining_count"]) == ("new", "8.00")
    after = desk.get(f"/portfolio/orders/{order}")["order"]
    assert (after["yes_price_dollars"], after["remaining_count_fp"]) == ("0.4900", "8.00")


def test_amend_of_another_ticker_or_side_is_refused(desk: Peer, house: House, ticker: str) -> None:
    order = desk.create(ticker, "bid", "0.4800", "10.00").json()["order_id"]
    body = {"ticker": ticker, "side": "bid", "price": "0.4900", "count": "8.00"}

    other = desk.call("POST", f"{ORDERS}/{order}/amend", body={**body, "ticker": house.market()})
    ask = desk.call("POST", f"{ORDERS}/{order}/amend", body={**body, "side": "ask"})

    assert error_of(other)[:2] == (400, "order_ticker_mismatch")
    assert error_of(ask)[:2] == (400, "order_side_mismatch")


def test_decrease_takes_exactly_one_of_by_and_to(desk: Peer, ticker: str) -> None:
    order = desk.create(ticker, "bid", "0.4800", "10.00").json()["order_id"]
    path = f"{ORDERS}/{order}/decrease"

    assert desk.call("POST", path, body={"reduce_by": "4.00"}).json()["remaining_count"] == "6.00"
    assert desk.call("POST", path, body={"reduce_to": "2.50"}).json()["remaining_count"] == "2.50"
    assert error_of(desk.call("POST", path, body={"reduce_to": "1.00", "reduce_by": "1.00"}))[0] == 400
    assert error_of(desk.call("POST", path, body={"market_ticker": ticker}))[0] == 400


def test_a_queue_is_that_of_price_and_time(desk: Peer, rival: Peer, ticker: str) -> None:
    # As in the documents: alone at 0.48, and 120.00 rest at 0.49.
    rival.create(ticker, "bid", "0.4900", "120.00")
    order = desk.create(ticker, "bid", "0.4800", "10.00").json()["order_id"]

    assert desk.get(f"/portfolio/orders/{order}/queue_position") == {"queue_position_fp": "120.00"}


def test_queue_positions_count_the_contracts_ahead(desk: Peer, rival: Peer, ticker: str) -> None:
    rival.create(ticker, "bid", "0.4800", "7.50")
    order = desk.create(ticker, "bid", "0.4800", "1.00").json()["order_id"]

    assert desk.get(f"/portfolio/orders/{order}/queue_position") == {"queue_position_fp": "7.50"}
    assert desk.get("/portfolio/orders/queue_positions", market_tickers=ticker) == {
        "queue_positions": [{"order_id": order, "market_ticker": ticker, "queue_position_fp": "7.50"}]
    }


def test_orders_are_listed_newest_first_by_page(desk: Peer, ticker: str) -> None:
    made = [desk.create(ticker, "bid", f"0.{10 + n}00", "1.00").json()["order_id"] for n in range(5)]

    first = desk.get("/portfolio/orders", limit=2)
    second = desk.get("/portfolio/orders", limit=2, cursor=first["cursor"])
    third = desk.get("/portfolio/orders", limit=2, cursor=second["cursor"])

    pages = [[order["order_id"] for order in page["orders"]] for page in (first, second, third)]
    assert pages == [[made[4], made[3]], [made[2], made[1]], [made[0]]]
    assert third["cursor"] == ""
    assert desk.get("/portfolio/orders", limit=2, cursor="garbage!")["orders"] == first["orders"]


def test_an_expiry_lies_ahead_and_stands_beside_gtc_only(desk: Peer, house: House, ticker: str) -> None:
    ahead = house.venue.now_us() // 1_000_000 + 600

    made = desk.create(ticker, "bid", "0.4800", "1.00", expiration_time=ahead)
    order = desk.get(f"/portfolio/orders/{made.json()['order_id']}")["order"]

    assert order["expiration_time"].endswith("Z")
    assert desk.create(ticker, "bid", "0.4800", "1.00", expiration_time=ahead - 1200).status_code == 400
    ioc = desk.create(ticker, "bid", "0.4800", "1.00", expiration_time=ahead, time_in_force="immediate_or_cancel")
    assert ioc.status_code == 400
