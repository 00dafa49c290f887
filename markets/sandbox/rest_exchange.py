"""REST: the exchange itself, and what an account may ask of it.

Source: Kalshi trade API v2, OpenAPI 3.34.0, groups exchange and account; opening hours as recorded in January 2026.
"""

from __future__ import annotations

from typing import Any

from markets.sandbox.frames import micros_text
from markets.sandbox.limits import COSTS, DEFAULT_COST, Tier
from markets.sandbox.numbers import SECOND
from markets.sandbox.routes import Call, Route
from markets.sandbox.web import PREFIX, Answer, answer

SHARDS = {0: "Default", 1: "Combos", 2: "Crypto and commodities", 3: "Sports"}
ALL_DAY = [{"open_time": "00:00", "close_time": "00:00"}]
# The weekly trading pause, New York time.
THURSDAY = [{"open_time": "00:00", "close_time": "03:00"}, {"open_time": "05:00", "close_time": "00:00"}]
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
LIVE_DAYS = 92
ORDER_DAYS = 14
DAY_US = 86_400_000_000
INSTANCE = "event_contract"
GRANTED_SECONDS = 30 * 86_400


def status(call: Call) -> Answer:
    """Say of every shard whether it works and whether it trades; the flags on top are those of shard 0."""
    shards = [_shard(call, index) for index in SHARDS]
    top = {name: value for name, value in shards[0].items() if name.endswith("_active")}
    resumes_us = call.venue.resumes_us
    if resumes_us is not None and not top["trading_active"]:
        top["exchange_estimated_resume_time"] = micros_text(resumes_us)
    return answer({**top, "exchange_index_statuses": shards})


def _shard(call: Call, index: int) -> dict[str, Any]:
    exchange = call.venue.exchange
    return {
        "description": SHARDS[index],
        "exchange_active": exchange.is_exchange_active(index),
        "exchange_index": index,
        "intra_exchange_transfers_active": exchange.is_exchange_active(index),
        "trading_active": exchange.is_trading_active(index),
    }


def schedule(call: Call) -> Answer:
    """Return the hours of the week."""
    week: dict[str, Any] = {day: THURSDAY if day == "thursday" else ALL_DAY for day in DAYS}
    week |= {"start_time": "2024-12-01T05:00:00Z", "end_time": "2200-12-01T05:00:00Z"}
    windows = [
        {"end_datetime": micros_text(end), "start_datetime": micros_text(start)}
        for start, end in call.venue.maintenance
    ]
    return answer({"schedule": {"maintenance_windows": windows, "standard_hours": [week]}})


def user_data_timestamp(call: Call) -> Answer:
    """Say how fresh reads of orders, fills and positions are."""
    return answer({"as_of_time": micros_text(call.venue.reads_as_of_us())})


def historical_cutoff(call: Call) -> Answer:
    """Say what has left the live endpoints."""
    now = call.venue.now_us()
    old = micros_text(now - LIVE_DAYS * DAY_US)
    return answer(
        {
            "market_positions_last_updated_ts": old,
            "market_settled_ts": old,
            "orders_updated_ts": micros_text(now - ORDER_DAYS * DAY_US),
            "trades_created_ts": old,
        }
    )


def account_limits(call: Call) -> Answer:
    """Return what the account's buckets hold."""
    return answer(limits_body(call.venue.allowance(call.member).tier, call.venue.now_us()))


def limits_body(tier: Tier, now_us: int) -> dict[str, Any]:
    """Return a usage level as the account sees it: by hand up to advanced, for a month of volume above."""
    grants = []
    if tier.name not in {"basic", "advanced"}:
        expires = now_us // SECOND + GRANTED_SECONDS
        grants.append({"exchange_instance": INSTANCE, "expires_ts": expires, "level": tier.name, "source": "volume"})
    if tier.name != "basic":
        grants.append({"exchange_instance": INSTANCE, "level": "advanced", "source": "manual"})
    return {
        "grants": grants,
        "read": {"bucket_capacity": tier.read_capacity, "refill_rate": tier.read_rate},
        "usage_tier": tier.name,
        "write": {"bucket_capacity": tier.write_capacity, "refill_rate": tier.write_rate},
    }


def endpoint_costs(call: Call) -> Answer:
    """Return every cost that is not the default."""
    costs = [{"cost": cost, "method": method, "path": f"{PREFIX}{path}"} for (method, path), cost in COSTS.items()]
    return answer({"default_cost": DEFAULT_COST, "endpoint_costs": costs})


ROUTES = [
    Route("GET", "/exchange/status", "GetExchangeStatus", status),
    Route("GET", "/exchange/schedule", "GetExchangeSchedule", schedule),
    Route("GET", "/exchange/user_data_timestamp", "GetUserDataTimestamp", user_data_timestamp),
    Route("GET", "/historical/cutoff", "GetHistoricalCutoff", historical_cutoff),
    Route("GET", "/account/limits", "GetAccountApiLimits", account_limits, "read"),
    Route("GET", "/account/endpoint_costs", "GetAccountEndpointCosts", endpoint_costs),
]
