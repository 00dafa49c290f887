"""The schedule tries what is stored: a key that was revoked at the exchange does not go on looking like one in use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache

from kalshiweb.celery import app
from tests.trading.keyexchange import KeyExchange
from tests.trading.keys.conftest import add
from trading import keys, tasks
from trading.models import ApiKey
from trading.setup import Desk

pytestmark = pytest.mark.django_db

STATES = ApiKey.State


def test_a_key_that_was_revoked_at_the_exchange_is_refused_by_the_next_round(
    desk: Desk, key: ApiKey, exchange: KeyExchange
) -> None:
    standing = add(desk, exchange.make_key(), name="standing")
    del exchange.keys[key.key_id]

    tasks.try_keys()

    assert ApiKey.objects.get(pk=key.pk).state == STATES.REFUSED
    assert ApiKey.objects.get(pk=standing.pk).state == STATES.ACTIVE


def test_a_round_without_a_verdict_changes_nothing(key: ApiKey, exchange: KeyExchange) -> None:
    exchange.answers["GET /account/limits"] = (503, None)

    tasks.try_keys()

    assert ApiKey.objects.get(pk=key.pk).probed_at == key.probed_at
    assert ApiKey.objects.get(pk=key.pk).state == STATES.ACTIVE


def test_a_key_that_waits_for_its_trial_comes_into_use(key: ApiKey) -> None:
    ApiKey.objects.update(state=STATES.UNCHECKED)

    tasks.try_keys()

    assert ApiKey.objects.get().state == STATES.ACTIVE


def test_a_key_that_was_put_aside_is_not_tried(desk: Desk, key: ApiKey, exchange: KeyExchange) -> None:
    keys.pause(desk.owner, key=key)
    exchange.heard.clear()

    tasks.try_keys()

    assert exchange.heard == []


def test_keys_of_another_exchange_than_the_installations_are_not_tried(key: ApiKey, exchange: KeyExchange) -> None:
    ApiKey.objects.update(environment="demo")
    exchange.heard.clear()

    tasks.try_keys()

    assert exchange.heard == []


def test_an_accounts_keys_are_tried_by_one_at_a_time(desk: Desk, key: ApiKey, exchange: KeyExchange) -> None:
    exchange.heard.clear()
    claim = f"keys-tried:{desk.account.pk}"
    cache.add(claim, True, 60)

    tasks.try_account_keys(desk.account.pk)
    assert exchange.heard == []

    cache.delete(claim)
    tasks.try_account_keys(desk.account.pk)
    assert "GET /account/limits" in exchange.heard
    assert cache.get(claim) is None


# --- nothing piles up while no worker is there -----------------------------------------------------------------------


def test_scheduled_work_expires_with_its_period() -> None:
    periods = {
        "sync-catalogue": 60.0,
        "sweep-orders": 10.0,
        "try-keys": 600.0,
        "sign-record": 3600.0,
        "beat-alive": 5.0,
    }

    schedule: dict[str, Any] = settings.CELERY_BEAT_SCHEDULE
    assert {name: entry["schedule"] for name, entry in schedule.items()} == periods
    assert {name: entry["options"]["expires"] for name, entry in schedule.items()} == periods


@pytest.fixture
def sent_to_a_broker() -> Iterator[None]:
    """Have tasks sent to the broker in memory, not done at once."""
    app.conf.update(task_always_eager=False)
    yield
    app.conf.update(task_always_eager=True)


@pytest.mark.parametrize("sweep", [tasks.sweep_orders, tasks.try_keys], ids=["orders", "keys"])
def test_what_a_sweep_sends_expires_too(key: ApiKey, sent_to_a_broker: None, sweep: Any) -> None:
    with app.connection_for_write() as broker:
        queue = broker.SimpleQueue(app.conf.task_default_queue)
        queue.clear()

        sweep()

        sent = [queue.get_nowait() for _ in range(queue.qsize())]
        queue.clear()
    assert sent
    assert all(message.headers["expires"] is not None for message in sent)
    assert [json.loads(message.body)[0] for message in sent] == [[key.account_id]] * len(sent)
