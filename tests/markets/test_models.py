"""What the catalogue's rows answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone

from markets.models import Market, Series

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def save(ticker: str, environment: str = "sandbox", **columns: Any) -> Market:
    values = {"event_ticker": "KXHIGHNY-26NOV24", "status": "active", "synced_at": NOW} | columns
    return Market.objects.create(environment=environment, ticker=ticker, **values)


def tickers(found: Any) -> list[str]:
    return [row.ticker for row in found]


@pytest.mark.django_db
def test_demo_may_mirror_a_ticker_of_production() -> None:
    save("KXHIGHNY-26NOV24-T52", "production")
    save("KXHIGHNY-26NOV24-T52", "demo")

    assert tickers(Market.objects.in_environment("demo")) == ["KXHIGHNY-26NOV24-T52"]


@pytest.mark.django_db
def test_a_ticker_stands_once_in_an_environment() -> None:
    save("KXHIGHNY-26NOV24-T52")

    with pytest.raises(IntegrityError), transaction.atomic():
        save("KXHIGHNY-26NOV24-T52")


@pytest.mark.django_db
def test_open_leaves_out_what_the_clock_has_closed() -> None:
    hour = timedelta(hours=1)
    save("OPEN", close_at=timezone.now() + hour)
    save("ENDLESS", close_at=None)
    save("OVER", close_at=timezone.now() - hour)
    save("PAUSED", close_at=timezone.now() + hour, status="inactive")

    assert sorted(tickers(Market.objects.all().open())) == ["ENDLESS", "OPEN"]


@pytest.mark.django_db
def test_closing_soon_begins_with_the_next_to_close() -> None:
    hour = timedelta(hours=1)
    save("LATE", close_at=timezone.now() + 5 * hour)
    save("SOON", close_at=timezone.now() + hour)
    save("OVER", close_at=timezone.now() - hour)

    assert tickers(Market.objects.all().closing_soon()) == ["SOON", "LATE"]


@pytest.mark.django_db
def test_activity_is_the_volume_of_a_day() -> None:
    save("QUIET", volume_24h=0)
    save("BUSY", volume_24h=512_055)

    assert tickers(Market.objects.all().by_activity()) == ["BUSY", "QUIET"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kxhighny", ["KXHIGHNY-26NOV24-T52"]),
        ("KXHIGHNY-26NOV24-T52", ["KXHIGHNY-26NOV24-T52"]),
        ("york temp", ["KXHIGHNY-26NOV24-T52"]),
        ("temp york", ["KXHIGHNY-26NOV24-T52"]),
        ("tempe", ["KXHIGHNY-26NOV24-T52"]),
        ("53°", ["KXHIGHNY-26NOV24-T52"]),
        ("50.5", ["KXHIGHNY-26NOV24-B50.5"]),
        ("york snow", []),
        ("' OR 1=1 -- \"", []),
        ("", ["KXHIGHNY-26NOV24-B50.5", "KXHIGHNY-26NOV24-T52"]),
        ("*", ["KXHIGHNY-26NOV24-B50.5", "KXHIGHNY-26NOV24-T52"]),
    ],
)
def test_search_finds_markets_by_the_beginnings_of_their_words(text: str, expected: list[str]) -> None:
    save("KXHIGHNY-26NOV24-T52", search_text="kxhighny 26nov24 t52 highest temperature in new york 53 or above")
    save("KXHIGHNY-26NOV24-B50.5", search_text="kxhighny2 26nov25 b50.5 rain in boston 50.5")
    if text == "kxhighny":
        Market.objects.filter(ticker="KXHIGHNY-26NOV24-B50.5").update(search_text="rain")

    assert tickers(Market.objects.search(text).order_by("ticker")) == expected


@pytest.mark.django_db
def test_search_follows_a_changed_and_a_deleted_row() -> None:
    row = save("A", search_text="snow in boston")
    Market.objects.filter(pk=row.pk).update(search_text="rain in boston")

    assert tickers(Market.objects.search("rain")) == ["A"]
    assert tickers(Market.objects.search("snow")) == []
    row.delete()
    assert tickers(Market.objects.search("rain")) == []


def test_a_market_whose_close_has_passed_is_called_closed_before_the_exchange_says_so() -> None:
    market = Market(status="active", close_at=timezone.now() - timedelta(seconds=1))

    assert not market.is_open
    assert market.status_label == "Closed"


def test_a_status_we_do_not_know_is_shown_as_it_is() -> None:
    assert Market(status="halted").status_label == "halted"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"yes_sub_title": "53° or above", "title": "Will it?"}, "53° or above"),
        ({"subtitle": "53°", "title": "Will it?"}, "53°"),
        ({"title": "Will it?"}, "Will it?"),
        ({}, "T"),
    ],
)
def test_the_name_is_the_shortest_that_says_something(columns: dict[str, str], expected: str) -> None:
    assert Market(ticker="T", **columns).name == expected


@pytest.mark.parametrize("model", [Market, Series])
def test_the_admin_shows_rows_and_changes_none(model: type) -> None:
    page = admin.site._registry[model]
    request = HttpRequest()

    assert not page.has_add_permission(request)
    assert not page.has_change_permission(request)
    assert not page.has_delete_permission(request)
