"""Which bucket a write takes its tokens from: the general one, that of the shard it names, or that of every shard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.markets.sandbox.conftest import House
from tests.markets.sandbox.peer import Peer

ORDERS = "/portfolio/events/orders"


@pytest.fixture
def poor(house: House) -> Iterator[Peer]:
    """Return a member of the lowest level, ten writes a bucket, while time stands still and fills none of them."""
    member = house.member(tier="basic")
    house.do(lambda: setattr(house.venue.clock, "held_us", house.venue.now_us()))
    yield member
    house.do(house.venue.clock.release)


def statuses(peer: Peer, ticker: str, times: int, **fields: Any) -> list[int]:
    return [peer.create(ticker, "bid", "0.4000", "1.00", **fields).status_code for _ in range(times)]


def test_a_write_that_names_a_shard_takes_from_that_shards_own_bucket(poor: Peer, ticker: str) -> None:
    # The market is not on shard 1: ten times that is found out, then there is nothing left to find it out with.
    assert statuses(poor, ticker, 11, exchange_index=1) == [404] * 10 + [429]

    assert statuses(poor, ticker, 1, exchange_index=2) == [404]
    assert statuses(poor, ticker, 1, exchange_index=0) == [201]
    assert poor.call("DELETE", f"{ORDERS}/nobody", exchange_index=1).status_code == 429
    assert poor.call("DELETE", f"{ORDERS}/nobody").status_code == 404


def test_a_write_that_finds_its_shard_by_the_ticker_takes_from_every_shards_bucket(poor: Peer, ticker: str) -> None:
    statuses(poor, ticker, 10, exchange_index=3)

    assert statuses(poor, ticker, 2) == [429, 429]
    assert statuses(poor, ticker, 1, exchange_index=-1) == [429]
    assert poor.call("DELETE", f"{ORDERS}/nobody", market_ticker=ticker).status_code == 429
    # What was refused took nothing.
    assert statuses(poor, ticker, 11, exchange_index=1) == [404] * 10 + [429]


def test_batches_and_writes_without_a_shard_take_from_the_general_bucket(poor: Peer, ticker: str) -> None:
    statuses(poor, ticker, 10, exchange_index=1)

    named = {"order_id": "nobody", "exchange_index": 1}
    assert poor.call("DELETE", f"{ORDERS}/batched", body={"orders": [named]}).status_code == 200
    assert poor.call("DELETE", ORDERS).status_code == 204


def test_a_group_that_names_a_shard_takes_from_its_bucket(poor: Peer, ticker: str) -> None:
    statuses(poor, ticker, 10, exchange_index=1)

    body = {"contracts_limit": 5}
    path = "/portfolio/order_groups"
    assert poor.call("POST", f"{path}/create", body={**body, "exchange_index": 1}).status_code == 429
    made = poor.call("POST", f"{path}/create", body=body)
    assert made.status_code == 201
    group = made.json()["order_group_id"]
    assert poor.call("PUT", f"{path}/{group}/reset", body={}, exchange_index=1).status_code == 429
    assert poor.call("PUT", f"{path}/{group}/reset", body={}).status_code == 200
