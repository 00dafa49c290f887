"""Sub-accounts: which one is meant when none is named, and what a key that is bound to one sees of the others."""

from __future__ import annotations

from typing import Any

import pytest

from tests.markets.sandbox.conftest import House
from tests.markets.sandbox.peer import Peer

GROUPS = "/portfolio/order_groups"


@pytest.fixture
def number(desk: Peer) -> int:
    """Return the desk's sub-account 1, with $100."""
    made: int = desk.call("POST", "/portfolio/subaccounts", body={}).json()["subaccount_number"]
    body = {
        "client_transfer_id": "22222222-2222-4222-8222-222222222222",
        "from_subaccount": 0,
        "to_subaccount": made,
        "amount_cents": 10_000,
    }
    assert desk.call("POST", "/portfolio/subaccounts/transfer", body=body).status_code == 200
    return made


@pytest.fixture
def bound(house: House, desk: Peer, number: int) -> Peer:
    """Return a key that is restricted to sub-account 1."""
    return house.key_of(desk.member_id, subaccount=number)  # type: ignore[attr-defined]


def group(peer: Peer, **fields: Any) -> str:
    made: str = peer.call("POST", f"{GROUPS}/create", body={"contracts_limit": 10, **fields}).json()["order_group_id"]
    return made


# --- which one is meant -------------------------------------------------------------------------------


def test_queue_positions_are_those_of_the_primary_account_unless_told(desk: Peer, ticker: str, number: int) -> None:
    first = desk.create(ticker, "bid", "0.4000", "1.00").json()["order_id"]
    second = desk.create(ticker, "bid", "0.3900", "1.00", subaccount=number).json()["order_id"]

    def queued(**params: Any) -> list[str]:
        rows = desk.get("/portfolio/orders/queue_positions", market_tickers=ticker, **params)["queue_positions"]
        return [row["order_id"] for row in rows]

    assert queued() == [first]
    assert queued(subaccount=number) == [second]


@pytest.mark.parametrize(
    ("method", "verb", "body"),
    [
        ("PUT", "/trigger", {}),
        ("PUT", "/reset", {}),
        ("PUT", "/limit", {"contracts_limit": 20}),
        ("DELETE", "", None),
    ],
)
def test_writes_to_a_group_mean_the_primary_account_unless_told(
    desk: Peer, number: int, method: str, verb: str, body: Any
) -> None:
    made = group(desk, subaccount=number)

    assert desk.get(f"{GROUPS}/{made}")["orders"] == []  # reads mean all of them
    assert desk.call(method, f"{GROUPS}/{made}{verb}", body=body).status_code == 404
    assert desk.call(method, f"{GROUPS}/{made}{verb}", body=body, subaccount=number).status_code == 200


def test_sub_accounts_need_the_advanced_level(house: House) -> None:
    assert house.member(tier="basic").call("POST", "/portfolio/subaccounts", body={}).status_code == 403
    assert house.member(tier="advanced").call("POST", "/portfolio/subaccounts", body={}).status_code == 201


# --- a key bound to one -------------------------------------------------------------------------------


def test_a_bound_key_enters_orders_for_its_own_sub_account_alone(bound: Peer, ticker: str, number: int) -> None:
    refused = bound.create(ticker, "bid", "0.4000", "1.00", subaccount=0)
    item = {"ticker": ticker, "side": "bid", "price": "0.4000", "count": "1.00", "subaccount": 0}
    item |= {"time_in_force": "good_till_canceled", "self_trade_prevention_type": "maker"}
    batch = bound.call("POST", "/portfolio/events/orders/batched", body={"orders": [item]})

    sentence = "this API key is restricted to a single sub-account and cannot access this endpoint"
    assert (refused.status_code, refused.json()["error"]["message"]) == (403, sentence)
    assert (batch.status_code, batch.json()["orders"][0]["error"]["message"]) == (201, sentence)
    for named in ({}, {"subaccount": number}):
        order = bound.create(ticker, "bid", "0.4000", "1.00", **named).json()["order_id"]
        assert bound.get(f"/portfolio/orders/{order}")["order"]["subaccount_number"] == number


def test_a_bound_key_sees_no_queue_of_a_sibling(desk: Peer, bound: Peer, ticker: str) -> None:
    theirs = desk.create(ticker, "bid", "0.4000", "1.00").json()["order_id"]
    own = bound.create(ticker, "bid", "0.3900", "1.00").json()["order_id"]

    assert bound.call("GET", f"/portfolio/orders/{theirs}/queue_position").status_code == 404
    assert bound.get(f"/portfolio/orders/{own}/queue_position") == {"queue_position_fp": "1.00"}


def test_a_bound_key_sees_the_value_of_its_own_resting_orders(desk: Peer, bound: Peer, ticker: str) -> None:
    desk.create(ticker, "bid", "0.4000", "10.00")
    bound.create(ticker, "bid", "0.3000", "10.00")

    path = "/portfolio/summary/total_resting_order_value"
    assert bound.get(path)["total_resting_order_value"] == 300
    assert desk.get(path)["total_resting_order_value"] == 700


def test_a_bound_key_is_not_shown_a_siblings_orders_in_the_book(desk: Peer, bound: Peer, ticker: str) -> None:
    socket = bound.connect()
    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[ticker])
    list(socket.read(2))

    desk.create(ticker, "bid", "0.4000", "1.00", client_order_id="11111111-1111-4111-8111-111111111112")
    bound.create(ticker, "bid", "0.3900", "1.00", client_order_id="11111111-1111-4111-8111-111111111113")

    theirs, own = (frame["msg"] for frame in socket.read(2))
    assert not {"client_order_id", "subaccount"} & set(theirs)
    assert (own["client_order_id"], own["subaccount"]) == ("11111111-1111-4111-8111-111111111113", 1)


def test_a_bound_key_hears_of_the_groups_of_its_own_sub_account(desk: Peer, bound: Peer, number: int) -> None:
    socket, everything = bound.connect(), desk.connect()
    for one in (socket, everything):
        one.send("subscribe", channels=["order_group_updates"])
        one.next()

    theirs, own = group(desk), group(bound)

    assert socket.next()["msg"]["order_group_id"] == own
    assert [frame["msg"]["order_group_id"] for frame in everything.read(2)] == [theirs, own]
