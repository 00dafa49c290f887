"""The one-time link: a page that asks, so that whoever merely looks at a link does not use it up; then a password."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from trading import setup
from trading.setup import LinkRefused, PasswordRefused


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def welcome(request: HttpRequest, token: str) -> HttpResponse:
    """Ask whether to open the desk with this link; a POST does."""
    try:
        if request.method == "POST":
            return setup.use_link(request, token)
        link = setup.check_link(request, token)
    except LinkRefused as exc:
        return render(request, "trading/welcome_refused.html", {"sentence": str(exc)}, status=410)
    return render(request, "trading/welcome.html", {"link": link})


@never_cache
@login_required
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables()
def first_password(request: HttpRequest) -> HttpResponse:
    """Let somebody who came by a link choose the password to come back with."""
    if not setup.needs_password(request):
        return redirect("account_change_password")
    faults: list[str] = []
    if request.method == "POST":
        first, again = request.POST.get("password", ""), request.POST.get("again", "")
        faults = ["The two passwords are not the same."] if first != again else _set(request, first)
        if not faults:
            messages.success(request, "Your password is set.")
            return redirect("start")
    return render(request, "trading/first_password.html", {"faults": faults}, status=422 if faults else 200)


@sensitive_variables("password")
def _set(request: HttpRequest, password: str) -> list[str]:
    try:
        setup.set_password(request, password)
    except ValidationError as exc:
        return list(exc.messages)
    except PasswordRefused as exc:
        return [str(exc)]
    return []
