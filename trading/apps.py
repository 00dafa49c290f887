"""Our side as a Django app."""

from __future__ import annotations

from django.apps import AppConfig


class TradingConfig(AppConfig):
    """People, keys, orders, risk and the record of it."""

    name = "trading"
    verbose_name = "Desk"
    default_auto_field = "django.db.models.BigAutoField"
