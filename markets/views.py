"""What pages fetch of the exchange's side: fragments and JSON, for everybody who is logged in."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from markets.glance import Glance, NothingSeen
from markets.hub import get_hub
from markets.lookback import TooMany, look
from markets.models import CatalogueClaim, CatalogueRun, Market, MarketQuerySet
from markets.reels import KEPT_MS

ROWS_A_PAGE = 50
PAGES_MOST = 40  # who has not found it by then needs another word, not another page
RUNS_SHOWN = 5


@require_safe
@never_cache
@login_required
def search(request: HttpRequest, environment: str) -> HttpResponse:
    """Answer with the markets that match `q`, the busiest first, as a fragment; `page` counts from 1."""
    check_environment(environment)
    text = request.GET.get("q", "").strip()[:200]
    found = Paginator(_matching(environment, text)[: ROWS_A_PAGE * PAGES_MOST], ROWS_A_PAGE)
    page = found.get_page(request.GET.get("page"))
    context = {"environment": environment, "text": text, "page": page}
    return render(request, "markets/_search_results.html", context)


@require_safe
@never_cache
@login_required
def catalogue_progress(request: HttpRequest, environment: str) -> HttpResponse:
    """Answer with how far the sync of the catalogue is, as a fragment."""
    check_environment(environment)
    return render(request, "markets/_catalogue_progress.html", progress(environment))


@require_safe
@never_cache
@login_required
async def book(request: HttpRequest, environment: str, ticker: str) -> HttpResponse:
    """Answer with a market's whole book as JSON, in the form in which browsers get it; 503 where none comes."""
    check_environment(environment)
    try:
        with Glance(get_hub(), environment, ticker) as glance:
            return JsonResponse(await glance.book())
    except NothingSeen as exc:
        return _nothing(exc)


@require_safe
@never_cache
@login_required
async def trades(request: HttpRequest, environment: str, ticker: str) -> HttpResponse:
    """Answer with the last trades of a market as JSON, oldest first; 503 where none can be had."""
    check_environment(environment)
    try:
        with Glance(get_hub(), environment, ticker) as glance:
            return JsonResponse({"m": ticker, "trades": await glance.trades()})
    except NothingSeen as exc:
        return _nothing(exc)


@require_safe
@never_cache
@login_required
async def lookback(request: HttpRequest, environment: str, ticker: str) -> HttpResponse:
    """Answer with a market's book `from` a time and what came after, `to` a time, as JSON; both in ms since 1970.

    400 for a stretch that is none or too long, 404 where nothing is known of it, 503 while too many look back.
    """
    check_environment(environment)
    try:
        from_ms, to_ms = int(request.GET.get("from", "")), int(request.GET.get("to", ""))
    except ValueError:
        return _refuse(400, "BAD_TIME", "Say from when to when, in milliseconds since 1970.")
    if not 0 <= to_ms - from_ms <= KEPT_MS or not 0 < from_ms < 1 << 53:
        return _refuse(400, "BAD_TIME", "At most fifteen minutes at once, the earlier time first.")
    try:
        found = await look(get_hub(), environment, ticker=ticker, from_ms=from_ms, to_ms=to_ms)
    except TooMany:
        return _refuse(503, "TOO_MANY", "Many look back at this moment: try again in a few seconds.")
    if found is None:
        return _refuse(404, "NO_LOOKBACK", "Nobody watched this market then, or it is too long ago.")
    return HttpResponse(found, content_type="application/json")


def check_environment(environment: str) -> None:
    """Raise Http404 for an exchange that there is not."""
    if environment not in settings.EXCHANGES:
        raise Http404("There is no such environment.")


def progress(environment: str) -> dict[str, Any]:
    """Return what the page of the catalogue shows: whether a sync runs, its passes, and how many markets there are."""
    markets = Market.objects.in_environment(environment)
    claim = CatalogueClaim.objects.filter(environment=environment).first()
    runs = list(CatalogueRun.objects.filter(environment=environment).order_by("-started_at")[:RUNS_SHOWN])
    return {
        "environment": environment,
        "is_first": claim is None or claim.changes_from is None,
        "is_running": any(run.finished_at is None for run in runs),
        "complete_as_of": claim.changes_from if claim else None,
        "runs": runs,
        "markets": markets.count(),
        "open_markets": markets.open().count(),
    }


def _matching(environment: str, text: str) -> MarketQuerySet:
    return Market.objects.in_environment(environment).open().search(text).by_activity()


def _nothing(error: NothingSeen) -> JsonResponse:
    return _refuse(503, "NO_BOOK", str(error))


def _refuse(status: int, code: str, text: str) -> JsonResponse:
    return JsonResponse({"error": {"code": code, "text": text}}, status=status)
