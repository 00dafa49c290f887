"""System checks: settings that contradict each other are found at start, with a hint."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

MIN_SECRET_LENGTH = 50


@register(Tags.security)
def check_secret_key(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Refuse a secret key that could be guessed."""
    if len(settings.SECRET_KEY) >= MIN_SECRET_LENGTH and "insecure" not in settings.SECRET_KEY:
        return []
    return [
        Error(
            "The secret key is too short or a default.",
            hint="Unset KALSHIWEB_SECRET_KEY to have one made, or give at least 50 random characters.",
            id="kalshiweb.E001",
        )
    ]


@register(Tags.security)
def check_production_doors(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Refuse the settings that would leave a production desk open."""
    if settings.ENVIRONMENT != "production":
        return []
    found: list[CheckMessage] = []
    if settings.DEBUG:
        found.append(Error("DEBUG is on beside production money.", hint="Unset KALSHIWEB_DEBUG.", id="kalshiweb.E002"))
    if "*" in settings.ALLOWED_HOSTS:
        found.append(Error("Any host name is accepted.", hint="Name yours in KALSHIWEB_HOSTS.", id="kalshiweb.E003"))
    return found


@register()
def check_embedded_parts(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warn where one half is scaled and the other is not."""
    if settings.DATABASE_URL and settings.IS_EMBEDDED_VALKEY:
        return [
            Warning(
                "DATABASE_URL is given but REDIS_URL is not: other machines cannot join this desk's live books.",
                hint="Give REDIS_URL too, or run everything on this machine with `manage.py serve`.",
                id="kalshiweb.W001",
            )
        ]
    return []
