"""The exchange's side as a Django app."""

from __future__ import annotations

from django.apps import AppConfig


class MarketsConfig(AppConfig):
    """Catalogue, books and relay of the exchange."""

    name = "markets"
    verbose_name = "Exchange"
    default_auto_field = "django.db.models.BigAutoField"
