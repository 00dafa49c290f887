"""The deployment as a Django app: it carries the commands and the system checks."""

from __future__ import annotations

from django.apps import AppConfig


class KalshiwebConfig(AppConfig):
    """Registers the checks that find contradictory settings, and what seals second factors."""

    name = "kalshiweb"

    def ready(self) -> None:
        """Import what registers itself with Django."""
        from kalshiweb import checks, second_factor  # noqa: F401
