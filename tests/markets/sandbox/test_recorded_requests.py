"""The requests that the exchange's documents show are taken here, and no example or recording is left unjudged."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from markets.sandbox import bodies
from markets.sandbox.catalogue import FeeType
from markets.sandbox.grid import STRUCTURES
from tests.markets.sandbox import test_recorded_bodies
from tests.markets.sandbox.conformance import Judge
from tests.markets.sandbox.conftest import House
from tests.markets.sandbox.covered import COVERED, EMPTY, absence
from tests.markets.sandbox.peer import PREFIX, Peer
from tests.markets.sandbox.shapes import differences
from tests.markets.sandbox.test_every_field import list_one

ORDERS = "/portfolio/events/orders"

# Examples of operations that are not served; `covered` says why they are not.
NOT_SERVED = {
    "auto_GetEventForecastPercentilesHistoryResponse": "GET /series/{s}/events/{t}/forecast_percentile_history",
    "auto_GetMultivariateEventCollectionResponse": "GET /multivariate_event_collections/{t}",
    "auto_GetTargetBalanceAllocationResponse": "GET /portfolio/target_balance_allocation",
    "auto_SetTargetBalanceAllocationRequest": "POST /portfolio/target_balance_allocation",
    "auto_UpdateSubaccountNettingRequest": "PUT /portfolio/subaccounts/netting",
    "historical_candlesticks": "GET /historical/markets/{t}/candlesticks",
    "mve_create_market_request": "POST /multivariate_event_collections/{t}",
    "mve_create_market_response": "POST /multivariate_event_collections/{t}",
}
# What is no body of an operation and is judged by tests of its own.
TABLES = {"fee_vectors": "test_fees"}


class Counter:
    """One market, one member, and what the requests name."""

    def __init__(self, house: House, desk: Peer, rival: Peer) -> None:
        self.house, self.desk, self.rival = house, desk, rival
        self.ticker = house.market()

    def fit(self, shown: Any, **names: Any) -> Any:
        """Return a shown body with this market, fresh ids and a time that lies ahead."""
        found = dict(shown)
        for name in ("ticker", "market_ticker"):
            if name in found:
                found[name] = self.ticker
        if found.get("client_order_id"):
            found["client_order_id"] = f"{time.monotonic_ns()}"
        if "expiration_time" in found:
            found["expiration_time"] = int(time.time()) + 3600
        return {**found, **names}

    def order(self, **fields: Any) -> str:
        asked = {"side": "bid", "price": "0.4800", "count": "10.00", **fields}
        return str(self.desk.create(self.ticker, **asked).json()["order_id"])

    def group(self) -> str:
        made = self.desk.call("POST", "/portfolio/order_groups/create", body={"contracts_limit": 5})
        return str(made.json()["order_group_id"])


@pytest.fixture
def counter(house: House, desk: Peer, rival: Peer) -> Counter:
    return Counter(house, desk, rival)


def create(counter: Counter, shown: Any) -> requests.Response:
    if "order_group_id" in shown:
        shown = {**shown, "order_group_id": counter.group()}
    counter.rival.create(counter.ticker, "ask", "0.5000", "20.00")
    if shown.get("reduce_only"):
        counter.desk.create(counter.ticker, "bid", "0.5000", "10.00")
        counter.rival.create(counter.ticker, "bid", "0.4700", "20.00")
    return counter.desk.call("POST", ORDERS, body=counter.fit(shown))


def amend(counter: Counter, shown: Any) -> requests.Response:
    own = f"{time.monotonic_ns()}"
    order_id = counter.order(client_order_id=own)
    names = {"client_order_id": own} if "client_order_id" in shown else {}
    if "updated_client_order_id" in shown:
        names["updated_client_order_id"] = f"{own} new"
    return counter.desk.call("POST", f"{ORDERS}/{order_id}/amend", body=counter.fit(shown, **names))


def decrease(counter: Counter, shown: Any) -> requests.Response:
    return counter.desk.call("POST", f"{ORDERS}/{counter.order()}/decrease", body=counter.fit(shown))


def create_batch(counter: Counter, shown: Any) -> requests.Response:
    items = [counter.fit(item) for item in shown["orders"]]
    return counter.desk.call("POST", f"{ORDERS}/batched", body={"orders": items})


def cancel_batch(counter: Counter, shown: Any) -> requests.Response:
    items = [counter.fit(item, order_id=counter.order()) for item in shown["orders"]]
    return counter.desk.call("DELETE", f"{ORDERS}/batched", body={"orders": items})


def own_key(counter: Counter, shown: Any) -> requests.Response:
    pair = ed25519.Ed25519PrivateKey.generate().public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = pair.public_bytes(serialization.Encoding.PEM, form).decode()
    for _ in range(shown.get("subaccount", 0)):
        counter.desk.call("POST", "/portfolio/subaccounts", body={})
    return counter.desk.call("POST", "/api_keys", body={**shown, "public_key": pem})


def limit(counter: Counter, shown: Any) -> requests.Response:
    return counter.desk.call("PUT", f"/portfolio/order_groups/{counter.group()}/limit", body=shown)


def move(counter: Counter, shown: Any) -> requests.Response:
    counter.desk.call("POST", "/portfolio/subaccounts", body={})
    return counter.desk.call("POST", "/portfolio/subaccounts/transfer", body=shown)


def move_between_shards(counter: Counter, shown: Any) -> requests.Response:
    body = {**shown, "destination_exchange_shard": 1}  # the example moves money to where it is
    return counter.desk.call("POST", "/portfolio/intra_exchange_instance_transfer", body=body)


def post(path: str) -> Callable[[Counter, Any], requests.Response]:
    return lambda counter, shown: counter.desk.call("POST", path, body=shown)


REQUESTS: dict[str, tuple[Callable[[Counter, Any], requests.Response], int]] = {
    "api_keys_create_request": (own_key, 201),
    "api_keys_create_request_subaccount": (own_key, 201),
    "api_keys_generate_request": (post("/api_keys/generate"), 201),
    "auto_CreateSubaccountRequest": (post("/portfolio/subaccounts"), 201),
    "auto_IntraExchangeInstanceTransferRequest": (move_between_shards, 200),
    "order_amend_request": (amend, 200),
    "order_amend_request_expiry_only": (amend, 200),
    "order_batch_cancel_request": (cancel_batch, 200),
    "order_batch_create_request": (create_batch, 201),
    "order_create_request_buy_no_at_40c": (create, 201),
    "order_create_request_fok": (create, 201),
    "order_create_request_gtd_all_fields": (create, 201),
    "order_create_request_ioc": (create, 201),
    "order_create_request_limit_gtc": (create, 201),
    "order_create_request_reduce_only": (create, 201),
    "order_decrease_request_by": (decrease, 200),
    "order_decrease_request_to": (decrease, 200),
    "order_group_create_request": (post("/portfolio/order_groups/create"), 201),
    "order_group_create_request_fp": (post("/portfolio/order_groups/create"), 201),
    "order_group_limit_request": (limit, 200),
    "subaccount_transfer_request": (move, 200),
}


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_what_the_documents_show_as_a_request_is_taken(counter: Counter, exchange_documents: Path, name: str) -> None:
    send, status = REQUESTS[name]
    shown = json.loads((exchange_documents / "examples" / f"{name}.json").read_text())

    answer = send(counter, shown)

    assert answer.status_code == status, answer.text
    items = answer.json().get("orders", [])
    assert [item["error"] for item in items if "error" in item] == []


# --- further answers ------------------------------------------------------------------------------------


def partial(counter: Counter) -> Any:
    counter.rival.create(counter.ticker, "ask", "0.5000", "4.00")
    return counter.desk.create(counter.ticker, "bid", "0.5000", "10.00", client_order_id="partial").json()


def candles_of_event(counter: Counter) -> Any:
    counter.rival.create(counter.ticker, "ask", "0.5000", "4.00")
    counter.desk.create(counter.ticker, "bid", "0.5000", "4.00")
    event = counter.house.venue.exchange.markets[counter.ticker].event_ticker
    series = counter.house.venue.exchange.events[event].series_ticker
    now = int(time.time())
    asked = {"start_ts": now - 60, "end_ts": now + 60, "period_interval": 1}
    return counter.desk.get(f"/series/{series}/events/{event}/candlesticks", **asked)


def transferred(counter: Counter) -> Any:
    body = {"source": "event_contract", "destination": "event_contract", "amount": 100_000}
    body |= {
        "destination_exchange_shard": 1,
        "client_transfer_id": f"5f0c1d9e-3b7a-4d52-9c11-{time.monotonic_ns():012d}",
    }
    return counter.desk.call("POST", "/portfolio/intra_exchange_instance_transfer", body=body).json()


def one_transfer(counter: Counter) -> Any:
    return counter.desk.get(f"/portfolio/intra_exchange_instance_transfers/{transferred(counter)['transfer_id']}")


def transfers(counter: Counter) -> Any:
    transferred(counter)
    return counter.desk.get("/portfolio/intra_exchange_instance_transfers")


def with_override(counter: Counter) -> Any:
    event = counter.house.venue.exchange.markets[counter.ticker].event_ticker
    counter.house.do(counter.house.venue.exchange.set_event_fee, event, FeeType.QUADRATIC, 5000)
    return counter.desk.get(f"/events/{event}")


def combo(counter: Counter) -> Any:
    ticker = list_one(counter.house, "KXMVESHOWN")
    return counter.desk.get(f"/markets/{ticker}")


def half_fee(counter: Counter) -> Any:
    list_one(counter.house, "KXHALF")
    return counter.desk.get("/series/KXHALF")


def broken(counter: Counter, fault: str, answered: int, **params: Any) -> Any:
    match = {"method": "POST", "path": f"{PREFIX}{ORDERS}"}
    asked = {"fault": fault, "match": match, "params": params, "count": 1}
    requests.post(f"{counter.house.url}/__sandbox__/faults", json=asked, timeout=5)
    answer = counter.desk.create(counter.ticker, "bid", "0.4000", "1.00")
    assert answer.status_code == answered
    return {"_status": answered, "body": answer.json()}


def closed_by_an_older_word(counter: Counter) -> Any:
    """One report of May 2026; the engine's own word since is 400 market_inactive, as a test below has it."""
    return broken(counter, "P23", 409, status=409, code="market_closed", message="market closed")


def cancel_by_the_document(counter: Counter) -> Any:
    """Answer a cancel as the document has it; the recorded one, which is the default here, names no client order id."""
    asked = {"fault": "C2", "params": {"cancel_names_client_order_id": True}}
    fault = requests.post(f"{counter.house.url}/__sandbox__/faults", json=asked, timeout=5).json()
    own = f"{time.monotonic_ns()}"
    answer = counter.desk.call("DELETE", f"{ORDERS}/{counter.order(client_order_id=own)}")
    requests.delete(f"{counter.house.url}/__sandbox__/faults/{fault['id']}", timeout=5)
    assert answer.json()["client_order_id"] == own
    return answer.json()


def other_price(counter: Counter) -> Any:
    order_id = counter.order(client_order_id=f"{time.monotonic_ns()}")
    body = {"ticker": counter.ticker, "side": "bid", "price": "0.4700", "count": "10.00"}
    return counter.desk.call("POST", f"{ORDERS}/{order_id}/amend", body=body).json()


ANSWERS: dict[str, Callable[[Counter], Any]] = {
    "auto_GetIntraExchangeInstanceTransferResponse": one_transfer,
    "auto_GetIntraExchangeInstanceTransfersResponse": transfers,
    "auto_IntraExchangeInstanceTransferResponse": transferred,
    "candlesticks_event": candles_of_event,
    "error_409_market_closed": closed_by_an_older_word,
    "error_429_rate_limited_observed": lambda counter: broken(counter, "P14", 429, body="nested"),
    "error_500_flat_openapi_shape": lambda counter: broken(counter, "P7", 500, status=500),
    "event_with_fee_override": with_override,
    "market_mve_combo": combo,
    "order_amend_response_price_only": other_price,
    "order_cancel_response": cancel_by_the_document,
    "order_create_response_partial_gtc": partial,
    "series_half_fee_with_maker": half_fee,
}


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_what_the_documents_show_further_is_answered_in_the_same_form(
    counter: Counter, exchange_documents: Path, name: str
) -> None:
    shown = json.loads((exchange_documents / "examples" / f"{name}.json").read_text())

    ours = ANSWERS[name](counter)

    assert list(differences(shown.get("body", shown), ours.get("body", ours))) == []
    assert shown.get("_status") == ours.get("_status")
    if "_status" in shown:
        theirs, own = (body.get("error", body) for body in (shown["body"], ours["body"]))
        assert (own["code"], own["message"]) == (theirs["code"], theirs["message"])


# --- nothing is left out --------------------------------------------------------------------------------


def test_every_example_is_judged_or_a_reason_is_given(exchange_documents: Path) -> None:
    shown = {path.stem for path in (exchange_documents / "examples").glob("*.json")} - {"_index"}
    of_rest = {name for name in shown if not name.startswith("ws_")}
    judged = [set(test_recorded_bodies.EXAMPLES), set(REQUESTS), set(ANSWERS)]
    reasoned = [set(NOT_SERVED), set(TABLES)]

    everything = [name for names in (*judged, *reasoned) for name in names]
    assert len(everything) == len(set(everything))
    assert set(everything) == of_rest


def test_an_example_that_is_not_served_belongs_to_an_operation_with_a_reason(judge: Judge) -> None:
    for operation in NOT_SERVED.values():
        method, _, path = operation.partition(" ")
        found = judge.operation(method, re.sub(r"\{\w+\}", "x", path))
        assert found is not None, operation
        assert absence(f"{method} {found[0]}") is not None, operation
        assert f"{method} {found[0]}" not in COVERED | set(EMPTY), operation


def test_a_market_that_is_closed_refuses_in_the_engines_words(counter: Counter) -> None:
    """Where an older report has 409 market_closed, this is what is said."""
    counter.house.do(counter.house.venue.exchange.move_close, counter.ticker, counter.house.venue.now_us())

    answer = counter.desk.create(counter.ticker, "bid", "0.4000", "1.00")

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "market_inactive")


# --- recordings of combos and grids ---------------------------------------------------------------------


def test_recorded_books_of_combos_come_in_the_same_form(house: House, desk: Peer, recordings: Path) -> None:
    recorded = json.loads((recordings / "rest" / "markets" / "combo_orderbooks.json").read_text())
    ticker = list_one(house, "KXMVEBOOK")
    desk.call(
        "POST",
        "/portfolio/intra_exchange_instance_transfer",
        body={
            "source": "event_contract",
            "destination": "event_contract",
            "amount": 50_000_000,
            "destination_exchange_shard": 1,
        },
    )
    desk.create(ticker, "ask", "0.1880", "369.00")

    ours = desk.get("/markets/orderbooks", tickers=ticker)["orderbooks"]

    assert ours[0]["orderbook_fp"] == {"no_dollars": [["0.8120", "369.00"]], "yes_dollars": []}
    assert list(differences(recorded, ours)) == []
    assert recorded[0]["orderbook_fp"] == ours[0]["orderbook_fp"]


def test_recorded_grids_are_the_grids_of_their_names(recordings: Path) -> None:
    recorded = json.loads((recordings / "rest" / "markets" / "price_grids.json").read_text())["grids"]

    assert recorded
    for grid in recorded:
        assert bodies.price_ranges(STRUCTURES[grid["price_level_structure"]]) == [
            {name: band[name] for name in ("start", "end", "step")} for band in grid["price_ranges"]
        ]
