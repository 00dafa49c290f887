"""What runs beside the pages: the catalogue's sync, and the signs of life of worker and schedule."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import redis
from celery import shared_task, signals
from django.conf import settings
from django.db import close_old_connections

from markets import sync
from markets.kalshi.errors import KalshiError
from markets.source import open_source

logger = logging.getLogger(__name__)

HEALTH_KEPT_SECONDS = 3600
WORKER_SIGN_EVERY_SECONDS = 5.0


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def sync_catalogue(environment: str) -> None:
    """Bring an environment's catalogue up to date, unless somebody does already; safe to send twice."""
    close_old_connections()
    if not sync.claim(environment):
        return
    try:
        with open_source(environment) as source:
            sync.Sync(environment, source).run()
    except KalshiError as exc:
        # The run's row holds the reason; the next beat goes on where this one stopped.
        logger.warning("catalogue of %s not complete: %s", environment, exc)
    finally:
        sync.release(environment)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def beat_alive() -> None:
    """Leave the schedule's sign of life: whoever sent this was alive a moment ago."""
    leave_sign("beat")


def leave_sign(part: str) -> None:
    """Say in Valkey that a part lives; without Valkey there is nobody to say it to."""
    sign = json.dumps({"as_of": int(time.time() * 1000)})
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1) as valkey:
            valkey.set(f"kalshiweb:health:{part}", sign, ex=HEALTH_KEPT_SECONDS)
    except redis.RedisError:
        logger.warning("no sign of life left for %s: Valkey does not answer", part)


_signed_at = 0.0


@signals.heartbeat_sent.connect  # type: ignore[untyped-decorator]
def _worker_lives(**kwargs: Any) -> None:
    global _signed_at  # one worker per process; the heart beats every two seconds
    if time.monotonic() - _signed_at >= WORKER_SIGN_EVERY_SECONDS:
        _signed_at = time.monotonic()
        leave_sign("worker")


@signals.worker_ready.connect  # type: ignore[untyped-decorator]
def _sync_at_start(**kwargs: Any) -> None:
    """A schedule's first tick comes a minute after its start; a first run has no markets until then."""
    leave_sign("worker")
    sync_catalogue.delay(settings.ENVIRONMENT)
