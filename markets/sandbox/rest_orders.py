"""REST: orders are created, amended, decreased, canceled and read.

Source: Kalshi trade API v2, order family V2 of April 2026; writes of the first family answer 410 since June 2026.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from markets.sandbox import intents, papers
from markets.sandbox.errors import deprecated, error_object
from markets.sandbox.intents import Body, invalid_parameters, read_body, read_count
from markets.sandbox.numbers import count_text
from markets.sandbox.orders import CancelAck, NewOrder, OrderStatus
from markets.sandbox.params import Query
from markets.sandbox.refusals import Refusal, Shape, not_found
from markets.sandbox.routes import Call, Route
from markets.sandbox.web import Answer, Request, answer, empty

WRITE = "write::trade"


# --- writes -------------------------------------------------------------------------------------------


def create(call: Call) -> Answer:
    """Enter one order."""
    body = read_body(call.request, "CreateOrderV2Request")
    new = _mine(call, body, intents.new_order(body))
    return answer(papers.created(call.venue.exchange.create_order(call.member, new)), 201)


def create_batch(call: Call) -> Answer:
    """Enter several orders; each is answered for itself, in the order of the request."""
    items = read_body(call.request, "BatchCreateOrdersV2Request").items("orders", "CreateOrderV2Request")
    # What cannot be decoded fails the whole batch before anything of it is entered.
    wanted = [(item, _wanted(item)) for item in items]
    return answer({"orders": [_create_item(call, item, new) for item, new in wanted]}, 201)


def _wanted(item: Body) -> NewOrder | Refusal:
    try:
        return intents.new_order(item)
    except Refusal as refusal:
        if refusal.shape is Shape.FLAT:
            raise
        return refusal


def _create_item(call: Call, item: Body, new: NewOrder | Refusal) -> dict[str, Any]:
    nothing: dict[str, Any] = dict.fromkeys(
        ("average_fee_paid", "average_fill_price", "fill_count", "remaining_count", "ts_ms")
    )
    try:
        if isinstance(new, Refusal):
            raise new
        ack = call.venue.exchange.create_order(call.member, _mine(call, item, new))
        return {**nothing, **papers.created(ack)}
    except Refusal as refusal:
        named = item.text("client_order_id") or None
        return {**nothing, "client_order_id": named, "error": error_object(refusal)}


def _mine(call: Call, body: Body, new: NewOrder) -> NewOrder:
    """Return the order for the sub-account that is meant; a restricted key may not even name the primary one."""
    return replace(new, subaccount=call.subaccount(body.subaccount()) or 0)


def cancel(call: Call) -> Answer:
    """Cancel what rests of one order."""
    ack = _cancel(call, call.path["order_id"], call.query.text("market_ticker"), _target(call.query))
    names = call.venue.exchange.rules.cancel_names_client_order_id
    return answer(papers.canceled(ack) | ({"client_order_id": ack.client_order_id} if names else {}))


def _target(query: Query) -> tuple[int | None, int | None]:
    return query.number("subaccount", low=0), query.number("exchange_index", low=-1)


def _cancel(call: Call, order_id: str, ticker: str, target: tuple[int | None, int | None]) -> CancelAck:
    subaccount, index = target
    return call.venue.exchange.cancel_order(
        call.member, order_id, subaccount=call.subaccount(subaccount) or 0, ticker=ticker, exchange_index=index
    )


def cancel_batch(call: Call) -> Answer:
    """Cancel several orders; each is answered for itself."""
    items = read_body(call.request, "BatchCancelOrdersV2Request").items("orders", "BatchCancelOrdersV2RequestOrder")
    for item in items:
        item.decode(texts=("order_id", "market_ticker"), numbers=("subaccount", "exchange_index"))
    return answer({"orders": [_cancel_item(call, item) for item in items]})


def _cancel_item(call: Call, item: Body) -> dict[str, Any]:
    order_id = item.text("order_id")
    try:
        item.needed("order_id")
        target = (item.subaccount(), item.number("exchange_index"))
        ack = _cancel(call, order_id, item.text("market_ticker"), target)
        return {**papers.canceled(ack), "client_order_id": ack.client_order_id}
    except Refusal as refusal:
        nothing = {"client_order_id": None, "order_id": order_id, "reduced_by": "0.00", "ts_ms": None}
        return {**nothing, "error": error_object(refusal)}


def cancel_all(call: Call) -> Answer:
    """Cancel every resting order on all shards; without a sub-account those of all."""
    call.venue.exchange.cancel_all(call.member, subaccount=call.subaccount(call.query.number("subaccount", low=0)))
    return empty()


def amend(call: Call) -> Answer:
    """Change price, total count or expiry of one order."""
    wanted = intents.amendment(read_body(call.request, "AmendOrderV2Request"))
    subaccount = call.subaccount(call.query.number("subaccount", low=0)) or 0
    ack = call.venue.exchange.amend_order(call.member, call.path["order_id"], wanted, subaccount=subaccount)
    return answer(papers.amended(ack))


def decrease(call: Call) -> Answer:
    """Make one order smaller, by or to a count."""
    body = read_body(call.request, "DecreaseOrderV2Request")
    by, to = body.maybe_text("reduce_by"), body.maybe_text("reduce_to")
    if (by is None) == (to is None):
        raise invalid_parameters("exactly one of reduce_by and reduce_to is required")
    ack = call.venue.exchange.decrease_order(
        call.member,
        call.path["order_id"],
        reduce_by=None if by is None else read_count(by),
        reduce_to=None if to is None else read_count(to),
        subaccount=call.subaccount(call.query.number("subaccount", low=0)) or 0,
        ticker=body.text("market_ticker"),
        exchange_index=body.number("exchange_index"),
    )
    return answer(papers.decreased(ack))


def gone(call: Call) -> Answer:
    """Answer the writes of the first order family."""
    raise deprecated()


# --- reads --------------------------------------------------------------------------------------------


def orders(call: Call) -> Answer:
    """Return orders, newest first; without a sub-account those of all."""
    query = call.query
    limit = query.limit(100, 1000)
    status = query.text("status")
    if status and status not in set(OrderStatus):
        raise Refusal(400, "bad_request", details="invalid status filter")
    rows = call.venue.reads.orders(
        call.member,
        tickers=query.names("ticker"),
        event_tickers=query.names("event_ticker", most=100),
        status=OrderStatus(status) if status else None,
        min_us=query.moment("min_ts"),
        max_us=query.moment("max_ts"),
        subaccount=call.subaccount(query.number("subaccount", low=0)),
        exchange_index=query.number("exchange_index", low=0),
    )
    page, cursor = query.page(rows, lambda row: row.order_id, limit=limit)
    return answer({"cursor": cursor, "orders": [papers.order(row) for row in page]})


def one_order(call: Call) -> Answer:
    """Return one order; without a ticker or a shard only shard 0 is searched."""
    row = call.venue.reads.order(
        call.member,
        call.path["order_id"],
        ticker=call.query.text("market_ticker"),
        exchange_index=call.query.number("exchange_index", low=0),
    )
    if call.key.subaccount not in {None, row.subaccount}:
        raise not_found()
    return answer({"order": papers.order(row)})


def historical_orders(call: Call) -> Answer:
    """Return finished orders that have left the live list: the sandbox keeps all of them live, so there are none."""
    call.query.limit(100, 1000)
    return answer({"cursor": "", "orders": []})


def queue_position(call: Call) -> Answer:
    """Return the contracts ahead of one order."""
    ahead = call.venue.exchange.queue_position(call.member, call.path["order_id"], subaccount=call.key.subaccount)
    return answer({"queue_position_fp": count_text(ahead)})


def queue_positions(call: Call) -> Answer:
    """Return the contracts ahead of every resting order; without a sub-account those of the primary one."""
    query = call.query
    found = call.venue.exchange.queue_positions(
        call.member,
        tickers=query.names("market_tickers"),
        event_ticker=query.text("event_ticker"),
        subaccount=call.subaccount(query.number("subaccount", low=0)) or 0,
    )
    rows = [
        {"market_ticker": row.ticker, "order_id": row.order_id, "queue_position_fp": count_text(ahead)}
        for row, ahead in found
    ]
    return answer({"queue_positions": rows})


def count_items(request: Request) -> int:
    """Return how many orders a batch names; 1 where that cannot be read."""
    try:
        found = request.json()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 1
    items = found.get("orders") if isinstance(found, dict) else None
    return len(items) if isinstance(items, list) else 1


BASE = "/portfolio/events/orders"
OLD = "/portfolio/orders"
ROUTES = [
    Route("POST", BASE, "CreateOrderV2", create, WRITE),
    Route("DELETE", BASE, "CancelAllOrders", cancel_all, WRITE),
    Route("POST", f"{BASE}/batched", "BatchCreateOrdersV2", create_batch, WRITE, count_items),
    Route("DELETE", f"{BASE}/batched", "BatchCancelOrdersV2", cancel_batch, WRITE, count_items),
    Route("DELETE", f"{BASE}/{{order_id}}", "CancelOrderV2", cancel, WRITE),
    Route("POST", f"{BASE}/{{order_id}}/amend", "AmendOrderV2", amend, WRITE),
    Route("POST", f"{BASE}/{{order_id}}/decrease", "DecreaseOrderV2", decrease, WRITE),
    Route("GET", OLD, "GetOrders", orders, "read"),
    Route("GET", f"{OLD}/queue_positions", "GetOrderQueuePositions", queue_positions, "read"),
    Route("GET", f"{OLD}/{{order_id}}", "GetOrder", one_order, "read"),
    Route("GET", f"{OLD}/{{order_id}}/queue_position", "GetOrderQueuePosition", queue_position, "read"),
    Route("GET", "/historical/orders", "GetHistoricalOrders", historical_orders, "read"),
    Route("POST", OLD, "CreateOrder", gone, WRITE),
    Route("POST", f"{OLD}/batched", "BatchCreateOrders", gone, WRITE),
    Route("DELETE", f"{OLD}/batched", "BatchCancelOrders", gone, WRITE),
    Route("DELETE", f"{OLD}/{{order_id}}", "CancelOrder", gone, WRITE),
    Route("POST", f"{OLD}/{{order_id}}/amend", "AmendOrder", gone, WRITE),
    Route("POST", f"{OLD}/{{order_id}}/decrease", "DecreaseOrder", gone, WRITE),
]
