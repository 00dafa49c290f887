"""What the worker does for orders and keys: compare, find out, try, clear away. It never sends an order.

Every task is safe to run twice and beside itself; arguments are ids.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.core.cache import cache
from django.utils import timezone

from markets.kalshi.errors import KalshiError
from markets.kalshi.rest import RestClient
from trading import checkpoints, clients, keys, reconcile
from trading.models import Account, ApiKey, DeskEvent, Team

logger = logging.getLogger(__name__)

EVENTS_KEPT = timedelta(days=2)
SCAN_AGAIN_SECONDS = 5
# Work that waited this long for a worker has been asked for again, or is too old to be of use.
SWEEP_EXPIRES_SECONDS = 10
SCAN_EXPIRES_SECONDS = 60
KEYS_EXPIRE_SECONDS = 600
TRIAL_CLAIM_SECONDS = 300  # longer than the trials of an account's keys take, should nobody give the claim back


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def sweep_orders() -> None:
    """Move on what a dead process left, and have every account of this exchange compared."""
    reconcile.recover(timezone.now())
    DeskEvent.objects.filter(at__lt=timezone.now() - EVENTS_KEPT).delete()
    for account_id in _accounts_with_keys(ApiKey.State.ACTIVE):
        reconcile_account.apply_async([account_id], expires=SWEEP_EXPIRES_SECONDS)
        check_unknown.apply_async([account_id], countdown=SCAN_AGAIN_SECONDS, expires=SCAN_EXPIRES_SECONDS)


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
def try_keys() -> None:
    """Have every account's keys tried: one that was revoked at the exchange is not to look like one in use."""
    for account_id in _accounts_with_keys(ApiKey.State.ACTIVE, ApiKey.State.UNCHECKED):
        try_account_keys.apply_async([account_id], expires=KEYS_EXPIRE_SECONDS)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def try_account_keys(account_id: int) -> None:
    """Try the keys of one account that are in use or wait for it, unless somebody does already."""
    claim = f"keys-tried:{account_id}"
    if not cache.add(claim, True, TRIAL_CLAIM_SECONDS):
        return
    try:
        tried = ApiKey.objects.select_related("account__team").filter(account=account_id)
        for key in tried.filter(state__in=[ApiKey.State.ACTIVE, ApiKey.State.UNCHECKED]):
            keys.check(key)
    finally:
        cache.delete(claim)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def sign_record() -> None:
    """Write a signed checkpoint of every team's record beside the database; a record that does not hold gets none."""
    for team in Team.objects.order_by("pk"):
        try:
            checkpoints.make(team)
        except checkpoints.CheckpointRefused as exc:
            logger.error("%s", exc)


def _accounts_with_keys(*states: ApiKey.State) -> list[int]:
    found = ApiKey.objects.filter(environment=settings.ENVIRONMENT, state__in=states)
    return sorted(set(found.values_list("account_id", flat=True)))


def _client(account_id: int) -> RestClient:
    key = Account.objects.get(pk=account_id).reading_key()
    if key is None:
        raise clients.CannotUse("The account has no usable key.")
    return clients.rest_client(key, purpose="read")
