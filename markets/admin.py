"""The catalogue in the admin: to look at, never to edit; the exchange is the only author."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from markets.models import CatalogueClaim, CatalogueRun, Event, Market, Series

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin  # only the stubs know it as a generic


class ReadOnly(ModelAdmin):
    """Shows rows without a way to change them, and counts none: a table may hold a million."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: rows come from a sync."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse: an edit would be undone, or worse, believed."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse: orders name markets for ever."""
        return False


@admin.register(Series)
class SeriesAdmin(ReadOnly):
    """Series with their fees."""

    list_display = ("ticker", "environment", "title", "category", "fee_type", "fee_multiplier")
    list_filter = ("environment",)
    search_fields: ClassVar = ["ticker__startswith", "title"]


@admin.register(Event)
class EventAdmin(ReadOnly):
    """Events."""

    list_display = ("ticker", "environment", "title", "sub_title", "mutually_exclusive")
    list_filter = ("environment",)
    search_fields: ClassVar = ["ticker__startswith", "title"]


@admin.register(Market)
class MarketAdmin(ReadOnly):
    """Markets."""

    list_display = ("ticker", "environment", "name", "status", "close_at", "synced_at")
    list_filter = ("environment", "status")
    search_fields: ClassVar = ["ticker__startswith", "title"]


@admin.register(CatalogueRun)
class CatalogueRunAdmin(ReadOnly):
    """How the syncs went."""

    list_display = ("started_at", "environment", "kind", "finished_at", "pages", "rows_seen", "rows_written", "error")
    list_filter = ("environment", "kind")


@admin.register(CatalogueClaim)
class CatalogueClaimAdmin(ReadOnly):
    """Who syncs now."""

    list_display = ("environment", "claimed_until", "described_at", "listed_at", "changes_from")
