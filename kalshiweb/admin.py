"""The stock admin behind the desk's own door: people can be locked and let in again, and nothing else is changed.

Passwords, second factors and groups are not for it: a password set there would open a team's orders to whoever set it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from trading import people, sessions, teams
from trading.people import PeopleRefused

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[User]
else:
    ModelAdmin = admin.ModelAdmin  # only the stubs know it as a generic

for model in (User, Group, EmailAddress, Authenticator):
    if admin.site.is_registered(model):
        admin.site.unregister(model)

_is_staff = admin.site.has_permission


def has_permission(request: HttpRequest) -> bool:
    """Say whether a person may use the admin: staff, beside production money with a second factor."""
    if not _is_staff(request):
        return False
    return settings.ENVIRONMENT != "production" or sessions.has_second_factor(request.user)


def log_in(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    """Send staff on to the admin: its own form would let one member of staff in as another, past the second factor."""
    return redirect("admin:index" if admin.site.has_permission(request) else "mfa_index")


def change_password(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    """Send staff to their own page: the admin's form limits no guesses at the old password and records no change."""
    return redirect("account_change_password")


admin.site.has_permission = has_permission  # type: ignore[method-assign]
admin.site.login = log_in  # type: ignore[method-assign]
admin.site.password_change = change_password  # type: ignore[method-assign,assignment]
admin.site.password_change_done = change_password  # type: ignore[method-assign,assignment]


class PersonForm(forms.ModelForm):  # type: ignore[type-arg]  # only the stubs know it as a generic
    """Whether somebody may log in."""

    class Meta:
        model = User
        fields: ClassVar = ["is_active"]

    def clean_is_active(self) -> bool:
        """Refuse to lock out the only owner of a team.

        The person's teams stay locked until the admin's transaction ends with what was decided here, so that no other
        owner goes meanwhile.
        """
        is_active: bool = self.cleaned_data["is_active"]
        teams.lock_all_of(self.instance, with_former=True)
        if not is_active:
            try:
                people.check_not_last_owner(self.instance)
            except PeopleRefused as exc:
                raise forms.ValidationError(str(exc)) from None
        return is_active


@admin.register(User)
class PersonAdmin(ModelAdmin):
    """People of all teams: who they are, and the lock."""

    form = PersonForm
    list_display = ("username", "is_active", "is_staff", "last_login", "date_joined")
    search_fields: ClassVar = ["username__startswith"]
    fields: ClassVar = ["username", "is_active", "is_staff", "is_superuser", "last_login", "date_joined"]
    readonly_fields: ClassVar = ["username", "is_staff", "is_superuser", "last_login", "date_joined"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: people come by invitation."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse: the record names people for ever."""
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Lock or unlock, with an entry in the record of each of the person's teams; locking ends all sessions."""
        with transaction.atomic():
            obj.save(update_fields=["is_active"])
            people.record_lock(request.user, person=obj)  # type: ignore[arg-type]  # staff are users
