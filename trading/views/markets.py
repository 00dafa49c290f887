"""The list of markets: searched, filtered by the address, paged."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_safe

from markets.models import Event, Market, MarketQuerySet, Series
from trading.views.doors import DeskRequest, desk_page, page_query
from trading.views.shown import event_titles, grouped

ROWS = 50
PAGES_MOST = 200
QUERY_MOST = 200
ORDERS = {"activity": "busiest", "closing": "closing"}


@require_safe
@desk_page
def markets(request: DeskRequest) -> HttpResponse:
    """Show the markets that the address asks for: q, category, event, status and sort."""
    found = matching(request.environment, request.GET)
    page = Paginator(found[: ROWS * PAGES_MOST], ROWS).get_page(request.GET.get("page"))
    titles = event_titles(request.environment, {market.event_ticker for market in page.object_list})
    context = {
        "page": page,
        "groups": grouped(page.object_list, titles),
        "text": _text(request.GET),
        "category": request.GET.get("category", ""),
        "categories": _categories(request.environment),
        "event": request.GET.get("event", ""),
        "status": _status(request.GET),
        "sort": _sort(request.GET),
        "sorts": ORDERS,
        "next_query": page_query(request.GET, page.number + 1),
        "previous_query": page_query(request.GET, page.number - 1),
    }
    return render(request, "trading/markets.html", context)


def matching(environment: str, asked: QueryDict) -> MarketQuerySet:
    """Return the markets that fit a query of the address."""
    found = Market.objects.in_environment(environment).search(_text(asked))
    if _status(asked) == "open":
        found = found.open()
    if event := asked.get("event"):
        found = found.filter(event_ticker=event)
    if category := asked.get("category"):
        events = Event.objects.in_environment(environment).filter(category=category)
        found = found.filter(event_ticker__in=events.values("ticker"))
    if _sort(asked) == "closing":
        return found.exclude(close_at=None).order_by("close_at", "ticker")
    return found.by_activity()


def _text(asked: QueryDict) -> str:
    return asked.get("q", "").strip()[:QUERY_MOST]


def _status(asked: QueryDict) -> str:
    return "all" if asked.get("status") == "all" else "open"


def _sort(asked: QueryDict) -> str:
    wanted = asked.get("sort", "")
    return wanted if wanted in ORDERS else "activity"


def _categories(environment: str) -> list[str]:
    found = Series.objects.in_environment(environment).exclude(category="")
    return list(found.order_by("category").values_list("category", flat=True).distinct())
