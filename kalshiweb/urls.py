"""Root URLs: the exchange's fragments, the desk's pages, log-in, health."""

from __future__ import annotations

from allauth.account.decorators import secure_admin_login
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import include, path
from django.urls.resolvers import URLPattern, URLResolver

from kalshiweb import accounts, health

# The admin has no log-in form of its own: people come through the one door with its limits and second factor.
admin.autodiscover()
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]


def start(request: HttpRequest) -> HttpResponse:
    """Send a visitor to the dashboard of this installation's environment."""
    return redirect(f"/x/{settings.ENVIRONMENT}/")


urlpatterns: list[URLPattern | URLResolver] = [
    path("", start, name="start"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("status", health.status, name="status"),
    path("accounts/password/reset/", accounts.no_reset_by_mail, name="account_reset_password"),
    path("accounts/email/", accounts.not_offered, name="account_email"),
    path("accounts/2fa/", include("kalshiweb.factor_pages")),
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("", include("markets.urls")),
    path("", include("trading.urls")),
]
handler403 = accounts.refused
