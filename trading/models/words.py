"""What the exchange says about one order, in one form whichever way it came.

Source: Kalshi trade API v2: answer to a create, `GET /portfolio/orders`, channel `user_orders`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from markets.kalshi.messages import OrderAck, OrderBody, UserOrder
from trading.models.states import OrderState

if TYPE_CHECKING:
    from trading.models.orders import Order

ONE = Decimal(1)
MICRODOLLAR = Decimal("0.000001")
# Why the exchange ended an order by itself. Source: `last_update_reason` of the channel `user_orders`, 2026-10-01.
ENDINGS = {
    "MarginCancel": "Canceled by the exchange: the balance was not enough when it would have traded.",
    "SelfTradeCancel": "Canceled by the exchange: it would have traded with an order of your own.",
    "ExpiryCancel": "Expired.",
    "CloseCancel": "Canceled by the exchange: the market closed.",
    "HaltCancel": "Canceled by the exchange: trading was halted.",
    "PostOnlyCrossCancel": "Canceled by the exchange: it would have traded, and was only to rest.",
    "ReduceOnlyCancel": "Canceled by the exchange: it would have made the position larger.",
    "SettlementBoundsCancel": "Canceled by the exchange: the price can no longer be reached.",
}
NOT_RESTING = "What could not be filled at once was canceled, as ordered."
SELF_TRADE = ENDINGS["SelfTradeCancel"]


@dataclass(frozen=True, slots=True)
class Word:
    """Absolute, so that hearing it twice, or late, does no harm; None where it was not said.

    `state` is resting, executed or canceled; prices are those of YES, `fees` the total in dollars. `count` and
    `wire_price` are the order's own, which somebody may have amended at the exchange.
    """

    exchange_order_id: str
    state: OrderState
    filled: Decimal
    remaining: Decimal
    average_wire_price: Decimal | None = None
    fees: Decimal | None = None
    reason_code: str = ""
    reason_text: str = ""
    count: Decimal | None = None
    wire_price: Decimal | None = None

    @classmethod
    def of_ack(cls, ack: OrderAck, order: Order) -> Word:
        """Read the answer to a create: it has no status, the counts tell."""
        state, code, text = OrderState.RESTING, "", ""
        if ack.filled >= order.count:
            state = OrderState.EXECUTED
        elif ack.remaining == 0:
            is_resting_kind = order.time_in_force == "good_till_canceled"
            state, code = OrderState.CANCELED, "SELF_TRADE" if is_resting_kind else "NOT_RESTING"
            text = SELF_TRADE if is_resting_kind else NOT_RESTING
        fees = ack.fees.quantize(MICRODOLLAR) if ack.average_fee is not None else None
        return cls(ack.order_id, state, ack.filled, ack.remaining, ack.average_price, fees, code, text)

    @classmethod
    def of_order(cls, said: OrderBody | UserOrder) -> Word | None:
        """Read a row of the exchange's list or a message of the private stream; None for a status that says nothing."""
        state = _state(said.status)
        if state is None:
            return None
        reason = said.last_update_reason if isinstance(said, UserOrder) else None
        text = ENDINGS.get(reason or "", "") if state == OrderState.CANCELED else ""
        return cls(
            said.order_id,
            state,
            said.filled,
            said.remaining,
            average_wire_price=_average(said),
            fees=said.fees,
            reason_code=(text and reason) or "",
            reason_text=text,
            count=said.initial,
            wire_price=said.yes_price,
        )


def _average(said: OrderBody | UserOrder) -> Decimal | None:
    """Return the mean price of YES: the cost is that of the outcome that was bought."""
    if not said.filled:
        return None
    cost = ((said.taker_fill_cost + said.maker_fill_cost) / said.filled).quantize(MICRODOLLAR)
    return cost if said.book_side == "bid" else ONE - cost


def _state(status: str) -> OrderState | None:
    return {
        "resting": OrderState.RESTING,
        "executed": OrderState.EXECUTED,
        "canceled": OrderState.CANCELED,
    }.get(status)
