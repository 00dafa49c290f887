"""Typed readers of the environment; a wrong value fails loudly at start, never later."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class BadSetting(Exception):
    """A setting from the environment that cannot be used; the text is for the operator."""


def text(name: str, default: str = "") -> str:
    """Return the variable, or `default` where it is unset or empty."""
    return os.environ.get(name, "").strip() or default


def flag(name: str, default: bool = False) -> bool:
    """Read 1/0, true/false, yes/no, on/off."""
    raw = text(name).lower()
    if not raw:
        return default
    if raw in {"1", "true", "yes", "on"}:
        return True
    if raw in {"0", "false", "no", "off"}:
        return False
    raise BadSetting(f"{name} must be 1 or 0, not {raw!r}.")


def number(name: str, default: int) -> int:
    """Read a whole number."""
    raw = text(name)
    if not raw:
        return default
    try:
        return int(raw)
    except ValueError:
        raise BadSetting(f"{name} must be a whole number, not {raw!r}.") from None


def names(name: str, default: str = "") -> list[str]:
    """Read a comma-separated list."""
    return [part.strip() for part in text(name, default).split(",") if part.strip()]


def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    """Read one of a closed set of words."""
    raw = text(name, default)
    if raw not in allowed:
        raise BadSetting(f"{name} must be one of {', '.join(allowed)}, not {raw!r}.")
    return raw


def secret(name: str) -> str:
    """Read a secret from the variable itself or from the file that `NAME_FILE` names."""
    if path := text(f"{name}_FILE"):
        try:
            return Path(path).read_text().strip()
        except OSError as exc:
            raise BadSetting(f"{name}_FILE cannot be read: {exc.strerror}.") from None
    return text(name)


def database(name: str) -> dict[str, Any]:
    """Read the address of a database into Django's settings. Its text holds a password and is never repeated."""
    import environ  # with Django, which the supervisor does without

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it would repeat the text
            found: dict[str, Any] = environ.Env.db_url_config(secret(name))
    except ValueError:
        found = {}
    if "." not in found.get("ENGINE", ""):
        raise BadSetting(
            f"{name} cannot be read: write it as postgres://user:password@host:port/name, and /, @, # and ? of a"
            " password as %2F, %40, %23 and %3F."
        ) from None
    return found


def exchange_url(name: str, default: str, *, schemes: tuple[str, str]) -> str:
    """Read the address of an exchange: the secure scheme, or the plain one to loopback only."""
    raw = text(name, default).rstrip("/")
    parts = urlsplit(raw)
    secure, plain = schemes
    if parts.scheme == secure and parts.hostname:
        return raw
    if parts.scheme == plain and parts.hostname in LOOPBACK:
        return raw
    raise BadSetting(f"{name} must be a {secure}:// address, or {plain}:// on this machine.")
