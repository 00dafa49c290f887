"""allauth's pages that change a person's second factors, each in one transaction with the entry in the record.

allauth saves first and tells of it after the commit, when a record that cannot be written stops nothing any more. Using
a factor (when it was last used, which recovery codes are gone) is no change of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.views import generate_recovery_codes
from allauth.mfa.totp.views import activate_totp, deactivate_totp
from allauth.mfa.webauthn.views import add_webauthn, remove_webauthn
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase
from django.urls import path

from trading import sessions, teams

View = Callable[..., HttpResponseBase]
SAFE = {"GET", "HEAD", "OPTIONS"}


def told(view: View) -> View:
    """Have what a view does to its person's factors written down, and the other sessions ended, or nothing done."""

    @wraps(view)
    def changed(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method in SAFE or not request.user.is_authenticated:
            return view(request, *args, **kwargs)
        with transaction.atomic():
            teams.lock_all_of(request.user)
            before = _kinds(request)
            answer = view(request, *args, **kwargs)
            sessions.record_factors(request, list(_changes(before, _kinds(request))))
        return answer

    return changed


def _kinds(request: HttpRequest) -> dict[int, str]:
    rows = Authenticator.objects.filter(user_id=request.user.pk).order_by("pk")
    return dict(rows.values_list("pk", "type"))


def _changes(before: dict[int, str], after: dict[int, str]) -> Iterator[tuple[str, str]]:
    """Yield each kind with what was done; new recovery codes are other rows in place of the old ones."""
    gone = [kind for pk, kind in before.items() if pk not in after]
    new = [kind for pk, kind in after.items() if pk not in before]
    for kind in gone:
        yield kind, "made anew" if kind in new else "removed"
    for kind in new:
        if kind not in gone:
            yield kind, "added"


# By allauth's own names and addresses, before which they come.
urlpatterns = [
    path("totp/activate/", told(activate_totp), name="mfa_activate_totp"),
    path("totp/deactivate/", told(deactivate_totp), name="mfa_deactivate_totp"),
    path("recovery-codes/generate/", told(generate_recovery_codes), name="mfa_generate_recovery_codes"),
    path("webauthn/add/", told(add_webauthn), name="mfa_add_webauthn"),
    path("webauthn/keys/<int:pk>/remove/", told(remove_webauthn), name="mfa_remove_webauthn"),
]
