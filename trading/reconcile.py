"""The exchange's orders and fills become our rows, whichever way they are told and however often.

A look-up that fails changes nothing: only a complete, well-formed answer does. An unknown order exists as soon as any
list or stream carries our id; it was not placed only when, after the last moment at which the exchange could still
have accepted it, three complete scans did not contain it. What remains open after 15 minutes needs a person.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import groupby

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from markets.kalshi.errors import BadMessage, KalshiError, RateLimited, RefusedByUs, Rejected
from markets.kalshi.messages import FillBody, FillTick, OrderBody, UserOrder
from markets.kalshi.prices import Direction
from markets.kalshi.rest import RestClient, walk
from markets.lookback import keep_around
from markets.models import Market
from trading import audit
from trading.models import Account, DeskEvent, Fill, Order, OrderState, Word

logger = logging.getLogger(__name__)

SEND_WITHIN = timedelta(seconds=5)
ANSWER_WITHIN = timedelta(seconds=30)
# A signed request is accepted for 60 s; our own budget may hold it for seconds before it is signed, lists lag too.
ACCEPTED_WITHIN = timedelta(seconds=70)
BETWEEN_SCANS = timedelta(seconds=5)
SCANS_NEEDED = 3
PATIENCE = timedelta(minutes=15)
OVERLAP = timedelta(minutes=10)  # of one comparison with the one before; our clocks need not agree
CLAIM = timedelta(seconds=60)
FILLS_AT_ONCE = 50  # in one transaction, so that a first comparison does not wait for the disk at each
ZERO = Decimal(0)


# --- one order, one fill -----------------------------------------------------------------------------------


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
    return book_together(account, [said]) == 1


def book_together(account: Account, fills: Sequence[FillBody | FillTick]) -> int:
    """Book fills of one order with one commit; return how many were new."""
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
        times.setdefault(fill.ticker, []).append(int(fill.traded_at.timestamp() * 1000))
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
        traded_at=_traded_at(said),
    )


def _traded_at(said: FillBody | FillTick) -> datetime:
    if isinstance(said, FillBody):
        return said.created_at or timezone.now()
    return timezone.now() if said.ts_ms is None else datetime.fromtimestamp(said.ts_ms / 1000, UTC)


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


# --- a whole account -----------------------------------------------------------------------------------------


def claim(account_id: int) -> bool:
    """Take the right to compare an account, for a minute at most; False where somebody else has it."""
    now = timezone.now()
    free = Q(reconciling_until=None) | Q(reconciling_until__lt=now)
    return bool(Account.objects.filter(free, pk=account_id).update(reconciling_until=now + CLAIM))


def release(account_id: int) -> None:
    """Let the next one compare."""
    Account.objects.filter(pk=account_id).update(reconciling_until=None)


def compare(account: Account, client: RestClient) -> None:
    """Bring every order and fill of an account up to what the exchange has. Safe to repeat, and beside the stream.

    The account may trade once this has succeeded. Raises KalshiError where the exchange did not answer everything;
    what it did answer is kept, everything else stays as it was.
    """
    began_at = timezone.now()
    since = None if account.reconciled_at is None else account.reconciled_at - OVERLAP
    try:
        _compare_orders(account, client, since)
        for fills in _new_fills(account, client, since):
            book_together(account, fills)
    except KalshiError as exc:
        note_failure(account.pk, exc)
        raise
    Account.objects.filter(pk=account.pk).update(reconciled_at=began_at, reconcile_error="")
    account.reconciled_at = began_at


def note_failure(account_id: int, exc: KalshiError) -> None:
    """Keep, for a person, why an account could not be compared; everything else stays as it was."""
    if isinstance(exc, Rejected | RateLimited):
        sentence = exc.sentence
    elif isinstance(exc, RefusedByUs):
        sentence = str(exc)
    elif isinstance(exc, BadMessage):
        sentence = "The exchange gave an answer that is not understood."
    else:
        sentence = "The exchange does not answer."
    Account.objects.filter(pk=account_id).update(reconcile_error=sentence[:200])


def _compare_orders(account: Account, client: RestClient, since: datetime | None) -> None:
    seen: set[str] = set()
    listed = [*walk(lambda cursor: client.orders(status="resting", cursor=cursor))]
    min_ts = client.seconds_there(since) if since else None
    listed += walk(lambda cursor: client.orders(min_ts=min_ts, cursor=cursor))
    for body in listed:
        seen.add(body.order_id)
        if _is_news(account, body):
            hear(account, body)
    resting = Order.objects.filter(account=account, state=OrderState.RESTING).exclude(exchange_order_id__in=seen)
    for order in resting:
        _read_again(account, client, order)


def _is_news(account: Account, body: OrderBody) -> bool:
    """Say whether a listed order differs from our row in what the list tells; most do not, each time."""
    return not Order.objects.filter(
        account=account,
        exchange_order_id=body.order_id,
        state=body.status,
        filled=body.filled,
        remaining=body.remaining,
        fees=body.fees,
        wire_price=body.yes_price,
    ).exists()


def _read_again(account: Account, client: RestClient, order: Order) -> None:
    """Ask for an order that rests by our rows and is on no list; an exchange that does not know it proves nothing."""
    try:
        hear(account, client.order(order.exchange_order_id or "", ticker=order.ticker))
    except Rejected as exc:
        logger.warning("order %s rests here, and the exchange does not show it: %s", order.pk, exc)


def _new_fills(account: Account, client: RestClient, since: datetime | None) -> Iterator[list[FillBody]]:
    """Return what is not booked, in the order of the trades, orders apart and a few at a time."""
    min_ts = client.seconds_there(since) if since else None
    listed = list(walk(lambda cursor: client.fills(min_ts=min_ts, cursor=cursor)))
    known = set(Fill.objects.filter(account=account).values_list("trade_id", flat=True)) if listed else set()
    new = sorted((fill for fill in listed if fill.trade_id not in known), key=_traded_at)
    for _, of_order in groupby(sorted(new, key=lambda fill: fill.order_id), key=lambda fill: fill.order_id):
        fills = list(of_order)
        yield from (fills[at : at + FILLS_AT_ONCE] for at in range(0, len(fills), FILLS_AT_ONCE))


# --- unknown orders --------------------------------------------------------------------------------------------


def has_unknown(account: Account) -> bool:
    """Say whether an account has orders whose fate is open."""
    return _open_questions(account).exists()


def resolve(account: Account, client: RestClient) -> None:
    """Find out what became of an account's unknown orders, by one complete scan. Raises KalshiError; safe to repeat."""
    questions = list(_open_questions(account).order_by("created_at"))
    if not questions:
        return
    began_at = timezone.now()
    status = client.exchange_status()
    since = client.seconds_there(questions[0].created_at - timedelta(minutes=1))
    listed = list(walk(lambda cursor: client.orders(min_ts=since, cursor=cursor)))
    fills = list(walk(lambda cursor: client.fills(min_ts=since, cursor=cursor)))
    listed += _orders_of_strays(account, client, listed, fills)
    by_own_id = {body.client_order_id: body for body in listed}
    for order in questions:
        if body := by_own_id.get(order.client_order_id or ""):
            hear(account, body)
        elif status.exchange_active and status.trading_active:
            _count_scan(order, began_at)
    for fill in fills:
        book(account, fill)


def _open_questions(account: Account) -> QuerySet[Order]:
    return Order.objects.filter(account=account, state__in=[OrderState.UNKNOWN, OrderState.NEEDS_HUMAN])


def _orders_of_strays(
    account: Account, client: RestClient, listed: list[OrderBody], fills: list[FillBody]
) -> list[OrderBody]:
    """Return the orders of fills that are on no list: a fill names its order, and the order our id."""
    known = {body.order_id for body in listed}
    strays = {fill.order_id for fill in fills} - known
    ours = Order.objects.filter(account=account, exchange_order_id__in=strays)
    strays -= {order.exchange_order_id or "" for order in ours}
    return [client.order(order_id) for order_id in sorted(strays)]


def _count_scan(order: Order, began_at: datetime) -> None:
    """Count a complete scan without the order, if it can prove anything; after enough of them it was not placed."""
    if order.state != OrderState.UNKNOWN or order.sent_at is None or began_at < order.sent_at + ACCEPTED_WITHIN:
        return
    if order.scanned_at is not None and began_at < order.scanned_at + BETWEEN_SCANS:
        return
    scans = order.clean_scans + 1
    if scans < SCANS_NEEDED:
        order.note("scanned", clean_scans=scans, scanned_at=began_at)
        return
    order.advance(
        OrderState.NOT_PLACED,
        clean_scans=scans,
        scanned_at=began_at,
        reason_code="NOT_FOUND",
        reason_text="The exchange never got it: its complete lists do not contain the order.",
    )


# --- by the clock alone ------------------------------------------------------------------------------------------


def recover(now: datetime) -> None:
    """Move on what a process left behind when it died, and what has been open for too long. Needs no exchange."""
    for order in Order.objects.filter(state=OrderState.QUEUED, created_at__lt=now - SEND_WITHIN):
        order.advance(
            OrderState.LAPSED, reason_code="TOO_LATE", reason_text="It was not sent in time: nothing was sent."
        )
    for order in Order.objects.filter(state=OrderState.SENDING, sent_at__lt=now - ANSWER_WITHIN):
        text = "No answer was written down; the desk is finding out at the exchange what happened."
        order.advance(OrderState.UNKNOWN, unknown_at=now, reason_code="NO_ANSWER", reason_text=text)
    for order in Order.objects.filter(state=OrderState.UNKNOWN, unknown_at__lt=now - PATIENCE):
        text = "The exchange could not tell in 15 minutes whether it has this order: look there, then decide here."
        order.advance(OrderState.NEEDS_HUMAN, reason_code="NEEDS_HUMAN", reason_text=text)
