"""The desk in the admin: people and limits to look at; orders, fills, keys and the record are never edited here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from trading.models import Account, AuditEntry, Membership, RiskLimit, Team, TradingState

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin  # only the stubs know it as a generic


class ReadOnly(ModelAdmin):
    """Shows rows without a way to change them: changes go through the desk, which records them."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse."""
        return False


@admin.register(Team)
class TeamAdmin(ReadOnly):
    """Teams."""

    list_display = ("name", "slug", "created_at")


@admin.register(Membership)
class MembershipAdmin(ReadOnly):
    """Who is in which team."""

    list_display = ("team", "user", "role", "is_active")
    list_filter = ("role", "is_active")


@admin.register(Account)
class AccountAdmin(ReadOnly):
    """Accounts and when they were last compared with the exchange."""

    list_display = ("name", "environment", "team", "reconciled_at", "reconcile_error")
    list_filter = ("environment",)


@admin.register(RiskLimit)
class RiskLimitAdmin(ReadOnly):
    """Limits."""

    list_display = ("team", "environment", "max_order_cost", "max_exposure", "max_position", "max_orders_per_minute")


@admin.register(TradingState)
class TradingStateAdmin(ReadOnly):
    """Who trades."""

    list_display = ("team", "environment", "state", "reason", "changed_by", "changed_at")


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnly):
    """The record, newest first, without what concerns orders: the site's superuser belongs to no team."""

    exclude: ClassVar = ["facts"]

    list_display = ("at", "team", "number", "actor_name", "action", "subject")
    list_filter = ("action",)
    search_fields: ClassVar = ["subject__startswith"]
    ordering = ("-at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        """Leave out orders and fills."""
        found: QuerySet[AuditEntry] = super().get_queryset(request)
        return found.exclude(action__startswith="order.").exclude(action__startswith="fill.")
