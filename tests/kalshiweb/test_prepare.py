"""What is true before a desk serves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings

from kalshiweb import prepare
from kalshiweb.exchanges import Exchange
from markets import source, sync
from markets.models import CatalogueClaim, CatalogueRun, Market
from tests.markets.listing import Listing, event, listing_served, market, series

# Committed for real: the start closes its connection again.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def exchange(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listing]:
    monkeypatch.setattr(source, "FASTEST_PER_SECOND", 1_000.0)
    with listing_served() as served:
        found = Exchange("sandbox", served.url, "ws://127.0.0.1:1/ws")
        settings.EXCHANGES = {"sandbox": found, "demo": found}
        settings.ENVIRONMENT = "sandbox"
        served.add(series("S"), event("S-1", "S"), market("S-1-A", "S-1"))
        yield served


def test_the_local_exchanges_markets_are_listed_before_anybody_looks(exchange: Listing) -> None:
    prepare.first_catalogue()

    assert Market.objects.get().ticker == "S-1-A"
    assert CatalogueClaim.objects.get().claimed_until is None


def test_a_real_exchange_is_left_to_the_worker(exchange: Listing, settings: Settings) -> None:
    settings.ENVIRONMENT = "demo"

    prepare.first_catalogue()

    assert exchange.asked == []


def test_an_exchange_that_refuses_keeps_no_desk_from_starting(exchange: Listing) -> None:
    exchange.refusals = [400]

    prepare.first_catalogue()

    assert "400" in CatalogueRun.objects.get().error
    assert CatalogueClaim.objects.get().claimed_until is None


def test_a_sync_that_runs_already_is_left_alone(exchange: Listing) -> None:
    assert sync.claim("sandbox")

    prepare.first_catalogue()

    assert exchange.asked == []
    assert CatalogueClaim.objects.get().claimed_until is not None


def test_tables_that_are_there_are_made_once() -> None:
    prepare.migrate()
    prepare.migrate()
