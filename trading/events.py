"""What a team's browsers are told over `/ws/desk/`, numbered without holes.

A browser receives JSON arrays of frames and may say `{"op": "after", "n": N}`: what came after N comes again, a page
at a time and the oldest first, or `lost` where that is more than the desk keeps at hand, and the page loads itself
anew. It says `{"op": "ack", "bytes": N}` of what has arrived since the socket opened; one that does not is closed
(4008). A frame shows its row as it stands when it is sent, whole: one that comes twice or late does no harm.
Prices are integers of $0.0001, counts integers of 0.01 contract, fees integers of $0.000001, times milliseconds since
1970 (as in `markets.events`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Literal, TypedDict

from trading.models import DeskEvent, Fill, Order, Team

MOST_FRAMES = 500  # behind that, rows are loaded anew
PAGE_FRAMES = 100  # in one answer
DOLLAR, CONTRACT, MICRODOLLAR = 10_000, 100, 1_000_000


class Amounts(TypedDict):
    """The numbers of an order; `price` and `avg` are of its side, `wire_price` of YES."""

    price: int
    count: int
    filled: int
    remaining: int
    avg: int | None
    fees: int
    wire_price: int


class OrderFrame(Amounts):
    """One order as it stands; `words` says the state.

    `who` is for reading, two people may share it; `by` is the id of the person, None for an order placed elsewhere.
    """

    t: Literal["order"]
    n: int
    env: str
    id: str
    m: str
    event: str
    action: Literal["buy", "sell"]
    side: Literal["yes", "no"]
    wire_side: Literal["bid", "ask"]
    tif: str
    post_only: bool
    state: str
    words: str
    code: str
    reason: str
    who: str
    by: int | None
    external: bool
    cancelable: bool
    cancel_at: int | None
    at: int
    sent_at: int | None
    updated_at: int


class FillFrame(TypedDict):
    """One fill; `price` is of YES, `order` the desk's id of its order where it is known."""

    t: Literal["fill"]
    n: int
    env: str
    trade: str
    order: str | None
    m: str
    wire_side: Literal["bid", "ask"]
    price: int
    count: int
    fee: int
    taker: bool
    at: int


class BeatFrame(TypedDict):
    """Once a second: the desk's socket is alive, and `n` is the team's number as the database has it."""

    t: Literal["beat"]
    n: int
    at: int


class PulseFrame(TypedDict):
    """In a beat's place where the database has not answered: the socket is alive, and that is all that is known."""

    t: Literal["pulse"]


class LostFrame(TypedDict):
    """Too much has happened since the number that was asked for: load the page's rows anew, go on from `n`."""

    t: Literal["lost"]
    n: int


Frame = OrderFrame | FillFrame | BeatFrame | LostFrame


def order_frame(order: Order, number: int) -> OrderFrame:
    """Return an order as browsers get it."""
    return {
        "t": "order",
        "n": number,
        "env": order.environment,
        "id": str(order.pk),
        "m": order.ticker,
        "event": order.event_ticker,
        "action": order.action,  # type: ignore[typeddict-item]  # the column holds no other
        "side": order.side,  # type: ignore[typeddict-item]
        "wire_side": order.wire_side,  # type: ignore[typeddict-item]
        "tif": order.time_in_force,
        "post_only": order.post_only,
        "state": order.state,
        "words": order.state_words,
        "code": order.reason_code,
        "reason": order.reason_text,
        "who": order.who,
        "by": order.placed_by_id,
        "external": order.is_external,
        "cancelable": order.is_cancelable,
        "cancel_at": _ms(order.cancel_requested_at),
        "at": _at(order.created_at),
        "sent_at": _ms(order.sent_at),
        "updated_at": _at(order.updated_at),
        **_amounts(order),
    }


def order_now(order: Order) -> OrderFrame:
    """Return an order as it stands now, under a number that it is not older than. Blocks on the database."""
    number = numbers([order.team_id])[order.team_id]
    order.refresh_from_db()
    return order_frame(order, number)


def _amounts(order: Order) -> Amounts:
    return {
        "price": units(order.price, DOLLAR),
        "count": units(order.count, CONTRACT),
        "filled": units(order.filled, CONTRACT),
        "remaining": units(order.remaining, CONTRACT),
        "avg": None if order.average_price is None else int(order.average_price * DOLLAR),
        "fees": units(order.fees, MICRODOLLAR),
        "wire_price": units(order.wire_price, DOLLAR),
    }


def fill_frame(fill: Fill, number: int) -> FillFrame:
    """Return a fill as browsers get it."""
    return {
        "t": "fill",
        "n": number,
        "env": fill.environment,
        "trade": fill.trade_id,
        "order": str(fill.order_id) if fill.order_id else None,
        "m": fill.ticker,
        "wire_side": fill.wire_side,  # type: ignore[typeddict-item]
        "price": units(fill.wire_price, DOLLAR),
        "count": units(fill.count, CONTRACT),
        "fee": units(fill.fee, MICRODOLLAR),
        "taker": fill.is_taker,
        "at": _at(fill.traded_at),
    }


def numbers(team_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, int]:
    """Return the last number of each team. Blocks for one query."""
    return dict(Team.objects.filter(pk__in=list(team_ids)).values_list("pk", "number"))


def frames_after(team_id: uuid.UUID, number: int) -> list[Frame]:
    """Return the first page of a team's frames after a number, in order; `lost` alone where they are too many or gone.

    Blocks for at most four queries, whatever the number of frames.
    """
    last = Team.objects.values_list("number", flat=True).get(pk=team_id)
    end = min(last, number + PAGE_FRAMES)
    events = list(DeskEvent.objects.filter(team_id=team_id, number__gt=number, number__lte=end).order_by("number"))
    if number > last or last - number > MOST_FRAMES or len(events) < end - number:
        return [{"t": "lost", "n": last}]
    orders = {str(order.pk): order for order in _orders(events)}
    fills = {str(fill.pk): fill for fill in Fill.objects.filter(pk__in=_subjects(events, DeskEvent.Kind.FILL))}
    return [
        order_frame(orders[event.subject], event.number)
        if event.kind == DeskEvent.Kind.ORDER
        else fill_frame(fills[event.subject], event.number)
        for event in events
    ]


def units(value: Decimal, scale: int) -> int:
    """Return a value as an integer of 1/`scale`; refuse what that cannot hold."""
    scaled = value * scale
    whole = int(scaled)
    if whole != scaled:
        raise ValueError(f"{value} is not a whole number of 1/{scale}")
    return whole


def _orders(events: list[DeskEvent]) -> Iterable[Order]:
    return Order.objects.select_related("placed_by").filter(pk__in=_subjects(events, DeskEvent.Kind.ORDER))


def _subjects(events: list[DeskEvent], kind: str) -> set[str]:
    return {event.subject for event in events if event.kind == kind}


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else _at(moment)


def _at(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
