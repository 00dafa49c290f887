"""The page of one market: its book, the ticket, the team's orders in it."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from markets.models import Event, Market
from markets.templatetags import prices
from trading import permissions, positions, sessions
from trading.events import CONTRACT, DOLLAR, MICRODOLLAR
from trading.models import Account, Order
from trading.permissions import Permission
from trading.views import hints
from trading.views.doors import DeskRequest, desk_call, desk_page
from trading.views.quotes import fee_terms
from trading.views.shown import change_words, shown_orders

SIBLINGS_MOST = 120
ORDERS_SHOWN = 50
PRESETS = ("10", "50", "100", "500")
CENT = Decimal("0.01")
# `net` in 0.01 contract, YES positive; `cost` in $0.000001
FLAT: dict[str, Any] = {"side": "", "words": "", "at": "", "net": 0, "cost": 0}


@dataclass(frozen=True, slots=True)
class NoTicket:
    """Why there is no ticket here, and where to go instead."""

    title: str
    text: str
    href: str = ""
    label: str = ""


@require_safe
@desk_page
def market(request: DeskRequest, ticker: str) -> HttpResponse:
    """Show one market; its book comes by the socket."""
    found = get_market(request.environment, ticker)
    event = Event.objects.in_environment(request.environment).filter(ticker=found.event_ticker).first()
    event_title = event.title if event and event.title else found.title
    orders = Order.objects.of(request.team, request.environment).filter(ticker=ticker).newest_first()[:ORDERS_SHOWN]
    names = {ticker: found.name}
    shown = shown_orders(orders, membership=request.membership, number=request.desk_number, names=names)
    no_ticket = _no_ticket(request, found)
    context = {
        "market": found,
        "event_title": event_title,
        "category": event.category if event else "",
        "change": change_words(found),
        "siblings": _siblings(found),
        "ranges": json.dumps(found.price_ranges),
        "tick": _tick(found),
        "ticket_closed": no_ticket,
        "fees": fee_terms(found),
        "position": (held := _position(request, found.ticker)),
        "open_gain": _open_gain(held, found),
        **_ladder_view(request),
        "presets": PRESETS,
        "idempotency_key": str(uuid.uuid4()),
        "orders": shown,
        "orders_data": [row.frame for row in shown],
        "orders_empty": "No order of the team on this market yet.",
        "hint": hints.MARKET if no_ticket is None else None,
    }
    return render(request, "trading/market.html", context)


@require_safe
@desk_call
def position(request: DeskRequest, ticker: str) -> HttpResponse:
    """Answer with what the team holds of a market, in words."""
    get_market(request.environment, ticker)
    return JsonResponse(_position(request, ticker))


def get_market(environment: str, ticker: str) -> Market:
    """Return a market of the catalogue. Raises Http404 with a sentence."""
    found = Market.objects.in_environment(environment).filter(ticker=ticker).first()
    if found is None:
        raise Http404(f"There is no market {ticker} in this desk's catalogue.")
    return found


def _position(request: DeskRequest, ticker: str) -> dict[str, Any]:
    if not permissions.may(request.membership, Permission.SEE_POSITIONS):
        return FLAT
    account = Account.objects.filter(team=request.team, environment=request.environment).order_by("pk").first()
    held = positions.of_market(account, ticker) if account else positions.Position(ticker)
    if not held.net:
        return FLAT
    side = "yes" if held.net > 0 else "no"
    average = held.average_price
    return {
        "side": side,
        "words": f"{prices.contracts(abs(held.net))} {side.upper()}",
        "at": f"at {prices.cents(round(average, 4))}" if average is not None else "",
        "net": int(held.net * CONTRACT),
        "cost": int((held.cost * MICRODOLLAR).to_integral_value(ROUND_CEILING)),
    }


def _open_gain(held: dict[str, Any], market: Market) -> str:
    """Say what closing at the catalogue's best price would bring, without fees; scripts go on with live prices."""
    price = market.yes_bid if held["net"] > 0 else market.yes_ask
    if not held["net"] or price is None:
        return prices.UNKNOWN
    own = price if held["net"] > 0 else DOLLAR - price
    gain = Decimal(abs(held["net"]) * own - held["cost"]) / MICRODOLLAR
    return prices.signed_dollars(gain.quantize(CENT, ROUND_FLOOR))


def _ladder_view(request: DeskRequest) -> dict[str, str]:
    if request.GET.get("view") == "no":
        return {"ladder_side": "no", "own": "NO", "other": "YES"}
    return {"ladder_side": "yes", "own": "YES", "other": "NO"}


def _siblings(market: Market) -> list[Market]:
    found = Market.objects.in_environment(market.environment).filter(event_ticker=market.event_ticker)
    return sorted(found[:SIBLINGS_MOST], key=lambda sibling: _natural(sibling.ticker))


def _natural(ticker: str) -> list[tuple[int, float, str]]:
    """Sort T9 before T10."""
    parts = re.split(r"(\d+(?:\.\d+)?)", ticker)
    return [(0, float(part), "") if part[:1].isdigit() else (1, 0.0, part) for part in parts]


def _tick(market: Market) -> str:
    steps = sorted({step for _, _, step in market.price_ranges})
    if not steps:
        return "unknown"
    return prices.cents(steps[0]) if len(steps) == 1 else f"{prices.cents(steps[0])} to {prices.cents(steps[-1])}"


def _no_ticket(request: DeskRequest, market: Market) -> NoTicket | None:
    if market.is_replay:
        return NoTicket("A replay has no ticket.", "This book was recorded; it is not the present.")
    if not market.is_open:
        result = f" Result: {market.result.upper()}." if market.result else ""
        return NoTicket(f"{market.status_label}.", f"Orders are not possible here now.{result}")
    if not request.can_trade:
        role = request.membership.get_role_display().lower()
        return NoTicket("You can watch here.", f"Placing orders needs the role trader or owner; yours is {role}.")
    if sessions.is_locked(request):
        href = sessions.proof_url(request, back_to=request.path)
        return NoTicket("Trading is locked.", "You were away for 30 minutes: prove that it is you.", href, "Unlock")
    accounts = Account.objects.filter(team=request.team, environment=request.environment)
    if not any(account.trading_key() for account in accounts):
        href = reverse("trading:keys", args=[request.environment])
        return NoTicket("No key may trade yet.", "Orders are signed with a key of your team.", href, "Add a key")
    return None
