"""Bodies of what belongs to one member: orders, fills, positions, settlements, money, as REST shows them.

Source: Kalshi trade API v2, OpenAPI 3.34.0. Direction is `book_side` and `outcome_side`; the deprecated `action` and
`side` of an order at the ask read buy and no.
"""

from __future__ import annotations

from typing import Any

from markets.sandbox.accounts import BalanceView, EventPosition, Fill, Position, Settlement, Transfer
from markets.sandbox.frames import micros_text
from markets.sandbox.numbers import CENT, CONTRACT, DOLLAR, SECOND, balance_text, count_text, money_text, price_text
from markets.sandbox.orders import AmendAck, CancelAck, CreateAck, DecreaseAck, Order


def direction(is_bid: bool) -> dict[str, str]:
    """Return every field that tells which way."""
    side = "yes" if is_bid else "no"
    return {"action": "buy", "book_side": "bid" if is_bid else "ask", "outcome_side": side, "side": side}


def order(row: Order) -> dict[str, Any]:
    """Return an order whole."""
    found: dict[str, Any] = {
        **direction(row.is_bid),
        "cancel_order_on_pause": row.cancel_on_pause,
        "client_order_id": row.client_order_id,
        "created_time": micros_text(row.created_us),
        "exchange_index": row.exchange_index,
        "fill_count_fp": count_text(row.filled),
        "initial_count_fp": count_text(row.initial),
        "last_update_time": micros_text(row.updated_us),
        "maker_fees_dollars": money_text(row.maker_fees),
        "maker_fill_cost_dollars": money_text(row.maker_cost),
        "no_price_dollars": price_text(DOLLAR - row.price),
        "order_id": row.order_id,
        "remaining_count_fp": count_text(row.remaining),
        "self_trade_prevention_type": str(row.self_trade),
        "status": str(row.status),
        "subaccount_number": row.subaccount,
        "taker_fees_dollars": money_text(row.taker_fees),
        "taker_fill_cost_dollars": money_text(row.taker_cost),
        "ticker": row.ticker,
        "type": "limit",
        "user_id": row.member_id,
        "yes_price_dollars": price_text(row.price),
    }
    if row.expires_us:
        found["expiration_time"] = micros_text(row.expires_us)
    if row.group_id:
        found["order_group_id"] = row.group_id
    return found


def created(ack: CreateAck) -> dict[str, Any]:
    """Return the answer to a create; averages only when something filled at once."""
    found: dict[str, Any] = {
        "fill_count": count_text(ack.filled),
        "order_id": ack.order_id,
        "remaining_count": count_text(ack.remaining),
        "ts_ms": ack.ts_us // 1000,
    }
    if ack.client_order_id:
        found["client_order_id"] = ack.client_order_id
    if ack.average_price is not None:
        found["average_fill_price"] = price_text(ack.average_price)
    if ack.average_fee is not None:
        found["average_fee_paid"] = price_text(ack.average_fee)
    return found


def canceled(ack: CancelAck) -> dict[str, Any]:
    """Return the answer to one cancel; the recorded one has no client order id."""
    return {"order_id": ack.order_id, "reduced_by": count_text(ack.reduced_by), "ts_ms": ack.ts_us // 1000}


def amended(ack: AmendAck) -> dict[str, Any]:
    """Return the answer to an amend; counts and averages may be null."""
    found: dict[str, Any] = {
        "average_fee_paid": _maybe_price(ack.average_fee),
        "average_fill_price": _maybe_price(ack.average_price),
        "fill_count": _maybe_count(ack.filled),
        "order_id": ack.order_id,
        "remaining_count": _maybe_count(ack.remaining),
        "ts_ms": ack.ts_us // 1000,
    }
    if ack.client_order_id:
        found["client_order_id"] = ack.client_order_id
    return found


def decreased(ack: DecreaseAck) -> dict[str, Any]:
    """Return the answer to a decrease."""
    found: dict[str, Any] = {
        "order_id": ack.order_id,
        "remaining_count": count_text(ack.remaining),
        "ts_ms": ack.ts_us // 1000,
    }
    if ack.client_order_id:
        found["client_order_id"] = ack.client_order_id
    return found


def fill(row: Fill) -> dict[str, Any]:
    """Return one fill; over REST it carries no client order id."""
    return {
        **direction(row.is_bid),
        "count_fp": count_text(row.count),
        "created_time": micros_text(row.ts_us),
        "exchange_index": row.exchange_index,
        "fee_cost": money_text(row.fee),
        "fill_id": row.trade_id,
        "is_taker": row.is_taker,
        "market_ticker": row.ticker,
        "no_price_dollars": price_text(DOLLAR - row.price),
        "order_id": row.order_id,
        "subaccount_number": row.subaccount,
        "ticker": row.ticker,
        "trade_id": row.trade_id,
        "ts": row.ts_us // SECOND,
        "yes_price_dollars": price_text(row.price),
    }


def position(row: Position) -> dict[str, Any]:
    """Return a position in one market."""
    return {
        "exchange_index": row.exchange_index,
        "fees_paid_dollars": money_text(row.fees),
        "last_updated_ts": micros_text(row.updated_us),
        "market_exposure_dollars": money_text(row.exposure),
        "position_fp": count_text(row.count),
        "realized_pnl_dollars": money_text(row.realized),
        "ticker": row.ticker,
        "total_traded_dollars": money_text(row.total_traded),
    }


def event_position(row: EventPosition) -> dict[str, Any]:
    """Return the positions of one event, added up."""
    return {
        "event_exposure_dollars": money_text(row.exposure),
        "event_ticker": row.event_ticker,
        "fees_paid_dollars": money_text(row.fees),
        "realized_pnl_dollars": money_text(row.realized),
        "total_cost_dollars": money_text(row.total_cost),
        "total_cost_shares_fp": count_text(row.total_count),
    }


def settlement(row: Settlement) -> dict[str, Any]:
    """Return what a position came to: revenue and value in whole cents, costs and fees in dollars."""
    return {
        "event_ticker": row.event_ticker,
        "exchange_index": row.exchange_index,
        "fee_cost": money_text(row.fees),
        "market_result": row.result,
        "no_count_fp": count_text(row.no_count),
        "no_total_cost_dollars": money_text(row.no_cost),
        "revenue": row.revenue // CENT,
        "settled_time": micros_text(row.settled_us),
        "ticker": row.ticker,
        "value": row.value // CONTRACT,
        "yes_count_fp": count_text(row.yes_count),
        "yes_total_cost_dollars": money_text(row.yes_cost),
    }


def shard_transfer(row: Transfer) -> dict[str, Any]:
    """Return money that moved between two shards, in dollars; here it has arrived at once."""
    found: dict[str, Any] = {
        "amount": balance_text(row.amount),
        "created_ts": row.ts_us // SECOND,
        "destination": "event_contract",
        "destination_exchange_shard": row.to_index,
        "source": "event_contract",
        "source_exchange_shard": row.from_index,
        "status": "complete",
        "transfer_id": row.transfer_id,
    }
    if row.client_transfer_id:
        found["client_transfer_id"] = row.client_transfer_id
    return found


def balance(view: BalanceView, *, has_breakdown: bool) -> dict[str, Any]:
    """Return the money: whole cents truncated, and the same with four decimals."""
    found: dict[str, Any] = {
        "balance": view.balance // CENT,
        "balance_dollars": balance_text(view.balance),
        "portfolio_value": view.portfolio_value // CENT,
        "updated_ts": view.ts_us // SECOND,
    }
    if has_breakdown:
        found["balance_breakdown"] = by_shard(view.breakdown)
    return found


def by_shard(amounts: tuple[tuple[int, int], ...]) -> list[dict[str, Any]]:
    """Return money by shard."""
    return [{"balance": balance_text(money), "exchange_index": index} for index, money in amounts]


def _maybe_price(price: int | None) -> str | None:
    return None if price is None else price_text(price)


def _maybe_count(count: int | None) -> str | None:
    return None if count is None else count_text(count)
