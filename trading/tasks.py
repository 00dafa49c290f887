"""What the worker does for orders: compare, find out, clear away. It never sends one.

Every task is safe to run twice and beside itself; arguments are ids.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from markets.kalshi.errors import KalshiError
from markets.kalshi.rest import RestClient
from trading import checkpoints, clients, reconcile
from trading.models import Account, ApiKey, DeskEvent, Team

logger = logging.getLogger(__name__)

EVENTS_KEPT = timedelta(days=2)
SCAN_AGAIN_SECONDS = 5


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def sweep_orders() -> None:
    """Move on what a dead process left, and have every account of this exchange compared."""
    reconcile.recover(timezone.now())
    DeskEvent.objects.filter(at__lt=timezone.now() - EVENTS_KEPT).delete()
    for account_id in _accounts_with_keys():
        reconcile_account.delay(account_id)
        check_unknown.apply_async([account_id], countdown=SCAN_AGAIN_SECONDS, expires=60)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def reconcile_account(account_id: int) -> None:
    """Compare one account with the exchange, unless somebody does already."""
    if not reconcile.claim(account_id):
        return
    try:
        with _client(account_id) as client:
            account = Account.objects.select_related("team").get(pk=account_id)
            reconcile.compare(account, client)
            reconcile.resolve(account, client)
    except KalshiError as exc:
        # The account's row holds the reason for people; the next sweep asks again.
        reconcile.note_failure(account_id, exc)
        logger.warning("account %s not compared: %s", account_id, type(exc).__name__)
    finally:
        reconcile.release(account_id)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def check_unknown(account_id: int) -> None:
    """Scan once more for the orders of an account whose fate is open."""
    account = Account.objects.select_related("team").get(pk=account_id)
    if not reconcile.has_unknown(account):
        return
    try:
        with _client(account_id) as client:
            reconcile.resolve(account, client)
    except KalshiError as exc:
        logger.warning("unknown orders of account %s not checked: %s", account_id, type(exc).__name__)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def sign_record() -> None:
    """Write a signed checkpoint of every team's record beside the database; a record that does not hold gets none."""
    for team in Team.objects.order_by("pk"):
        try:
            checkpoints.make(team)
        except checkpoints.CheckpointRefused as exc:
            logger.error("%s", exc)


def _accounts_with_keys() -> list[int]:
    keys = ApiKey.objects.filter(environment=settings.ENVIRONMENT, state=ApiKey.State.ACTIVE)
    return sorted(set(keys.values_list("account_id", flat=True)))


def _client(account_id: int) -> RestClient:
    key = Account.objects.get(pk=account_id).reading_key()
    if key is None:
        raise clients.CannotUse("The account has no usable key.")
    return clients.rest_client(key, purpose="read")
