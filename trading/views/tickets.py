"""The ticket's three calls: review what would be sent, send it once, and ask what became of it."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from markets.models import Market
from markets.templatetags import prices
from trading import events, orders, sessions
from trading.forms import TicketForm
from trading.models import Order
from trading.risk import Refusal, Ticket
from trading.views.doors import DeskRequest, desk_call, fault, wants_json
from trading.views.market import get_market
from trading.views.quotes import fee_terms, quote

NOT_YOURS = "Your role does not allow you to place orders."


@require_POST
@desk_call
def order_review(request: DeskRequest, ticker: str) -> HttpResponse:
    """Say in words and sums what a confirmation would send; sends nothing."""
    market = get_market(request.environment, ticker)
    form = TicketForm(request.POST, market=market)
    if not request.can_trade:
        return fault(NOT_YOURS, status=403)
    if not form.is_valid():
        field, text = form.fault
        return fault(text, field=field)
    return JsonResponse(review(form.ticket, market))


@require_POST
@desk_call
def order_submit(request: DeskRequest, ticker: str) -> HttpResponse:
    """Place the order, once for each key, and answer with the state it has reached."""
    form = TicketForm(request.POST, market=get_market(request.environment, ticker))
    if not form.is_valid():
        field, text = form.fault
        return _refuse(request, ticker, text, field=field)
    if sessions.is_locked(request):
        return _refuse(request, ticker, sessions.LOCKED, status=403)
    try:
        order = orders.submit(
            request.user,
            team=request.team,
            environment=request.environment,
            ticket=form.ticket,
            idempotency_key=str(form.cleaned_data["idempotency_key"]),
        )
    except PermissionDenied:
        return _refuse(request, ticker, NOT_YOURS, status=403)
    except Refusal as exc:
        return _refuse(request, ticker, exc.sentence, status=409, next_key=str(uuid.uuid4()))
    if wants_json(request):
        return JsonResponse(outcome(order))
    messages.info(request, f"{order.state_words}: {order}")
    return redirect("trading:market", request.environment, ticker)


@require_safe
@desk_call
def order_state(request: DeskRequest, key: uuid.UUID) -> HttpResponse:
    """Answer with the order that belongs to an idempotency key; 404 where none came of it."""
    found = Order.objects.of(request.team, request.environment).filter(idempotency_key=str(key))
    order = found.select_related("placed_by").first()
    if order is None:
        return fault("No order came of this ticket.", status=404)
    return JsonResponse(outcome(order))


def review(ticket: Ticket, market: Market) -> dict[str, Any]:
    """Return the confirmation: the order both ways, its sums, and what the button says."""
    sums = quote(ticket, fee_terms(market))
    said = f"{ticket.action} {prices.contracts(ticket.count)} {ticket.side.upper()} at {prices.cents(ticket.price)}"
    return {
        "words": f"The exchange will read: {ticket.direction.wire_words(ticket.count)}. "
        "Nothing is sent before you confirm.",
        "send": f"Send: {said}",
        "sums": {
            "cost": prices.dollars(sums.cost),
            "fee": prices.dollars(sums.fee) if sums.fee is not None else "not known",
            "loss": prices.dollars(sums.loss) if sums.loss is not None else "not known",
            "pays": prices.dollars(sums.pays),
        },
    }


def outcome(order: Order) -> dict[str, Any]:
    """Return an order as the ticket gets it, with the key of the next one."""
    return {"order": events.order_now(order), "next_key": str(uuid.uuid4())}


def _refuse(request: DeskRequest, ticker: str, text: str, **more: Any) -> HttpResponse:
    if wants_json(request):
        return fault(text, **more)
    messages.error(request, text)
    return redirect("trading:market", request.environment, ticker)
