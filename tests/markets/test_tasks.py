"""The tasks of the worker: one sync at a time, failures that end nothing, and signs of life."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import redis
from pytest_django.fixtures import Settings

from kalshiweb.exchanges import Exchange
from markets import source, sync, tasks
from markets.models import CatalogueClaim, CatalogueRun, Market
from tests.kalshiweb.valkeys import RunningValkey
from tests.markets.listing import Listing, event, listing_served, market, series

# Committed for real: a task closes its thread's old connections.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def exchange(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listing]:
    monkeypatch.setattr(source, "FASTEST_PER_SECOND", 1_000.0)
    monkeypatch.setattr(source, "FIRST_PAUSE_SECONDS", 0.0)
    with listing_served() as served:
        settings.EXCHANGES = {"sandbox": Exchange("sandbox", served.url, "ws://127.0.0.1:1/ws")}
        served.add(series("S"), event("S-1", "S"), market("S-1-A", "S-1"))
        yield served


def test_a_sync_brings_the_catalogue_and_gives_its_claim_back(exchange: Listing) -> None:
    tasks.sync_catalogue("sandbox")

    assert Market.objects.get().ticker == "S-1-A"
    assert CatalogueClaim.objects.get().claimed_until is None


def test_a_sync_that_somebody_else_does_already_asks_nobody(exchange: Listing) -> None:
    assert sync.claim("sandbox")

    tasks.sync_catalogue("sandbox")

    assert exchange.asked == []


def test_a_sync_that_fails_says_so_in_its_row_and_gives_its_claim_back(exchange: Listing) -> None:
    exchange.refusals = [403]

    tasks.sync_catalogue("sandbox")

    assert "403" in CatalogueRun.objects.get().error
    assert CatalogueClaim.objects.get().claimed_until is None


def test_a_second_sync_finds_what_the_clock_closed(exchange: Listing) -> None:
    tasks.sync_catalogue("sandbox")
    exchange.markets["S-1-A"]["status"] = "closed"
    Market.objects.update(close_at="2026-01-01T00:00:00Z")

    tasks.sync_catalogue("sandbox")

    assert Market.objects.get().status == "closed"


def test_a_sign_of_life_is_left_where_health_reads_it(shared_valkey: RunningValkey, settings: Settings) -> None:
    settings.REDIS_URL = shared_valkey.url

    tasks.beat_alive()

    with redis.Redis.from_url(shared_valkey.url) as client:
        assert isinstance(json.loads(client.get("kalshiweb:health:beat") or b"")["as_of"], int)


def test_a_sign_of_life_without_a_store_is_left_out(settings: Settings) -> None:
    settings.REDIS_URL = "unix:///nowhere.sock?db=0"

    tasks.beat_alive()
