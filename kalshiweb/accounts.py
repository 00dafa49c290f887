"""Who may make an account: nobody by themselves; people come by invitation or by the first run."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.internal.ratelimit import get_ip
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_safe

from trading import sessions


class ClosedSignup(DefaultAccountAdapter):  # type: ignore[misc]
    """Closes allauth's sign-up page."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Answer no: membership of a desk is given, not taken."""
        return False

    def get_reauthentication_methods(self, user: AbstractBaseUser | AnonymousUser) -> list[dict[str, Any]]:
        """Offer no password to those who have a second factor: allauth takes any of these for its own pages."""
        methods: list[dict[str, Any]] = super().get_reauthentication_methods(user)
        is_safe = sessions.has_second_factor(user)
        return [method for method in methods if not is_safe or method["id"] != "reauthenticate"]

    @sensitive_variables("password")
    def reauthenticate(self, user: AbstractBaseUser, password: str) -> bool:
        """Take a password for a proof only of those who have nothing better."""
        if sessions.has_second_factor(user):
            raise ValidationError("Confirm that it is you with your second factor.")
        return bool(super().reauthenticate(user, password))

    @sensitive_variables("password")
    def set_password(self, user: User, password: str) -> None:
        """Set a password together with its entry in the record: allauth tells of it only when it is done."""
        sessions.set_password(user, password)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count an attempt; whom too many wrong ones keep out is written down."""
        try:
            super().pre_authenticate(request, **credentials)
        except ValidationError:
            for user in User.objects.filter(username__iexact=str(credentials.get("username") or "")):
                sessions.note_kept_out(request, user)
            raise

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Count wrong passwords for each name and address: guessing from one place locks nobody out elsewhere.

        One machine has 2^64 addresses of IPv6: they count as one.
        """
        return f"{super()._get_login_attempts_cache_key(request, **credentials)}:{get_ip(request)}"


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
