"""What of the exchange's 128 operations and of its stream is served here, what is not and why.

The one list of it: the report, the judge of silence and the tests all read this.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.markets.sandbox.conformance import Judge

# Served whole: every field that the document names for them is sent by some test, or excused below.
COVERED = frozenset(
    {
        "GET /exchange/status",
        "GET /exchange/schedule",
        "GET /exchange/user_data_timestamp",
        "GET /series",
        "GET /series/{series_ticker}",
        "GET /events",
        "GET /events/multivariate",
        "GET /events/{event_ticker}",
        "GET /events/{event_ticker}/metadata",
        "GET /markets",
        "GET /markets/{ticker}",
        "GET /markets/{ticker}/orderbook",
        "GET /markets/orderbooks",
        "GET /markets/trades",
        "GET /markets/candlesticks",
        "GET /series/{series_ticker}/markets/{ticker}/candlesticks",
        "GET /series/{series_ticker}/events/{ticker}/candlesticks",
        "GET /historical/cutoff",
        "GET /account/limits",
        "GET /account/endpoint_costs",
        "GET /account/api_usage_level/volume_progress",
        "GET /api_keys",
        "POST /api_keys",
        "POST /api_keys/generate",
        "DELETE /api_keys/{api_key}",
        "POST /portfolio/events/orders",
        "DELETE /portfolio/events/orders",
        "POST /portfolio/events/orders/batched",
        "DELETE /portfolio/events/orders/batched",
        "DELETE /portfolio/events/orders/{order_id}",
        "POST /portfolio/events/orders/{order_id}/amend",
        "POST /portfolio/events/orders/{order_id}/decrease",
        "GET /portfolio/orders",
        "GET /portfolio/orders/{order_id}",
        "GET /portfolio/orders/queue_positions",
        "GET /portfolio/orders/{order_id}/queue_position",
        "GET /portfolio/order_groups",
        "POST /portfolio/order_groups/create",
        "GET /portfolio/order_groups/{order_group_id}",
        "DELETE /portfolio/order_groups/{order_group_id}",
        "PUT /portfolio/order_groups/{order_group_id}/limit",
        "PUT /portfolio/order_groups/{order_group_id}/reset",
        "PUT /portfolio/order_groups/{order_group_id}/trigger",
        "GET /portfolio/balance",
        "GET /portfolio/positions",
        "GET /portfolio/fills",
        "GET /portfolio/settlements",
        "GET /portfolio/summary/total_resting_order_value",
        "POST /portfolio/intra_exchange_instance_transfer",
        "GET /portfolio/intra_exchange_instance_transfers",
        "GET /portfolio/intra_exchange_instance_transfers/{transfer_id}",
        "POST /portfolio/subaccounts",
        "POST /portfolio/subaccounts/transfer",
        "GET /portfolio/subaccounts/balances",
        "GET /portfolio/subaccounts/transfers",
        "GET /portfolio/subaccounts/netting",
    }
)
# Served, and always without rows.
EMPTY = {
    "GET /series/fee_changes": "fees are changed by the operator at once, never announced ahead",
    "GET /events/fee_changes": "fees are changed by the operator at once, never announced ahead",
    "GET /multivariate_event_collections": "combos are listed by the operator, nobody may put one together",
    "GET /portfolio/deposits": "play money comes from no bank",
    "GET /portfolio/withdrawals": "play money goes to no bank",
    "GET /historical/markets": "nothing moves to the historical tier",
    "GET /historical/markets/{ticker}": "nothing moves to the historical tier",
    "GET /historical/trades": "nothing moves to the historical tier",
    "GET /historical/fills": "nothing moves to the historical tier",
    "GET /historical/orders": "nothing moves to the historical tier",
}
# Answered with 404 like any path that nobody serves.
ABSENT = {
    r".* /communications/.*": "requests for quotes and block trades: no order of a desk passes there",
    r".* /fcm/.*": "for members that carry customers of their own",
    r".* /live_data/.*": "scores and weather: not of the exchange",
    r".* /(milestones|structured_targets|search|incentive_programs)(/.*)?": "decoration of catalogue pages",
    r".* /multivariate_event_collections/.*": "combos are listed by the operator, nobody may put one together",
    r".* /portfolio/target_balance_allocation": "for institutions: the exchange moves money between shards itself",
    r"PUT /portfolio/subaccounts/netting": "netting between markets has no documented arithmetic",
    r"POST /account/api_usage_level/upgrade": "the operator moves accounts to another level",
    r"GET /series/.*/forecast_percentile_history": "a forecast that the exchange computes by no documented rule",
    r"GET /historical/(markets/.*/candlesticks|positions)": "nothing moves to the historical tier",
}

# The messages of the stream that are sent here; quotes, combos and prices of indices are not.
MESSAGES = frozenset(
    {
        "subscribedResponsePayload",
        "unsubscribedResponsePayload",
        "okResponsePayload",
        "errorResponsePayload",
        "listSubscriptionsResponsePayload",
        "orderbookSnapshotPayload",
        "orderbookDeltaPayload",
        "tickerPayload",
        "tradePayload",
        "fillPayload",
        "userOrderPayload",
        "marketPositionPayload",
        "orderGroupUpdatesPayload",
        "marketLifecycleV2Payload",
        "marketMetadataUpdatedPayload",
        "multivariateMarketLifecyclePayload",
        "eventLifecyclePayload",
        "eventFeeUpdatePayload",
    }
)

# (operation and status, or message; field) → why nothing ever sends it. A field excuses what is inside it.
EXCUSED = {
    (r"POST /api_keys.*", r"warning"): "only for keys of a broker's customers",
    (r"GET /api_keys .*", r"api_keys\.fcm_subtrader_id"): "only for keys of a broker's customers",
    (r"GET .*candlesticks .*", r".*price\.(min|max)_dollars"): "no recorded candle has them",
    (r"DELETE /portfolio/events/orders/batched .*", r"orders\.error\.details"): "no refused cancel has details",
    (r"GET /events .*", r"milestones\..*"): "milestones are not listed here",
}


def absence(operation: str) -> str | None:
    """Return why an operation is not served, or None where no reason is given."""
    return next((reason for pattern, reason in ABSENT.items() if re.fullmatch(pattern, operation)), None)


def excuse(name: str, field: str) -> str | None:
    """Return why a documented field of an operation and status, or of a message, is never sent."""
    for (pattern, way), reason in EXCUSED.items():
        if re.fullmatch(pattern, name) and re.fullmatch(way, field):
            return reason
    return None


def silence(judge: Judge) -> Iterator[str]:
    """Yield a line for everything that should have been heard and was not."""
    successes = {f"{method} {path}" for method, path, status in judge.answers if status < 400}
    yield from (f"{operation}: never answered" for operation in sorted(COVERED - successes))
    yield from (f"{message}: never sent" for message in sorted(MESSAGES - judge.frames.keys()))
    for name, field in judge.unseen():
        operation = name.rpartition(" ")[0] or name
        if (operation in COVERED or name in MESSAGES) and excuse(name, field) is None:
            yield f"{name}: {field}"
