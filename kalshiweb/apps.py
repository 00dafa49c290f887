"""The deployment as a Django app: it carries the commands and the system checks."""

from __future__ import annotations

from django.apps import AppConfig


class KalshiwebConfig(AppConfig):
    """Registers the checks that find contradictory settings."""

    name = "kalshiweb"

    def ready(self) -> None:
        """Import the checks so that Django runs them."""
        from kalshiweb import checks  # noqa: F401
