"""The dashboard: the busiest markets, the team's working orders, what needs a person, what closes soon."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from markets.models import Market
from trading import permissions, risk, setup
from trading.models import Account, RiskLimit
from trading.permissions import Permission
from trading.views import hints
from trading.views.doors import DeskRequest, desk_page, working_orders
from trading.views.shown import event_titles, grouped, market_names, shown_orders

MARKETS_SHOWN = 24
CLOSING_SHOWN = 5
CLOSING_READ = 200  # the answers of an event close together
ORDERS_SHOWN = 200
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Exposure:
    """What is at risk, in dollars: held, and at most to come from what is working or unknown."""

    held: Decimal
    working: Decimal
    limit: Decimal

    @property
    def total(self) -> Decimal:
        """Both together."""
        return self.held + self.working

    @property
    def held_share(self) -> int:
        """Of the limit, in thousandths, for the bar."""
        return self._share(self.held)

    @property
    def total_share(self) -> int:
        """Of the limit, in thousandths, for the bar."""
        return self._share(self.total)

    def _share(self, part: Decimal) -> int:
        return min(1000, int(part * 1000 / self.limit)) if self.limit else 0


@require_safe
@desk_page
def dashboard(request: DeskRequest) -> HttpResponse:
    """Show the desk at one glance; with `?part=money` its positions and exposure alone, for after a fill."""
    if request.GET.get("part") == "money":
        return render(request, "trading/_dashboard_money.html", _money(request))
    open_markets = Market.objects.in_environment(request.environment).open()
    busiest = list(open_markets.by_activity()[:MARKETS_SHOWN])
    closing = _closing(open_markets.closing_soon()[:CLOSING_READ])
    orders = list(working_orders(request.team, request.environment).newest_first()[:ORDERS_SHOWN])
    names = market_names(request.environment, {order.ticker for order in orders})
    shown = shown_orders(orders, membership=request.membership, number=request.desk_number, names=names)
    titles = event_titles(request.environment, {market.event_ticker for market in (*busiest, *closing)})
    context = {
        "groups": grouped(busiest, titles),
        "closing": [(market, titles.get(market.event_ticker) or market.title) for market in closing],
        "orders": shown,
        "orders_data": {"orders": [row.frame for row in shown], "names": names},
        "hint": hints.DASHBOARD,
        "needs_password": setup.needs_password(request),
        **_money(request),
    }
    return render(request, "trading/dashboard.html", context)


def _closing(markets: Iterable[Market]) -> list[Market]:
    """Return one market of each of the events that close next."""
    by_event: dict[str, Market] = {}
    for market in markets:
        by_event.setdefault(market.event_ticker, market)
    return list(by_event.values())[:CLOSING_SHOWN]


def _money(request: DeskRequest) -> dict[str, Any]:
    if not permissions.may(request.membership, Permission.SEE_POSITIONS):
        return {"account": None, "positions": [], "exposure": None}
    account = Account.objects.filter(team=request.team, environment=request.environment).order_by("pk").first()
    limit = RiskLimit.objects.filter(team=request.team, environment=request.environment).first()
    held, working = risk.exposure(account, timezone.now()) if account else ({}, ZERO)
    open_positions = [position for position in held.values() if position.net]
    names = market_names(request.environment, {position.ticker for position in open_positions})
    return {
        "account": account,
        "positions": [
            (position, abs(position.net), names.get(position.ticker, position.ticker)) for position in open_positions
        ],
        "exposure": Exposure(
            held=sum((position.cost for position in open_positions), ZERO),
            working=working,
            limit=limit.max_exposure if limit else ZERO,
        ),
    }
