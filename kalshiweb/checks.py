"""System checks: settings that contradict each other are found at start, with a hint."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError

from kalshiweb import second_factor
from trading.models import ApiKey
from trading.ring import BadRing, KeyRing
from trading.vault import provider

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
    if not settings.HTTPS and not all(map(_is_loopback, [settings.BIND, *settings.ALLOWED_HOSTS])):
        # A web server that was started by hand listens where nobody told us; by loopback's names it serves no other.
        found.append(
            Error(
                "Production would be served to other machines over plain HTTP: passwords and sessions could be read on"
                " the way.",
                hint="Put a proxy with a certificate in front and set KALSHIWEB_HTTPS=1 and KALSHIWEB_BEHIND_PROXY=1;"
                " or serve this machine alone, with the bind address 127.0.0.1 and no KALSHIWEB_HOSTS.",
                id="kalshiweb.E008",
            )
        )
    return found


@register(Tags.security)
def check_proxy(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warn where every request would be sent on to HTTPS, those that came by it too."""
    if not settings.HTTPS or settings.SECURE_PROXY_SSL_HEADER:
        return []
    return [
        Warning(
            "KALSHIWEB_HTTPS is on, and no proxy is trusted to say that a request came by HTTPS: the web server speaks"
            " plain HTTP, so every page would redirect to itself for ever.",
            hint="Set KALSHIWEB_BEHIND_PROXY=1 behind a proxy that sets X-Forwarded-Proto, or give daphne a"
            " certificate of its own.",
            id="kalshiweb.W009",
        )
    ]


def _is_loopback(name: str) -> bool:
    with suppress(ValueError):
        return ip_address(name.strip("[]")).is_loopback
    return name == "localhost"


@register(Tags.security)
def check_master_keys(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Find master keys that cannot be used, are missing beside stored keys, or are a secret of another kind as well."""
    try:
        return _missing_master_keys() + _missing_for_second_factors() + _shared_secret()
    except BadRing as exc:
        return [Error(str(exc), hint="See kalshiweb/docs/keys.md.", id="kalshiweb.E005")]


def _missing_master_keys() -> list[CheckMessage]:
    """Say which stored keys cannot be opened: an error beside production money, elsewhere the desk starts without."""
    try:
        wrapping = set(ApiKey.objects.exclude(kid="").values_list("kid", flat=True))
    except DatabaseError:  # there are no tables yet
        return []
    missing = sorted(kid for kid in wrapping if not provider().knows(kid))
    if not missing:
        return []
    kind = Error if settings.ENVIRONMENT == "production" else Warning
    return [
        kind(
            f"Keys are stored whose master key is missing ({', '.join(missing)}): the desk cannot sign with them.",
            hint="Restore master.keys from its backup, or remove the keys and add them again.",
            id="kalshiweb.E004" if kind is Error else "kalshiweb.W004",
        )
    ]


def _missing_for_second_factors() -> list[CheckMessage]:
    """Say whose second factors cannot be read: those people are not let in."""
    try:
        wrapping = second_factor.kids()
    except DatabaseError:  # there are no tables yet
        return []
    missing = sorted(kid for kid in wrapping if not provider().knows(kid))
    if not missing:
        return []
    kind = Error if settings.ENVIRONMENT == "production" else Warning
    return [
        kind(
            f"Second factors are stored whose master key is missing ({', '.join(missing)}): they let nobody in.",
            hint="Restore master.keys from its backup, or run manage.py reset_second_factor for each person.",
            id="kalshiweb.E007" if kind is Error else "kalshiweb.W007",
        )
    ]


def _shared_secret() -> list[CheckMessage]:
    ring = provider()
    if not isinstance(ring, KeyRing) or not ring.is_same_secret(settings.SECRET_KEY):
        return []
    hint = "Unset KALSHIWEB_SECRET_KEY to have one made."
    return [
        Error(
            "Django's secret key is one of the master keys: each needs to be its own.", hint=hint, id="kalshiweb.E006"
        )
    ]


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
