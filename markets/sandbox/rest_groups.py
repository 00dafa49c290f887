"""REST: order groups, the exchange's own limit on what may match in fifteen seconds.

Source: Kalshi trade API v2, OpenAPI 3.34.0; a list without groups is the empty object, as recorded.
"""

from __future__ import annotations

from markets.sandbox.intents import Body, invalid_parameters, read_body, read_count
from markets.sandbox.numbers import CONTRACT, count_text
from markets.sandbox.orders import Group
from markets.sandbox.refusals import not_found
from markets.sandbox.routes import Call, Route
from markets.sandbox.web import Answer, answer

WRITE = "write::trade"
MOST_CONTRACTS = 1_000_000


def create(call: Call) -> Answer:
    """Open a group."""
    body = read_body(call.request, "CreateOrderGroupRequest")
    subaccount = call.subaccount(body.subaccount()) or 0
    made = call.venue.exchange.create_group(
        call.member, _limit(body), subaccount=subaccount, exchange_index=body.number("exchange_index") or 0
    )
    return answer(
        {"exchange_index": made.exchange_index, "order_group_id": made.group_id, "subaccount": made.subaccount}, 201
    )


def listing(call: Call) -> Answer:
    """Return the member's groups."""
    subaccount = call.subaccount(call.query.number("subaccount", low=0))
    rows = call.venue.exchange.groups(call.member, subaccount=subaccount)
    if not rows:
        return answer({})
    found = [
        {
            "contracts_limit_fp": count_text(row.limit),
            "exchange_index": row.exchange_index,
            "id": row.group_id,
            "is_auto_cancel_enabled": True,
        }
        for row in rows
    ]
    return answer({"order_groups": found})


def one(call: Call) -> Answer:
    """Return one group and its resting orders."""
    row = _group(call)
    return answer(
        {
            "contracts_limit_fp": count_text(row.limit),
            "exchange_index": row.exchange_index,
            "is_auto_cancel_enabled": True,
            "orders": list(row.order_ids),
        }
    )


def set_limit(call: Call) -> Answer:
    """Change the limit; it may trigger the group at once."""
    limit = _limit(read_body(call.request, "UpdateOrderGroupLimitRequest"))
    call.venue.exchange.set_group_limit(call.member, _group_to_change(call).group_id, limit)
    return answer({})


def trigger(call: Call) -> Answer:
    """Cancel the group's orders and take no new ones."""
    read_body(call.request, "EmptyResponse")
    call.venue.exchange.trigger_group(call.member, _group_to_change(call).group_id)
    return answer({})


def reset(call: Call) -> Answer:
    """Let a triggered group take orders again."""
    read_body(call.request, "EmptyResponse")
    call.venue.exchange.reset_group(call.member, _group_to_change(call).group_id)
    return answer({})


def delete(call: Call) -> Answer:
    """Cancel the group's orders and forget it."""
    call.venue.exchange.delete_group(call.member, _group_to_change(call).group_id)
    return answer({})


def _group(call: Call) -> Group:
    """Return the group that a read means: without a sub-account those of all are looked through."""
    return _of_subaccount(call, call.subaccount(call.query.number("subaccount", low=0)))


def _group_to_change(call: Call) -> Group:
    """Return the group that a write means: without a sub-account the primary one is."""
    return _of_subaccount(call, call.subaccount(call.query.number("subaccount", low=0)) or 0)


def _of_subaccount(call: Call, subaccount: int | None) -> Group:
    found = call.venue.exchange.group(call.member, call.path["order_group_id"])
    if subaccount not in {None, found.subaccount}:
        raise not_found()
    return found


def _limit(body: Body) -> int:
    whole, fraction = body.number("contracts_limit"), body.maybe_text("contracts_limit_fp")
    if whole is None and fraction is None:
        raise invalid_parameters("contracts_limit or contracts_limit_fp is required")
    found = read_count(fraction) if fraction is not None else (whole or 0) * CONTRACT
    if whole is not None and found != whole * CONTRACT:
        raise invalid_parameters("contracts_limit and contracts_limit_fp must match")
    if not CONTRACT <= found <= MOST_CONTRACTS * CONTRACT:
        raise invalid_parameters("contracts_limit must be between 1 and 1000000")
    return found


BASE = "/portfolio/order_groups"
ONE = f"{BASE}/{{order_group_id}}"
ROUTES = [
    Route("GET", BASE, "GetOrderGroups", listing, "read"),
    Route("POST", f"{BASE}/create", "CreateOrderGroup", create, WRITE),
    Route("GET", ONE, "GetOrderGroup", one, "read"),
    Route("DELETE", ONE, "DeleteOrderGroup", delete, WRITE),
    Route("PUT", f"{ONE}/limit", "UpdateOrderGroupLimit", set_limit, WRITE),
    Route("PUT", f"{ONE}/trigger", "TriggerOrderGroup", trigger, WRITE),
    Route("PUT", f"{ONE}/reset", "ResetOrderGroup", reset, WRITE),
]
