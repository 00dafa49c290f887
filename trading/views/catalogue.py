"""How far the desk's reading of the exchange's catalogue is."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from markets.models import CatalogueRun
from markets.views import progress
from trading.views.doors import DeskRequest, desk_page

RUNS_SHOWN = 20


@require_safe
@desk_page
def catalogue(request: DeskRequest) -> HttpResponse:
    """Show the counts and the last passes; a script keeps the page's figures fresh."""
    runs = CatalogueRun.objects.filter(environment=request.environment).order_by("-started_at")[:RUNS_SHOWN]
    return render(request, "trading/catalogue.html", {**progress(request.environment), "all_runs": runs})
