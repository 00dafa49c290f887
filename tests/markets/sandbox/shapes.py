"""Compares two bodies by their form: the same fields, each written in the same way, whatever the values are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

FORMS = {
    "price": re.compile(r"-?\d+\.\d{4}"),
    "money": re.compile(r"-?\d+\.\d{6}"),
    "count": re.compile(r"-?\d+\.\d{2}"),
    "uuid": re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    "time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z"),
}

# Fields that were recorded and are gone by the document of October 2026, or never were in it.
GONE = frozenset(
    {
        "service",
        "fractional_trading_enabled",
        "liquidity_dollars",
        "resting_orders_count",
        "response_price_units",
        "available_on_brokers",
        "settlement_value",
        "min_dollars",
        "max_dollars",
    }
)
# Fields in which anything may stand.
FREE = frozenset({"expiration_value", "strike_period", "frequency"})
# Fields that only some markets, events, orders have.
OPTIONAL = frozenset(
    {
        "api_key_region_expiration_ts",
        "exchange_estimated_resume_time",
        "cap_strike",
        "client_order_id",
        "custom_strike",
        "details",
        "early_close_condition",
        "expiration_time",
        "fee_multiplier_override",
        "fee_type_override",
        "fee_waiver_expiration_time",
        "floor_strike",
        "functional_strike",
        "grants",
        "is_provisional",
        "mve_collection_ticker",
        "mve_selected_legs",
        "occurrence_datetime",
        "order_group_id",
        "primary_participant_key",
        "product_metadata",
        "rules_secondary",
        "settlement_ts",
        "settlement_value_dollars",
        "strike_date",
        "strike_period",
        "strike_type",
        "subtitle",
        "warning",
        "featured_image_url",
        "expires_ts",
    }
)


def form_of(value: Any) -> str:
    """Return how a value is written."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return next((name for name, pattern in FORMS.items() if pattern.fullmatch(value)), "text")
    return "list" if isinstance(value, list) else "object"


def differences(theirs: Any, ours: Any, way: str = "") -> Iterator[str]:
    """Yield a sentence for each field that is missing here or written in another way."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name, value in theirs.items():
            if name in FREE:
                continue
            if name in ours:
                yield from differences(value, ours[name], f"{way}.{name}")
            elif name not in GONE | OPTIONAL:
                yield f"{way}.{name} is missing"
    elif isinstance(theirs, list) and isinstance(ours, list):
        if theirs and ours:
            yield from differences(theirs[0], ours[0], f"{way}[0]")
    elif not _are_alike(form_of(theirs), form_of(ours)):
        yield f"{way} is written as {form_of(ours)}, not as {form_of(theirs)}"


def _are_alike(theirs: str, ours: str) -> bool:
    # An empty text may stand for anything that is not known yet; a null for anything optional.
    return theirs == ours or "null" in {theirs, ours} or {theirs, ours} == {"text", "uuid"}
