"""What this is, and what has to be said."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def about(request: HttpRequest) -> HttpResponse:
    """Show the notices; open to everybody."""
    try:
        release = version("kalshiweb")
    except PackageNotFoundError:
        release = "from a checkout"
    return render(request, "trading/about.html", {"release": release})
