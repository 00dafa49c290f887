"""The exchange's catalogue becomes rows: read over HTTP, as the desk reads the exchange."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from markets import rows, sync
from markets.kalshi.errors import KalshiError
from markets.models import CatalogueClaim, CatalogueRun, Event, Market, Series
from markets.source import RestSource
from tests.markets.listing import Listing, event, listing_served, market, series

START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def exchange() -> Iterator[Listing]:
    with listing_served() as listing:
        listing.add(
            series("KXHIGHNY"),
            event("KXHIGHNY-26NOV25", "KXHIGHNY"),
            market("KXHIGHNY-26NOV25-T52", "KXHIGHNY-26NOV25"),
            market("KXHIGHNY-26NOV25-B50.5", "KXHIGHNY-26NOV25"),
        )
        yield listing


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


def no_pause(seconds: float) -> None:
    return


def run(exchange: Listing, environment: str = "sandbox") -> None:
    """Sync once, as the task does."""
    assert sync.claim(environment)
    try:
        with RestSource(exchange.url, pause=no_pause) as source:
            sync.Sync(environment, source, pieces=rows.Pieces(pause=no_pause)).run()
    finally:
        sync.release(environment)


def status(ticker: str) -> str:
    return Market.objects.get(ticker=ticker).status


def writes(queries: CaptureQueriesContext) -> list[str]:
    tables = ("markets_series", "markets_event", "markets_market")
    return [
        query["sql"]
        for query in queries.captured_queries
        if query["sql"].lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE"))
        and any(f'"{table}"' in query["sql"] for table in tables)
    ]


pytestmark = pytest.mark.django_db


def test_a_first_sync_brings_series_event_and_market(exchange: Listing, clock: Any) -> None:
    exchange.add(series("KXHIGHNY", fee_type="quadratic_with_maker_fees", fee_multiplier=0.5))
    exchange.add(event("KXHIGHNY-26NOV25", "KXHIGHNY", fee_type_override="flat", fee_multiplier_override=1.5))

    run(exchange)

    found = Series.objects.get()
    assert (found.environment, found.ticker, found.category) == ("sandbox", "KXHIGHNY", "Climate and Weather")
    assert (found.tags, found.fee_type) == (["Daily temperature"], "quadratic_with_maker_fees")
    assert found.fee_multiplier == Decimal("0.5")
    occurrence = Event.objects.get()
    assert (occurrence.series_ticker, occurrence.mutually_exclusive) == ("KXHIGHNY", True)
    assert (occurrence.fee_type_override, occurrence.fee_multiplier_override) == ("flat", Decimal("1.5"))
    assert occurrence.strike_at == datetime(2026, 11, 26, 4, 59, tzinfo=UTC)
    row = Market.objects.get(ticker="KXHIGHNY-26NOV25-T52")
    assert (row.event_ticker, row.series_ticker, row.status) == ("KXHIGHNY-26NOV25", "KXHIGHNY", "active")
    assert (row.name, row.rules_primary) == ("53° or above", "If it is above 52°F, the market resolves to Yes.")
    assert row.close_at == datetime(2099, 11, 26, 4, 59, tzinfo=UTC)
    assert row.price_ranges == [[0, 10_000, 100]]
    assert (row.is_replay, row.can_close_early) == (False, True)


def test_quotes_are_integers_of_the_smallest_step(exchange: Listing, clock: Any) -> None:
    exchange.add(market("DEEP", "KXHIGHNY-26NOV25", yes_bid_dollars="0.0310", yes_bid_size_fp="120.25"))

    run(exchange)

    row = Market.objects.get(ticker="DEEP")
    assert (row.yes_bid, row.yes_bid_size) == (310, 12_025)
    assert (row.yes_ask, row.yes_ask_size) == (5_000, 7_550)
    assert (row.last_price, row.previous_price) == (5_000, 4_500)
    assert (row.volume, row.volume_24h, row.open_interest) == (3_389_600, 512_055, 2_042_200)
    assert row.quoted_at == START


def test_nobody_bidding_and_nobody_asking_is_none_not_a_price(exchange: Listing, clock: Any) -> None:
    nobody = {
        "yes_bid_dollars": "0.0000",
        "yes_bid_size_fp": "0.00",
        "yes_ask_dollars": "1.0000",
        "yes_ask_size_fp": "0.00",
        "last_price_dollars": "0.0000",
        "previous_price_dollars": "0.0000",
    }
    exchange.add(market("EMPTY", "KXHIGHNY-26NOV25", **nobody))

    run(exchange)

    row = Market.objects.get(ticker="EMPTY")
    assert (row.yes_bid, row.yes_bid_size, row.yes_ask, row.yes_ask_size) == (None, None, None, None)
    assert (row.last_price, row.previous_price) == (None, None)


def test_a_second_sync_of_an_unchanged_catalogue_writes_no_row(exchange: Listing, clock: Any) -> None:
    run(exchange)
    clock.shift(MINUTE)

    with CaptureQueriesContext(connection) as queries:
        run(exchange)

    assert writes(queries) == []
    assert CatalogueRun.objects.filter(started_at=START + MINUTE, rows_written__gt=0).count() == 0


def test_only_the_changed_row_is_written(exchange: Listing, clock: Any) -> None:
    run(exchange)
    clock.shift(MINUTE)
    exchange.markets["KXHIGHNY-26NOV25-T52"]["title"] = "Above 52?"

    run(exchange)

    changed = dict(Market.objects.values_list("ticker", "synced_at"))
    assert changed == {"KXHIGHNY-26NOV25-T52": START + MINUTE, "KXHIGHNY-26NOV25-B50.5": START}
    assert Market.objects.get(ticker="KXHIGHNY-26NOV25-T52").title == "Above 52?"


def test_a_moved_quote_is_written_without_the_description(exchange: Listing, clock: Any) -> None:
    run(exchange)
    clock.shift(MINUTE)
    exchange.markets["KXHIGHNY-26NOV25-T52"]["yes_bid_dollars"] = "0.4800"

    run(exchange)

    row = Market.objects.get(ticker="KXHIGHNY-26NOV25-T52")
    assert (row.yes_bid, row.quoted_at, row.synced_at) == (4_800, START + MINUTE, START)
    assert CatalogueRun.objects.filter(kind="markets").latest().rows_quoted == 1


def test_every_page_is_read_and_the_progress_is_told(exchange: Listing, clock: Any) -> None:
    exchange.page_rows = 2
    exchange.add(*(market(f"M{n}", "KXHIGHNY-26NOV25") for n in range(5)))

    run(exchange)

    assert Market.objects.count() == 7
    told = CatalogueRun.objects.get(kind="markets")
    assert (told.pages, told.rows_seen, told.rows_written, told.error) == (4, 7, 7, "")
    assert told.finished_at is not None


def test_combos_are_never_asked_for(exchange: Listing, clock: Any) -> None:
    exchange.add(market("KXMVESPORTS-S1-A", "KXMVESPORTS-S1"))

    run(exchange)
    clock.shift(MINUTE)
    run(exchange)

    assert all(query["mve_filter"] == "exclude" for query in exchange.asked_for("markets") if "tickers" not in query)
    assert not Market.objects.filter(ticker__startswith="KXMVE").exists()


def test_pages_are_as_large_as_the_exchange_allows(exchange: Listing, clock: Any) -> None:
    run(exchange)

    assert {query["limit"] for query in exchange.asked_for("events")} == {"200"}
    assert {query["limit"] for query in exchange.asked_for("markets")} == {"1000"}


def test_a_cursor_that_leads_to_page_one_ends_the_pass(exchange: Listing, clock: Any) -> None:
    exchange.page_rows = 1
    exchange.loops = True

    run(exchange)

    assert len(exchange.asked_for("events")) <= 3
    assert Market.objects.count() >= 1


def test_a_market_that_the_list_no_longer_holds_is_asked_for_by_name(exchange: Listing, clock: Any) -> None:
    run(exchange)
    clock.shift(MINUTE)
    exchange.markets["KXHIGHNY-26NOV25-T52"]["status"] = "finalized"
    exchange.markets["KXHIGHNY-26NOV25-T52"]["result"] = "yes"

    run(exchange)

    assert status("KXHIGHNY-26NOV25-T52") == "finalized"
    assert Market.objects.get(ticker="KXHIGHNY-26NOV25-T52").result == "yes"
    assert status("KXHIGHNY-26NOV25-B50.5") == "active"


def test_a_market_that_the_exchange_denies_is_unlisted_and_may_come_back(exchange: Listing, clock: Any) -> None:
    run(exchange)
    gone = exchange.markets.pop("KXHIGHNY-26NOV25-T52")
    clock.shift(MINUTE)

    run(exchange)
    unlisted = status("KXHIGHNY-26NOV25-T52")
    exchange.add(gone)
    clock.shift(MINUTE)
    run(exchange)

    assert unlisted == "unlisted"
    assert status("KXHIGHNY-26NOV25-T52") == "active"


def test_a_market_whose_clock_ran_out_is_asked_for_without_any_change_told(exchange: Listing, clock: Any) -> None:
    exchange.add(market("SHORT", "KXHIGHNY-26NOV25", close_time="2026-11-25T12:00:30Z"))
    run(exchange)
    exchange.markets["SHORT"]["status"] = "closed"
    exchange.asked.clear()
    clock.shift(MINUTE)

    assert sync.claim("sandbox")
    with RestSource(exchange.url, pause=no_pause) as source:
        sync.Sync("sandbox", source).sweep()

    assert exchange.asked == [("markets", {"limit": "1000", "tickers": "SHORT"})]
    assert status("SHORT") == "closed"


def test_a_large_catalogue_is_followed_by_its_changes(
    exchange: Listing, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "SMALL_PAGES", 0)
    run(exchange)
    exchange.asked.clear()
    clock.shift(MINUTE)
    exchange.add(market("NEW", "KXHIGHNY-26NOV25", updated_time="2026-11-25T12:00:40Z"))

    run(exchange)

    since = str(int((START - 2 * MINUTE).timestamp()))
    assert [query.get("min_updated_ts") for query in exchange.asked_for("markets")] == [since]
    assert [query.get("min_updated_ts") for query in exchange.asked_for("events")] == [since]
    assert status("NEW") == "active"


def test_a_large_catalogue_is_read_whole_every_quarter_of_an_hour(
    exchange: Listing, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "SMALL_PAGES", 0)
    run(exchange)
    exchange.asked.clear()
    clock.shift(15 * MINUTE)

    run(exchange)

    assert "open" in [query.get("status") for query in exchange.asked_for("markets")]


def test_only_one_of_two_syncs_goes_to_the_exchange() -> None:
    assert sync.claim("sandbox")

    assert not sync.claim("sandbox")
    assert sync.claim("demo")


def test_the_claim_of_a_killed_worker_lapses(clock: Any) -> None:
    assert sync.claim("sandbox")
    clock.shift(sync.LEASE)

    assert sync.claim("sandbox")


def test_a_pass_that_fails_keeps_what_it_wrote_and_tells_why(exchange: Listing, clock: Any) -> None:
    exchange.refusals = [200, 200, 400]

    with pytest.raises(KalshiError):
        run(exchange)

    assert Series.objects.count() == 1
    failed = CatalogueRun.objects.get(kind="markets")
    assert failed.finished_at == START
    assert failed.error != ""
    assert CatalogueClaim.objects.get().changes_from is None
    run(exchange)
    assert Market.objects.count() == 2


def test_a_refusal_for_speed_halves_the_pace_and_the_pass_goes_on(exchange: Listing, clock: Any) -> None:
    exchange.refusals = [200, 429]
    pauses: list[float] = []

    with RestSource(exchange.url, pause=pauses.append) as source:
        CatalogueClaim.objects.create(environment="sandbox")
        sync.Sync("sandbox", source, pieces=rows.Pieces(pause=no_pause)).run()

        assert source.pace.per_second == 5
    assert Market.objects.count() == 2


def test_a_market_of_a_series_called_replay_is_a_replay_whatever_its_ticker(exchange: Listing, clock: Any) -> None:
    exchange.add(series("KXGOLD", category="Replay"), event("KXGOLD-1", "KXGOLD", category="Metals"))
    exchange.add(market("KXGOLD-1-T1", "KXGOLD-1"))
    exchange.add(series("REPLAY", category="replays"), event("REPLAY-1", "REPLAY", category="Replay"))
    exchange.add(market("REPLAY-1-T1", "REPLAY-1"))

    run(exchange)

    replays = dict(Market.objects.values_list("ticker", "is_replay"))
    assert (replays["KXGOLD-1-T1"], replays["REPLAY-1-T1"], replays["KXHIGHNY-26NOV25-T52"]) == (True, False, False)


def test_a_text_with_nul_is_kept_without_it_as_no_database_of_ours_would_keep_it(exchange: Listing, clock: Any) -> None:
    exchange.add(market("KXHIGHNY-26NOV25-T52", "KXHIGHNY-26NOV25", title="Abo\0ve 52?", rules_primary="\0"))
    exchange.add(series("KXHIGHNY", category="Wea\0ther", tags=["Dai\0ly"]))

    run(exchange)

    found = Market.objects.get(ticker="KXHIGHNY-26NOV25-T52")
    assert (found.title, found.rules_primary) == ("Above 52?", "")
    assert list(Series.objects.filter(ticker="KXHIGHNY").values_list("category", "tags")) == [("Weather", ["Daily"])]


def test_a_market_is_found_by_the_words_of_its_event(exchange: Listing, clock: Any) -> None:
    exchange.add(event("KXHIGHNY-26NOV25", "KXHIGHNY", title="Highest temperature in New York?"))

    run(exchange)

    found = Market.objects.search("york 53").values_list("ticker", flat=True)
    assert sorted(found) == ["KXHIGHNY-26NOV25-B50.5", "KXHIGHNY-26NOV25-T52"]


def test_a_market_listed_before_its_event_gets_its_series_later(exchange: Listing, clock: Any) -> None:
    late = exchange.events.pop("KXHIGHNY-26NOV25")
    run(exchange)
    before = Market.objects.get(ticker="KXHIGHNY-26NOV25-T52").series_ticker
    exchange.add(late | {"last_updated_ts": "2026-11-25T12:00:30Z"})
    clock.shift(MINUTE)

    run(exchange)

    assert before == ""
    assert Market.objects.get(ticker="KXHIGHNY-26NOV25-T52").series_ticker == "KXHIGHNY"


def test_a_grid_or_a_price_that_cannot_be_represented_is_left_out_and_the_pass_goes_on(
    exchange: Listing, clock: Any
) -> None:
    odd = [{"start": "0.0000", "end": "1.0000", "step": "0.00001"}]
    exchange.add(market("ODD", "KXHIGHNY-26NOV25", price_ranges=odd, yes_bid_dollars="0.48001"))

    run(exchange)

    row = Market.objects.get(ticker="ODD")
    assert (row.price_ranges, row.yes_bid, row.yes_ask) == ([], None, 5_000)
    assert Market.objects.count() == 3
