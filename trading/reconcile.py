"""An account is brought up to what the exchange has, and what became of an unknown order is found out.

A look-up that fails changes nothing: only a complete, well-formed answer does. An unknown order exists as soon as any
list or stream carries our id; it was not placed only when, after the last moment at which the exchange could still
have accepted it, three complete scans did not contain it. What remains open after 15 minutes needs a person.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby

from django.db.models import Q, QuerySet
from django.utils import timezone

from markets.kalshi.errors import BadMessage, KalshiError, RateLimited, RefusedByUs, Rejected
from markets.kalshi.messages import FillBody, OrderBody
from markets.kalshi.rest import RestClient, walk
from trading import positions
from trading.booking import book_together, hear, traded_at
from trading.models import SEND_WITHIN, Account, Fill, Order, OrderState

logger = logging.getLogger(__name__)

ANSWER_WITHIN = timedelta(seconds=30)
# A signed request is accepted for 60 s, and the lists lag.
ACCEPTED_WITHIN = timedelta(seconds=70)
BETWEEN_SCANS = timedelta(seconds=5)
SCANS_NEEDED = 3
PATIENCE = timedelta(minutes=15)
OVERLAP = timedelta(minutes=10)  # of one comparison with the one before; our clocks need not agree
CLAIM = timedelta(seconds=60)
FILLS_AT_ONCE = 50  # in one transaction, so that a first comparison does not wait for the disk at each
CANCELED_WITHIN = timedelta(seconds=5)  # what is listed as resting so long after a cancel was not canceled by it


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
        _compare_orders(account, client, since, began_at=began_at)
        min_ts = client.seconds_there(since) if since else None
        _book_new(account, list(walk(lambda cursor: client.fills(min_ts=min_ts, cursor=cursor))))
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


def _compare_orders(account: Account, client: RestClient, since: datetime | None, *, began_at: datetime) -> None:
    listed = [*walk(lambda cursor: client.orders(status="resting", cursor=cursor))]
    min_ts = client.seconds_there(since) if since else None
    listed += walk(lambda cursor: client.orders(min_ts=min_ts, cursor=cursor))
    for body in listed:
        if _is_news(account, body):
            hear(account, body)
    said = {body.order_id: body.status for body in listed}  # the later list's, where both have it
    for order in Order.objects.filter(account=account, state=OrderState.RESTING):
        if order.exchange_order_id not in said:
            _read_again(account, client, order)
        elif said[order.exchange_order_id] == OrderState.RESTING:
            _end_wish(order, began_at)


def _end_wish(order: Order, listed_at: datetime) -> None:
    """Take back that a cancel is on its way, where a list from long enough after it still has the order resting."""
    if order.cancel_requested_at is None or listed_at - order.cancel_requested_at <= CANCELED_WITHIN:
        return
    text = "The cancel was not carried out: the order still rests at the exchange. Cancel it again."
    order.note("cancel_not_done", cancel_requested_at=None, reason_code="CANCEL_NOT_DONE", reason_text=text)


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


def _book_new(account: Account, listed: list[FillBody]) -> None:
    for fills in _not_booked(account, listed):
        book_together(account, fills)
    positions.count_anew(account)


def _not_booked(account: Account, listed: list[FillBody]) -> Iterator[list[FillBody]]:
    """Return what is new in a list of fills, in the order of the trades, orders apart and a few at a time."""
    known = set(Fill.objects.filter(account=account).values_list("trade_id", flat=True)) if listed else set()
    new = sorted((fill for fill in listed if fill.trade_id not in known), key=traded_at)
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
    _book_new(account, fills)


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
