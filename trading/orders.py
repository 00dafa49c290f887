"""An order's way out: intent, risk check, one request, and what came of it.

The intent and its audit row are committed before anything is sent; `sending` is committed when the request's tokens
are there and before it is signed, and so before its first byte leaves; it goes out once, from here, never from a task.
Whatever is not a clear answer is `unknown`: never "rejected", never sent again. What happens to it then is the business
of `trading.reconcile`.
"""

from __future__ import annotations

import logging
import uuid
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from django.db import DatabaseError, transaction
from django.utils import timezone
from redis.exceptions import RedisError

from markets import tops
from markets.kalshi.errors import BadMessage, KalshiError, RateLimited, RefusedByUs, Rejected, Unavailable
from markets.kalshi.messages import CreateOrder, OrderBookBody
from markets.kalshi.rest import RestClient, walk
from markets.models import Market
from markets.tops import Top
from trading import audit, clients, permissions, risk, teams
from trading.models import SEND_WITHIN, Account, ApiKey, Order, OrderState, Team, Word
from trading.permissions import Permission
from trading.risk import BadTicket, Refusal, Ticket

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = ["BadTicket", "CannotCancel", "KeyReused", "NoKey", "Refusal", "Ticket", "cancel", "submit"]

logger = logging.getLogger(__name__)

CANCEL_AGAIN_AFTER = timedelta(seconds=5)  # the exchange's lists lag behind an acknowledged cancel
CLOCKS_DIFFER = timedelta(minutes=1)
SKEW_MOST_MS = 5_000  # of our clock and the exchange's; signatures and look-ups allow for less
CLOCK_KEPT_SECONDS = 60.0  # how long a comparison of the two is relied on


class KeyReused(Refusal):
    """The idempotency key belongs to another order: nothing was done."""


class NoKey(Refusal):
    """The team has no key that may place orders here."""


class CannotCancel(Refusal):
    """There is nothing at the exchange to cancel."""


class _Stays(Exception):
    """An order does not leave: why, for machines and for a person."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(code)
        self.code, self.sentence = code, sentence


# --- submit ----------------------------------------------------------------------------------------------


def submit(actor: AbstractBaseUser, *, team: Team, environment: str, ticket: Ticket, idempotency_key: str) -> Order:
    """Place one order, and return it in whatever state it has reached when the exchange has answered, or has not.

    Safe to repeat with the same key: the order that exists is returned. Denials are states of the order. Raises
    KeyReused for the same key with another ticket, NoKey, Http404 or PermissionDenied. Blocks for at most one request.
    """
    permissions.require(actor, team, Permission.PLACE_ORDER)
    if existing := _existing(team, idempotency_key, ticket.digest(environment)):
        return existing
    account, key = _account_and_key(team, environment)
    asked_at = timezone.now()  # the order's moment: a book that is long in coming does not put it off
    top = _newest_top(key, ticket.ticker)
    order, is_new = _write_intent(
        actor, account, ticket=ticket, idempotency_key=idempotency_key, asked_at=asked_at, top=top
    )
    if is_new and order.state == OrderState.QUEUED:
        _send(order, key)
    return order


def _existing(team: Team, idempotency_key: str, digest: str) -> Order | None:
    order = Order.objects.filter(team=team, idempotency_key=idempotency_key).first()
    if order is not None and order.body_hash != digest:
        raise KeyReused("KEY_REUSED", "This ticket was used for another order already: open a new one.")
    return order


def _account_and_key(team: Team, environment: str) -> tuple[Account, ApiKey]:
    for account in Account.objects.filter(team=team, environment=environment).order_by("pk"):
        if key := account.trading_key():
            return account, key
    raise NoKey("KEY_MISSING", "Add a key that may trade first: this team has none here.")


def _newest_top(key: ApiKey, ticker: str) -> Top | None:
    """Return the relay's top while it is fresh, else that of one REST book, else None."""
    try:
        top = tops.read(key.environment, ticker)
    except (RedisError, OSError):
        top = None
    if risk.is_fresh(top, _now_ms()) or (top is not None and top.state == "PAUSED"):
        return top
    try:
        with clients.rest_client(key, purpose="read") as client:
            book = client.orderbook(ticker, depth=1)
    except KalshiError:
        return None
    return _top_of(book)


def _top_of(book: OrderBookBody) -> Top:
    bid, bid_size = max(book.bids, default=(None, None))
    ask, ask_size = min(book.asks, default=(None, None))
    return Top(bid, bid_size, ask, ask_size, last=None, state="POLLED", as_of_ms=_now_ms())


def _now_ms() -> int:
    return int(timezone.now().timestamp() * 1000)


@transaction.atomic
def _write_intent(
    actor: AbstractBaseUser,
    account: Account,
    *,
    ticket: Ticket,
    idempotency_key: str,
    asked_at: datetime,
    top: Top | None,
) -> tuple[Order, bool]:
    """Write the order with its audit row and clear or deny it, all under the team's lock; False where it exists."""
    team = Team.objects.select_for_update(no_key=True).get(pk=account.team_id)
    account.refresh_from_db()
    digest = ticket.digest(account.environment)
    if existing := _existing(team, idempotency_key, digest):
        return existing, False
    order = _draft(actor, account, ticket, asked_at=asked_at)
    order.idempotency_key, order.body_hash = idempotency_key, digest
    order.save(force_insert=True)
    facts = {"words": ticket.direction.both_words(ticket.count), "ticker": ticket.ticker, "body_hash": digest}
    audit.record("order.submitted", actor, team=team, subject=order, environment=order.environment, facts=facts)
    _clear_or_deny(actor, order, top)
    return order, True


def _clear_or_deny(actor: AbstractBaseUser, order: Order, top: Top | None) -> None:
    denials = risk.check(order, top, timezone.now())
    if denials:
        text = " ".join(denial.sentence for denial in denials)
        order.advance(OrderState.DENIED, actor=actor, reason_code=denials[0].code, reason_text=text)
    else:
        order.advance(OrderState.QUEUED, actor=actor)


def _draft(actor: AbstractBaseUser, account: Account, ticket: Ticket, *, asked_at: datetime) -> Order:
    direction = ticket.direction
    market = Market.objects.filter(environment=account.environment, ticker=ticket.ticker).first()
    order_id = uuid.uuid4()
    return Order(
        id=order_id,
        environment=account.environment,
        team_id=account.team_id,
        account=account,
        placed_by_id=actor.pk,
        ticker=ticket.ticker,
        event_ticker=market.event_ticker if market else "",
        action=ticket.action,
        side=ticket.side,
        price=ticket.price,
        count=ticket.count,
        wire_side=direction.wire_side,
        wire_price=direction.wire_price,
        time_in_force=ticket.time_in_force,
        post_only=ticket.post_only,
        expires_at=ticket.expires_at,
        client_order_id=str(order_id),
        remaining=ticket.count,
        created_at=asked_at,
    )


# --- send ------------------------------------------------------------------------------------------------


def _send(order: Order, key: ApiKey) -> None:
    """Let one request leave and write down what came of it; anything but a clear answer is `unknown`.

    Whatever stops it before `sending` was written has it lapse: it is certain that nothing was sent.
    """
    try:
        with clients.rest_client(key, purpose="trade") as client:
            _compare_clocks(client)
            ack = client.create_order(_wire(order), before_signing=partial(_leave, order))
    except Exception as exc:
        if order.state == OrderState.QUEUED:
            _lapse(order, exc)
        elif order.state == OrderState.SENDING:
            _no_ack(order, client, exc)
    else:
        order.hear(Word.of_ack(ack, order))


def _compare_clocks(client: RestClient) -> None:
    """Raise where our clock and the exchange's differ, by a fresh answer: what an old one said need not hold any more.

    Blocks for a request, unless one of the last minute found them to agree.
    """
    if client.clock_age_seconds > CLOCK_KEPT_SECONDS or abs(client.skew_ms) > SKEW_MOST_MS:
        with suppress(Rejected, RateLimited, Unavailable, BadMessage):  # a refusal tells the time too
            client.exchange_status()
    if client.clock_age_seconds > CLOCK_KEPT_SECONDS:
        raise _Stays("CLOCK_UNKNOWN", "The exchange did not tell its time: nothing was sent. Try again.")
    if abs(client.skew_ms) > SKEW_MOST_MS:
        raise _Stays("CLOCK_DIFFERS", "This computer's clock differs from the exchange's: nothing was sent.")


def _leave(order: Order) -> None:
    """Write `sending`, or raise: the last look before the signature, with which the order can be accepted."""
    try:
        with transaction.atomic():
            _look_once_more(order)
            if _is_late(order.created_at) or not order.advance(OrderState.SENDING, sent_at=timezone.now()):
                raise _Stays("TOO_LATE", "It took too long to send: nothing was sent.")
    except DatabaseError:
        order.state = OrderState.QUEUED  # as far as we know: what could not be kept does not stand
        raise
    if order.sent_at is None or _is_late(order.sent_at):  # writing it down took too long; `sending` stands
        raise _Stays("TOO_LATE", "It took too long to send: nothing was sent.")


def _look_once_more(order: Order) -> None:
    """Raise where the person may no longer trade, under the team's lock until `sending` is written.

    Whoever takes the right away or halts the team holds that lock too: they are done before the look or begin after it.
    The order's row comes first, as in every transaction that changes an order.
    """
    Order.objects.select_for_update(no_key=True).only("pk").get(pk=order.pk)
    team = teams.locked(order.team)
    if not permissions.may(permissions.membership_in(_actor(order), team), Permission.PLACE_ORDER):
        raise _Stays("PERMISSION_LOST", "The person may no longer trade: nothing was sent.")
    if risk.is_halted(order):
        raise _Stays("TRADING_HALTED", "Trading was halted before it left: nothing was sent.")


def _is_late(since: datetime) -> bool:
    return timezone.now() - since > SEND_WITHIN


def _actor(order: Order) -> AbstractBaseUser:
    assert order.placed_by is not None  # noqa: S101  (only our own orders are sent)
    return order.placed_by


def _lapse(order: Order, exc: Exception) -> None:
    """Write down why an order was not sent."""
    if isinstance(exc, _Stays):
        code, sentence = exc.code, exc.sentence
    elif isinstance(exc, RateLimited):
        code, sentence = "RATE_LIMITED", exc.sentence
    elif isinstance(exc, RefusedByUs):
        code, sentence = "KEY_UNUSABLE", f"{exc} Nothing was sent."
    else:
        logger.error("order %s was not sent: %s", order.pk, type(exc).__name__)
        code, sentence = "NOT_SENT", "Something went wrong before it left: nothing was sent."
    order.advance(OrderState.LAPSED, reason_code=code, reason_text=sentence)


def _no_ack(order: Order, client: RestClient, exc: Exception) -> None:
    """Write down what came instead of the exchange's acknowledgement."""
    if isinstance(exc, Rejected):
        _refused(order, client, exc)
    elif isinstance(exc, RateLimited):
        order.advance(OrderState.REJECTED, reason_code="RATE_LIMITED", reason_text=exc.sentence)
    else:
        logger.warning("order %s: no clear answer, %s", order.pk, type(exc).__name__)
        _unknown(order, "NO_ANSWER", "No clear answer came; the desk is finding out at the exchange what happened.")


def _wire(order: Order) -> CreateOrder:
    return CreateOrder(
        ticker=order.ticker,
        side=order.wire_side,  # type: ignore[arg-type]  # the column holds no other
        count=order.count,
        price=order.wire_price,
        client_order_id=order.client_order_id or "",
        time_in_force=order.time_in_force,  # type: ignore[arg-type]
        expires_at=int(order.expires_at.timestamp()) if order.expires_at else None,
        post_only=order.post_only,
    )


def _refused(order: Order, client: RestClient, refusal: Rejected) -> None:
    if not refusal.is_code("order_already_exists"):
        code = (refusal.code or f"HTTP_{refusal.status}").upper()[:60]
        order.advance(OrderState.REJECTED, reason_code=code, reason_text=refusal.sentence)
        return
    # Our own id is nobody else's: the order is there, and only its list can say how it fares.
    _unknown(order, "ORDER_ALREADY_EXISTS", "The exchange has this order already; the desk is looking it up.")
    try:
        _find(order, client)
    except KalshiError as exc:
        logger.warning("order %s exists but could not be looked up: %s", order.pk, type(exc).__name__)


def _unknown(order: Order, code: str, sentence: str) -> None:
    order.advance(OrderState.UNKNOWN, unknown_at=timezone.now(), reason_code=code, reason_text=sentence)


def _find(order: Order, client: RestClient) -> None:
    """Look for an order by our own id, for which the exchange has no filter."""
    since = client.seconds_there(order.created_at - CLOCKS_DIFFER)
    for body in walk(lambda cursor: client.orders(ticker=order.ticker, min_ts=since, cursor=cursor)):
        if body.client_order_id == order.client_order_id and (word := Word.of_order(body)):
            order.hear(word)
            return


# --- cancel ----------------------------------------------------------------------------------------------


def cancel(actor: AbstractBaseUser, *, order: Order) -> Order:
    """Ask the exchange to cancel an order, and return it as the exchange says it is.

    Canceled is what the exchange calls so, never what was asked for. Safe to repeat. Raises CannotCancel where nothing
    rests, NoKey, Http404 or PermissionDenied. Blocks for at most two requests.
    """
    order = permissions.get_order(actor, order.pk, Permission.CANCEL_OWN_ORDER)
    if order.is_terminal or _is_asked_lately(order):
        return order
    if not order.is_cancelable:
        raise CannotCancel("NOT_RESTING", f"The order is {order.state_words}: there is nothing to cancel yet.")
    key = order.account.trading_key()
    if key is None:
        raise NoKey("KEY_MISSING", "Add a key that may trade first: the account has none.")
    if order.note("cancel_requested", actor=actor, cancel_requested_at=timezone.now(), reason_code="", reason_text=""):
        _request_cancel(order, key)
    return order


def _is_asked_lately(order: Order) -> bool:
    asked_at = order.cancel_requested_at
    return asked_at is not None and timezone.now() - asked_at < CANCEL_AGAIN_AFTER


def _request_cancel(order: Order, key: ApiKey) -> None:
    """Send the cancel and read the order back; a lost answer leaves the request standing until the list tells."""
    try:
        with clients.rest_client(key, purpose="trade") as client:
            if _send_cancel(order, client):
                _read_back(order, client)
    except clients.CannotUse as exc:
        _cancel_refused(order, f"{exc} The cancel was not sent.")
    except KalshiError as exc:
        logger.warning("order %s: no clear answer to a cancel, %s", order.pk, type(exc).__name__)


def _send_cancel(order: Order, client: RestClient) -> bool:
    """Send it once; False where it is certain that it did nothing, and why was written down."""
    try:
        client.cancel_order(order.exchange_order_id or "", ticker=order.ticker)
    except Rejected as exc:
        # The same 404 comes for a canceled, an executed and an unknown order: only the list can tell.
        if exc.status == 404:
            return True
        _cancel_refused(order, exc.sentence)
    except RateLimited as exc:
        _cancel_refused(order, exc.sentence)
    except RefusedByUs as exc:
        _cancel_refused(order, f"{exc} The cancel was not sent.")
    except Unavailable:
        _cancel_refused(order, "The exchange could not be reached: the cancel was not sent. Try again.")
    else:
        return True
    return False


def _cancel_refused(order: Order, sentence: str) -> None:
    order.note("cancel_refused", cancel_requested_at=None, reason_code="CANCEL_REFUSED", reason_text=sentence)


def _read_back(order: Order, client: RestClient) -> None:
    """Take what the exchange now says of it; where it does not answer, the cancel has left all the same."""
    try:
        word = Word.of_order(client.order(order.exchange_order_id or "", ticker=order.ticker))
    except KalshiError as exc:
        logger.warning("order %s could not be read after its cancel: %s", order.pk, type(exc).__name__)
        return
    if word is not None:
        order.hear(word)
