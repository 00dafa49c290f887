"""Who may make an account: nobody by themselves; people come by invitation or by the first run."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe


class ClosedSignup(DefaultAccountAdapter):  # type: ignore[misc]
    """Closes allauth's sign-up page."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Answer no: membership of a desk is given, not taken."""
        return False

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Count wrong passwords for each name and address: guessing from one place locks nobody out elsewhere."""
        return f"{super()._get_login_attempts_cache_key(request, **credentials)}:{self.get_client_ip(request)}"


@never_cache
@require_safe
def no_reset_by_mail(request: HttpRequest) -> HttpResponse:
    """Say how a password is set anew: the desk sends no mail."""
    return render(request, "account/password_reset.html")


def not_offered(request: HttpRequest) -> HttpResponse:
    """Answer that there is no such page: mail addresses play no part here."""
    raise Http404


def refused(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a refusal with its sentence; one that is no matter of roles brings its own heading."""
    told = {"exception": str(exception), "heading": getattr(exception, "heading", "")}
    return HttpResponse(render_to_string("403.html", told), status=403)
