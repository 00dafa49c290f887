"""What this desk can say about itself: /healthz, /readyz and /status.

`healthz` is about this process, `readyz` about what it needs to serve a page, `status` about the whole
desk: each part leaves a sign of life in Valkey under `kalshiweb:health:…`, JSON with `as_of` in
milliseconds, and the age of the last sign is the answer. How old the accounts are, their rows say.
"""

from __future__ import annotations

import json
import time
from functools import lru_cache
from typing import Any

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from markets.models import CatalogueRun, Market
from trading.models import Account, ApiKey

KEY = "kalshiweb:health:"
LATE_MS = {"feed": 5_000, "worker": 30_000, "beat": 30_000}
LOOPBACK = {"127.0.0.1", "::1"}
RUNS_SHOWN = 10


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer that this process is up; asks nobody."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 when this process can serve, else 503 with what is missing; names no addresses."""
    found = {"database": _database(), "migrations": "", "layer": _layer()}
    if not found["database"]:
        found["migrations"] = _migrations()
    is_ready = not any(found.values())
    body = {"ready": is_ready, **{name: reason or "ok" for name, reason in found.items()}}
    return JsonResponse(body, status=200 if is_ready else 503)


@require_safe
@never_cache
def status(request: HttpRequest) -> HttpResponse:
    """Tell staff, and whoever sits at this machine, how old the last sign of each part is."""
    if not may_see_status(request):
        raise Http404
    now_ms = int(time.time() * 1000)
    environment = settings.ENVIRONMENT
    try:
        signs = read_signs(f"feed:{environment}", "worker", "beat")
    except redis.RedisError:
        signs = {}
    parts = {name.partition(":")[0]: _aged(name.partition(":")[0], sign, now_ms) for name, sign in signs.items()}
    parts["reconcile"] = _aged("reconcile", _reconciled(), now_ms)
    return JsonResponse(
        {"environment": environment, "as_of": now_ms, **parts, "layer": _layer() or "ok", "catalogue": _catalogue()}
    )


def may_see_status(request: HttpRequest) -> bool:
    """Say whether this visitor is staff, or at this machine with no proxy between."""
    if request.user.is_authenticated and request.user.is_staff:
        return True
    is_forwarded = any(name in request.headers for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"))
    return request.META.get("REMOTE_ADDR") in LOOPBACK and not is_forwarded


def read_signs(*names: str) -> dict[str, dict[str, Any] | None]:
    """Return the last sign of life of each part, None where there is none. Raises redis.RedisError."""
    values: list[Any] = valkey().mget([KEY + name for name in names])
    return {name: _parsed(value) for name, value in zip(names, values, strict=True)}


@lru_cache(maxsize=1)
def valkey() -> redis.Redis:
    """Return this process's connection to Valkey; short time-outs, because a health check must answer."""
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)


def _parsed(value: bytes | None) -> dict[str, Any] | None:
    if value is None:
        return None
    try:
        found = json.loads(value)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("as_of"), int) else None


def _aged(part: str, sign: dict[str, Any] | None, now_ms: int) -> dict[str, Any]:
    if sign is None:
        return {"alive": False, "age_ms": None}
    age_ms = max(0, now_ms - sign["as_of"])
    return {**sign, "alive": age_ms <= LATE_MS.get(part, 60_000), "age_ms": age_ms}


def _reconciled() -> dict[str, Any] | None:
    """Return when the account that waits longest was last compared with the exchange; None if one never was."""
    accounts = Account.objects.filter(environment=settings.ENVIRONMENT, keys__state=ApiKey.State.ACTIVE)
    compared = dict(accounts.values_list("pk", "reconciled_at"))
    if not compared or None in compared.values():
        return None
    oldest = min(at for at in compared.values() if at is not None)
    return {"as_of": int(oldest.timestamp() * 1000), "accounts": len(compared)}


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "does not answer"
    return ""


def _layer() -> str:
    try:
        valkey().ping()
    except redis.RedisError:
        return "does not answer"
    return ""


def _migrations() -> str:
    try:
        waiting = _unapplied()
    except DatabaseError:
        return "cannot be read"
    return f"{waiting} not applied" if waiting else ""


_is_migrated = False


def _unapplied() -> int:
    global _is_migrated  # a schema never goes back under a running process, and the plan costs 50 ms
    if _is_migrated:
        return 0
    executor = MigrationExecutor(connection)
    waiting = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    _is_migrated = waiting == 0
    return waiting


def _catalogue() -> dict[str, Any]:
    markets = Market.objects.in_environment(settings.ENVIRONMENT)
    runs = CatalogueRun.objects.filter(environment=settings.ENVIRONMENT).order_by("-started_at")[:RUNS_SHOWN]
    return {
        "markets": markets.count(),
        "open": markets.open().count(),
        "runs": [
            {
                "kind": run.kind,
                "started_at": run.started_at.isoformat(),
                "finished_at": run.finished_at.isoformat() if run.finished_at else None,
                "pages": run.pages,
                "rows_seen": run.rows_seen,
                "rows_written": run.rows_written,
                "rows_quoted": run.rows_quoted,
                "error": run.error,
            }
            for run in runs
        ],
    }
