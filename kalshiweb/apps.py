"""The deployment as a Django app: it carries the commands and the system checks."""

from __future__ import annotations

from django.apps import AppConfig


class KalshiwebConfig(AppConfig):
    """Registers the checks that find contradictory settings, what seals second factors, and where tasks are sent."""

    name = "kalshiweb"

    def ready(self) -> None:
        """Import what registers itself with Django."""
        from kalshiweb import celery, checks, second_factor  # noqa: F401
