"""What pages fetch of the exchange's side: for everybody who is logged in, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
from django.utils import timezone

from markets import glance
from markets.events import encode
from markets.hub import get_hub, stop_hub
from markets.models import CatalogueClaim, CatalogueRun, Market
from markets.views import progress

PATHS = [
    "/x/sandbox/search/",
    "/x/sandbox/catalogue/progress/",
    "/x/sandbox/markets/A/book.json",
    "/x/sandbox/markets/A/trades.json",
]
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def alice() -> User:
    user, _ = User.objects.get_or_create(username="alice")
    return user


@pytest.fixture
def client() -> Client:
    """Alice's browser."""
    client = Client()
    client.force_login(alice(), backend=settings.AUTHENTICATION_BACKENDS[0])
    return client


def save(ticker: str, **columns: Any) -> None:
    values: dict[str, Any] = {
        "environment": "sandbox",
        "event_ticker": "E",
        "status": "active",
        "close_at": timezone.now() + timedelta(hours=5),
        "search_text": ticker.lower(),
        "synced_at": NOW,
    }
    Market.objects.create(ticker=ticker, **(values | columns))


@pytest.mark.django_db
@pytest.mark.parametrize("path", PATHS)
def test_nobody_sees_it_without_a_log_in(path: str) -> None:
    answer = Client().get(path)

    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/accounts/login/")


@pytest.mark.django_db
@pytest.mark.parametrize("path", PATHS)
def test_an_environment_that_does_not_exist_is_not_found(client: Client, path: str) -> None:
    assert client.get(path.replace("sandbox", "moon")).status_code == 404


@pytest.mark.django_db
@pytest.mark.parametrize("path", PATHS)
def test_it_is_only_to_be_read(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405


@pytest.mark.django_db
def test_search_shows_open_markets_busiest_first_as_a_fragment(client: Client) -> None:
    save("RAIN-1", volume_24h=5, yes_bid=4850)
    save("RAIN-2", volume_24h=900_000, title="Will it rain?")
    save("RAIN-OVER", status="finalized")
    save("SNOW-1")
    save("RAIN-DEMO", environment="demo")

    answer = client.get("/x/sandbox/search/", {"q": "rain"})
    text = answer.content.decode()

    assert answer.status_code == 200
    assert text.index("RAIN-2") < text.index("RAIN-1")
    assert "RAIN-OVER" not in text
    assert "SNOW-1" not in text
    assert "RAIN-DEMO" not in text
    assert "48.5¢" in text
    assert "<html" not in text


@pytest.mark.django_db
def test_search_escapes_what_was_asked_and_says_that_nothing_was_found(client: Client) -> None:
    text = client.get("/x/sandbox/search/", {"q": "<b>zzz"}).content.decode()

    assert "&lt;b&gt;zzz" in text
    assert "No open market" in text


@pytest.mark.django_db
def test_search_shows_one_page_and_the_way_to_the_next(client: Client) -> None:
    for number in range(60):
        save(f"M{number:02}", volume_24h=60 - number)

    first = client.get("/x/sandbox/search/").content.decode()
    second = client.get("/x/sandbox/search/", {"page": "2"}).content.decode()

    assert (first.count('data-testid="search-row"'), 'data-page="2"' in first) == (50, True)
    assert (second.count('data-testid="search-row"'), 'data-page="3"' in second) == (10, False)


@pytest.mark.django_db
def test_progress_counts_what_is_there_and_shows_what_runs(client: Client) -> None:
    save("A")
    save("B", status="finalized")
    CatalogueRun.objects.create(
        environment="sandbox", kind="markets", started_at=NOW, pages=3, rows_seen=2500, rows_written=2400
    )

    text = client.get("/x/sandbox/catalogue/progress/").content.decode()

    told = progress("sandbox")
    assert (told["markets"], told["open_markets"]) == (2, 1)
    assert (told["is_first"], told["is_running"], told["complete_as_of"]) == (True, True, None)
    assert 'data-running="true"' in text
    assert "2,500" in text


@pytest.mark.django_db
def test_progress_of_a_complete_catalogue_tells_its_age_and_the_reason_of_a_failure(client: Client) -> None:
    complete_as_of = timezone.now() - timedelta(seconds=41)
    CatalogueClaim.objects.create(environment="sandbox", changes_from=complete_as_of)
    CatalogueRun.objects.create(
        environment="sandbox", kind="sweep", started_at=NOW, finished_at=NOW, error="Unavailable: HTTP 503"
    )

    text = client.get("/x/sandbox/catalogue/progress/").content.decode()

    told = progress("sandbox")
    assert (told["is_first"], told["is_running"], told["complete_as_of"]) == (False, False, complete_as_of)
    assert 'data-running="false"' in text
    assert "Unavailable: HTTP 503" in text


@pytest.fixture
async def page() -> AsyncIterator[AsyncClient]:
    """Alice's browser on the loop of the hub."""
    client = AsyncClient()
    user, _ = await User.objects.aget_or_create(username="alice")
    await client.aforce_login(user, backend=settings.AUTHENTICATION_BACKENDS[0])
    yield client
    await stop_hub()


async def answer_wish(*frames: tuple[str, str, int, str]) -> None:
    """Play the relay: when somebody watches A, tell these frames."""
    async with asyncio.timeout(5):
        while ("sandbox", "A") not in get_hub().audience.books:
            await asyncio.sleep(0.002)
    message = {"env": "sandbox", "e": "e1", "fence": 1, "frames": frames, "beat": None, "numbers": None}
    get_hub().receive(message)


BOOK = {"t": "book", "env": "sandbox", "m": "A", "e": "e1", "n": 4, "k": 0, "bids": [[4800, 100]], "asks": []}


@pytest.mark.django_db(transaction=True)
async def test_a_book_is_the_frame_that_browsers_get(page: AsyncClient) -> None:
    playing = asyncio.create_task(answer_wish(("snap", "A", 4, encode(BOOK))))
    answer = await page.get("/x/sandbox/markets/A/book.json")
    await playing

    assert answer.status_code == 200
    assert answer.json() == BOOK
    assert answer.headers["Cache-Control"].startswith("max-age=0")


@pytest.mark.django_db(transaction=True)
async def test_trades_of_a_market_without_any_are_an_empty_list(page: AsyncClient) -> None:
    playing = asyncio.create_task(answer_wish(("snap", "A", 4, encode(BOOK))))
    answer = await page.get("/x/sandbox/markets/A/trades.json")
    await playing

    assert answer.json() == {"m": "A", "trades": []}


@pytest.mark.django_db(transaction=True)
async def test_a_market_that_does_not_exist_is_told_in_a_sentence(page: AsyncClient) -> None:
    refusal = encode({"t": "error", "code": "UNKNOWN_MARKET", "text": "The exchange has no market of this ticker."})
    playing = asyncio.create_task(answer_wish(("error", "A", 0, refusal)))
    answer = await page.get("/x/sandbox/markets/A/book.json")
    await playing

    assert answer.status_code == 503
    assert answer.json()["error"]["text"] == "The exchange has no market of this ticker."


@pytest.mark.django_db(transaction=True)
async def test_without_a_feed_the_answer_is_that_it_did_not_come(
    page: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glance, "PATIENCE_SECONDS", 0.02)
    answer = await page.get("/x/sandbox/markets/A/trades.json")

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "NO_BOOK"
