"""Whether the log-ins behind open sockets still stand: a WebSocket outlives logout, lock-out and password change.

One question for all sockets of a process, so that it can be asked every few seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.utils import timezone
from django.utils.crypto import constant_time_compare


@dataclass(frozen=True, slots=True)
class LogIn:
    """Who opened a socket, and by which session."""

    session_key: str
    user_id: Any


def ended(log_ins: Iterable[LogIn]) -> set[LogIn]:
    """Return those that no longer stand: session gone or another's, user gone or inactive, password changed.

    Blocks on the database: two queries whatever the number of log-ins.
    """
    asked = set(log_ins)
    sessions = _sessions({log_in.session_key for log_in in asked})
    users = get_user_model()._default_manager.filter(pk__in={log_in.user_id for log_in in asked}, is_active=True)
    hashes = {user.pk: user.get_session_auth_hash() for user in users.only("pk", "password")}
    return {log_in for log_in in asked if not _stands(log_in, sessions.get(log_in.session_key), hashes)}


def _stands(log_in: LogIn, session: dict[str, Any] | None, hashes: dict[Any, str]) -> bool:
    if session is None or log_in.user_id not in hashes or session.get(SESSION_KEY) != str(log_in.user_id):
        return False
    return constant_time_compare(session.get(HASH_SESSION_KEY, ""), hashes[log_in.user_id])


def _sessions(keys: set[str]) -> dict[str, dict[str, Any]]:
    store = import_module(settings.SESSION_ENGINE).SessionStore
    if not hasattr(store, "get_model_class"):
        return {key: store(key).load() for key in keys}
    rows = store.get_model_class().objects.filter(session_key__in=keys, expire_date__gt=timezone.now())
    return {row.session_key: row.get_decoded() for row in rows}
