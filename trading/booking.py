"""One order or one fill as the exchange tells it becomes our row, whichever way it is told and however often."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

from django.db import IntegrityError, transaction
from django.db.models import Sum
from django.utils import timezone

from markets.kalshi.messages import FillBody, FillTick, OrderBody, UserOrder
from markets.kalshi.prices import Direction
from markets.lookback import keep_around
from markets.models import Market
from trading import audit, positions
from trading.models import Account, DeskEvent, Fill, Order, OrderState, Word

logger = logging.getLogger(__name__)

ZERO = Decimal(0)


def hear(account: Account, said: OrderBody | UserOrder) -> None:
    """Take the exchange's word about one order of an account; an order that nobody here placed is adopted."""
    word = Word.of_order(said)
    if word is None:
        return
    order = _find(account, said.order_id, said.client_order_id)
    if order is None:
        _adopt(account, said, word)
    elif order.hear(word):
        _link_fills(order)
    else:
        _contradict(order, said, word)


def book(account: Account, said: FillBody | FillTick) -> bool:
    """Book a fill once, and let its order hear of it; return whether it was new."""
    is_new = book_together(account, [said]) == 1
    if is_new:
        positions.count_anew(account)
    return is_new


def book_together(account: Account, fills: Sequence[FillBody | FillTick]) -> int:
    """Book fills of one order with one commit; return how many were new.

    Positions whose fills came out of order are left to be counted anew: `positions.count_anew`.
    """
    first = fills[0]
    order = _find(account, first.order_id, first.client_order_id if isinstance(first, FillTick) else None)
    try:
        with transaction.atomic():
            return _write_fills(account, {said.trade_id: said for said in fills}, order)
    except IntegrityError:
        # Another process was faster with at least one of them.
        return 0 if len(fills) == 1 else sum(book_together(account, [said]) for said in fills)


def _find(account: Account, exchange_order_id: str, client_order_id: str | None) -> Order | None:
    """Return our row of an order: by the exchange's id, else by our own."""
    orders = Order.objects.select_related("team", "placed_by").filter(account=account)
    found = orders.filter(exchange_order_id=exchange_order_id).first()
    if found is None and client_order_id:
        found = orders.filter(client_order_id=client_order_id, exchange_order_id=None).first()
    return found


def _adopt(account: Account, said: OrderBody | UserOrder, word: Word, *, with_client_id: bool = True) -> None:
    """Make a row of an order that was placed elsewhere. Its first state is what the exchange says."""
    order = _external(account, said, word)
    order.client_order_id = said.client_order_id or None if with_client_id else None
    try:
        with transaction.atomic():
            order.save(force_insert=True)
            _record("order.adopted", order, state=word.state, count=order.count, price=order.price)
            DeskEvent.append(DeskEvent.Kind.ORDER, order, team_id=account.team_id, environment=account.environment)
    except IntegrityError:
        # Another process was faster; what it wrote may be older than what we were told.
        if known := _find(account, said.order_id, None):
            known.hear(word)
        elif with_client_id:  # which stands on another order of the exchange: this one has to be seen as well
            _adopt(account, said, word, with_client_id=False)
        return
    _link_fills(order)


def _external(account: Account, said: OrderBody | UserOrder, word: Word) -> Order:
    direction = Direction.from_wire(said.book_side, said.yes_price, side="yes" if said.book_side == "bid" else "no")
    market = Market.objects.filter(environment=account.environment, ticker=said.ticker).first()
    order = Order(
        environment=account.environment,
        team_id=account.team_id,
        account=account,
        is_external=True,
        ticker=said.ticker,
        event_ticker=market.event_ticker if market else "",
        action=direction.action,
        side=direction.side,
        price=direction.price,
        count=said.initial or said.filled + said.remaining,
        wire_side=said.book_side,
        wire_price=said.yes_price,
        exchange_order_id=said.order_id,
        state=word.state,
        reason_code=word.reason_code,
        reason_text=word.reason_text,
        filled=word.filled,
        remaining=word.remaining,
        fees=word.fees or ZERO,
        created_at=_placed_at(said),
    )
    if word.average_wire_price is not None:
        order.average_price = order.on_own_side(word.average_wire_price)
    return order


def _placed_at(said: OrderBody | UserOrder) -> datetime:
    if isinstance(said, OrderBody):
        return said.created_at or timezone.now()
    return timezone.now() if said.created_ms is None else datetime.fromtimestamp(said.created_ms / 1000, UTC)


def _contradict(order: Order, said: OrderBody | UserOrder, word: Word) -> None:
    """Show an order that, by our rows, cannot be there: ours keeps its state, the exchange's gets a row of its own."""
    logger.error("order %s is %s, but the exchange has it as %s", order.pk, order.state, said.order_id)
    text = f"The exchange has this order after all, as {said.order_id}: see the order placed elsewhere."
    order.note("contradicted", reason_code="CONTRADICTED", reason_text=text)
    _adopt(order.account, said, word, with_client_id=False)


def _write_fills(account: Account, fills: dict[str, FillBody | FillTick], order: Order | None) -> int:
    if order is not None:
        order = Order.objects.select_for_update(of=("self",)).select_related("team", "placed_by").get(pk=order.pk)
    known = set(Fill.objects.filter(account=account, trade_id__in=fills).values_list("trade_id", flat=True))
    new = Fill.objects.bulk_create(_fill(account, said, order) for key, said in fills.items() if key not in known)
    if not new:
        return 0
    positions.add(account, new)
    if order is not None:
        _let_hear(order, new[0].exchange_order_id)
    audit.record(
        "fill.booked",
        None,
        team=account.team,
        subject=order or account,
        environment=account.environment,
        facts={"fills": [{"trade": fill.trade_id, "count": fill.count, "price": fill.wire_price} for fill in new]},
    )
    DeskEvent.append(DeskEvent.Kind.FILL, *new, team_id=account.team_id, environment=account.environment)
    _keep_books(account.environment, new)
    return len(new)


def _keep_books(environment: str, fills: Sequence[Fill]) -> None:
    """Have the books around the fills kept; a failure of that is no failure of ours."""
    times: dict[str, list[int]] = {}
    for fill in fills:
        times.setdefault(fill.ticker, []).append(traded_ms(fill.traded_at))
    for ticker, at in times.items():
        kept = partial(keep_around, environment, ticker, first_ms=min(at), last_ms=max(at))
        transaction.on_commit(kept, robust=True)


def _fill(account: Account, said: FillBody | FillTick, order: Order | None) -> Fill:
    return Fill(
        environment=account.environment,
        team_id=account.team_id,
        account=account,
        order=order,
        trade_id=said.trade_id,
        exchange_order_id=said.order_id,
        ticker=said.ticker,
        wire_side=said.book_side,
        wire_price=said.yes_price,
        count=said.count,
        fee=said.fee,
        is_taker=said.is_taker,
        traded_at=traded_at(said),
    )


def traded_at(said: FillBody | FillTick) -> datetime:
    """Return when it was traded, or now where the exchange does not tell."""
    if isinstance(said, FillBody):
        return said.created_at or timezone.now()
    return timezone.now() if said.ts_ms is None else datetime.fromtimestamp(said.ts_ms / 1000, UTC)


def traded_ms(at: datetime) -> int:
    """Return a fill's time in ms since 1970, as what is kept around it is found by."""
    return int(at.timestamp() * 1000)


def _let_hear(order: Order, exchange_order_id: str) -> None:
    """Let an order know what its booked fills add up to: they prove that it exists, and may prove its end."""
    filled = order.fills.aggregate(total=Sum("count"))["total"] or ZERO
    if filled <= order.filled and order.exchange_order_id:
        return
    is_all = filled >= order.count
    if not is_all and order.time_in_force != Order.TimeInForce.GOOD_TILL_CANCELED and not order.is_terminal:
        return  # the rest is gone already or about to go: that the exchange itself will say
    state = OrderState.EXECUTED if is_all else OrderState.RESTING
    order.hear(Word(exchange_order_id, state, filled, max(ZERO, order.count - filled)))


def _link_fills(order: Order) -> None:
    """Give an order the fills that came before we knew its id at the exchange."""
    strays = Fill.objects.filter(account=order.account_id, exchange_order_id=order.exchange_order_id, order=None)
    if strays.update(order=order):
        _let_hear(order, order.exchange_order_id or "")


def _record(action: str, order: Order, **facts: object) -> None:
    audit.record(action, None, team=order.team, subject=order, environment=order.environment, facts=facts)
