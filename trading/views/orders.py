"""The team's orders: the list with its filters, the rows anew, and the cancel."""

from __future__ import annotations

import contextlib
import uuid

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpResponse, JsonResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from trading import events, permissions
from trading import orders as desk_orders
from trading.models import TERMINAL, Order, OrderState
from trading.models.orders import OrderQuerySet
from trading.permissions import Permission
from trading.risk import Refusal
from trading.views import hints
from trading.views.doors import NOT_WORKING, DeskRequest, desk_call, desk_page, fault, page_query, wants_json
from trading.views.shown import market_names, shown_orders

ROWS = 100
STATES = {"": "all", "working": "working", "attention": "attention", "ended": "ended"}


@require_safe
@desk_page
def orders(request: DeskRequest) -> HttpResponse:
    """Show the orders that the address asks for: state, who, market and page."""
    page = Paginator(matching(request, request.GET), ROWS).get_page(request.GET.get("page"))
    names = market_names(request.environment, {order.ticker for order in page.object_list})
    shown = shown_orders(page.object_list, membership=request.membership, number=request.desk_number, names=names)
    asked = {name: request.GET.get(name, "") for name in ("state", "who", "market")}
    filters = {**asked, "page": page.number, "by": _person(request, asked["who"])}
    context = {
        "page": page,
        "orders": shown,
        "orders_data": {"orders": [row.frame for row in shown], "names": names, "filters": filters},
        "orders_empty": "No order of the team matches." if any(asked.values()) else "The team has placed no order yet.",
        "states": STATES,
        "people": _people(request),
        "asked": asked,
        "is_filtered": any(asked.values()),
        "next_query": page_query(request.GET, page.number + 1),
        "previous_query": page_query(request.GET, page.number - 1),
        "hint": hints.ORDERS,
    }
    return render(request, "trading/orders.html", context)


@require_safe
@desk_call
def orders_json(request: DeskRequest) -> HttpResponse:
    """Answer with the newest rows of the same list, or with those whose ids are asked for, as frames."""
    permissions.get_team(request.user, Permission.SEE_ORDERS)
    found = matching(request, request.GET)
    if "id" in request.GET:
        found = found.filter(pk__in=_ids(request.GET.getlist("id")))
    frames = [events.order_frame(order, request.desk_number) for order in found[:ROWS]]
    return JsonResponse({"n": request.desk_number, "orders": frames})


@require_POST
@desk_call
def order_cancel(request: DeskRequest, pk: uuid.UUID) -> HttpResponse:
    """Ask the exchange to cancel one order, and answer with the state it has reached."""
    try:
        order = desk_orders.cancel(
            request.user, order=permissions.get_order(request.user, pk, Permission.CANCEL_OWN_ORDER)
        )
    except PermissionDenied as exc:
        return _refuse(request, str(exc), status=403)
    except Refusal as exc:
        return _refuse(request, exc.sentence, status=409)
    if wants_json(request):
        return JsonResponse({"order": events.order_now(order)})
    messages.info(request, f"{order.state_words}: {order}")
    return redirect("trading:orders", request.environment)


def matching(request: DeskRequest, asked: QueryDict) -> OrderQuerySet:
    """Return the team's orders that fit a query of the address, newest first."""
    found = Order.objects.of(request.team, request.environment)
    if asked.get("state") == "working":
        found = found.exclude(state__in=NOT_WORKING)
    elif asked.get("state") == "attention":
        found = found.filter(state__in=[OrderState.UNKNOWN, OrderState.NEEDS_HUMAN])
    elif asked.get("state") == "ended":
        found = found.filter(state__in=TERMINAL)
    if who := asked.get("who"):
        found = found.filter(placed_by__username=who)
    if market := asked.get("market"):
        found = found.filter(ticker=market)
    return found.newest_first()


def _ids(asked: list[str]) -> list[uuid.UUID]:
    """Return the ids that are ids; nothing has the others."""
    found = []
    for text in asked[:ROWS]:
        with contextlib.suppress(ValueError):
            found.append(uuid.UUID(text))
    return found


def _people(request: DeskRequest) -> list[str]:
    return list(_members(request).order_by("username").values_list("username", flat=True))


def _members(request: DeskRequest) -> QuerySet[User]:
    return User.objects.filter(memberships__team=request.team)


def _person(request: DeskRequest, name: str) -> int | None:
    """Return whose orders a filter keeps: the id of nobody where it names nobody of the team."""
    return _members(request).filter(username=name).values_list("pk", flat=True).first() if name else None


def _refuse(request: DeskRequest, text: str, *, status: int) -> HttpResponse:
    if wants_json(request):
        return fault(text, status=status)
    messages.error(request, text)
    return redirect("trading:orders", request.environment)
