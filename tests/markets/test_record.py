"""What the feed sends becomes a tape that the local exchange replays: the same books, nobody's marks, one scale."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from kalshiweb import recording
from kalshiweb.exchanges import Exchange
from kalshiweb.management.commands import record
from kalshiweb.recording import Recording, taped
from markets.events import relay_group
from markets.kalshi.feed import FeedClient
from markets.kalshi.messages import CreateOrder
from markets.kalshi.signing import Signer, load_private_key
from markets.sandbox.tape import scan
from tests import judges
from tests.trading.venue import Venue
from trading import clients
from trading.models import ApiKey

OWN_TAPE = Path(__file__).parent / "tapes" / "own_three_markets.jsonl.gz"

DELTA = {
    "type": "orderbook_delta",
    "sid": 1,
    "seq": 3,
    "msg": {
        "market_ticker": "A",
        "price_dollars": "0.5400",
        "delta_fp": "-54.00",
        "side": "no",
        "clock": 7,
        "client_order_id": "8c35ecb3-328f-4f52-8c7c-0f4b9862f8d1",
        "subaccount": 0,
    },
}


def test_marks_are_left_out_and_no_levels_are_in_no_prices() -> None:
    assert taped(DELTA) == {
        "type": "orderbook_delta",
        "sid": 1,
        "seq": 3,
        "msg": {"market_ticker": "A", "price_dollars": "0.4600", "delta_fp": "-54.00", "side": "no", "clock": 7},
    }


def test_a_whole_book_is_turned_on_its_no_side_alone() -> None:
    message = {
        "market_ticker": "A",
        "yes_dollars_fp": [["0.4800", "10.00"]],
        "no_dollars_fp": [["0.5010", "75.50"], ["0.5400", "40.00"]],
    }

    found = taped({"type": "orderbook_snapshot", "sid": 1, "seq": 1, "msg": message})

    assert found is not None
    assert found["msg"]["yes_dollars_fp"] == [["0.4800", "10.00"]]
    assert found["msg"]["no_dollars_fp"] == [["0.4600", "40.00"], ["0.4990", "75.50"]]


@pytest.mark.parametrize("kind", ["user_order", "fill", "market_position", "order_group_updates"])
def test_what_is_the_accounts_own_is_never_written(kind: str) -> None:
    assert taped({"type": kind, "sid": 1, "msg": {"order_id": "x"}}) is None


@pytest.mark.parametrize("name", ["one.jsonl", "one.jsonl.gz"])
def test_a_tape_is_lines_of_clock_and_frame_compressed_by_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with Recording(path, clock=lambda: 1_795_356_000_000) as tape:
        tape.take(json.dumps(DELTA).encode())
        tape.take(b'{"type": "ok", "id": 3, "sid": 1, "seq": 4}')
        tape.take(b"\xff not a frame")

    assert [(line, at, frame["type"]) for line, at, frame in judges.read_tape(path)] == [
        (1, 1_795_356_000_000, "orderbook_delta"),
        (2, 1_795_356_000_000, "ok"),
    ]
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")
    assert (tape.tickers, tape.counts["unreadable"]) == ({"A"}, 1)


def test_a_file_that_exists_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text("dear\n")

    with pytest.raises(FileExistsError):
        Recording(tmp_path / "one.jsonl")
    assert (tmp_path / "one.jsonl").read_text() == "dear\n"


# --- the command -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def venue() -> Iterator[Venue]:
    """The local exchange."""
    venue = Venue()
    yield venue
    venue.stop()


@pytest.fixture
def lent(venue: Venue, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of the local exchange is lent to the feed, and opens."""
    key_id, pem = venue.member()
    signer = Signer(key_id, load_private_key(pem))
    settings.EXCHANGES = {"sandbox": Exchange("sandbox", venue.running.rest_url, venue.running.ws_url)}

    def feed_client(key: Any, *, on_event: Callable[[Any], None], channels: Any) -> FeedClient:
        url = settings.EXCHANGES["sandbox"].ws_url
        return FeedClient(url, signer=signer, on_event=on_event, channels=channels, hosts={"127.0.0.1"})

    class Keys:
        @staticmethod
        def filter(**wanted: Any) -> Any:
            assert wanted == {"environment": "sandbox", "is_feed": True}
            return Keys

        @staticmethod
        def first() -> str:
            return "a key"

    monkeypatch.setattr(clients, "feed_client", feed_client)
    monkeypatch.setattr(ApiKey, "objects", Keys)


def test_the_command_records_the_book_as_the_exchange_has_it(venue: Venue, lent: None, tmp_path: Path) -> None:
    ticker, key = venue.market(), venue.member()
    client = venue.client(key)
    client.create_order(CreateOrder(ticker=ticker, side="bid", price=Decimal("0.3000"), count=Decimal("7.00")))
    client.create_order(CreateOrder(ticker=ticker, side="ask", price=Decimal("0.6200"), count=Decimal("2.50")))
    path = tmp_path / "tape.jsonl.gz"

    call_command("record", ticker, "--out", str(path), "--seconds", "0.8", "--environment", "sandbox")

    book = judges.TrueBook()
    for _, _, frame in judges.read_tape(path):
        if frame["type"] == "orderbook_snapshot":
            book.replace(frame["msg"])
    assert book.in_units() == ({3000: 700}, {6200: 250})
    assert list(scan(path).markets) == [ticker]


def test_without_a_lent_key_the_way_to_one_is_told(db: None, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no key is lent"):
        call_command("record", "A", "--out", str(tmp_path / "x.jsonl"), "--environment", "sandbox")


async def test_without_tickers_it_follows_what_browsers_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = InMemoryChannelLayer()
    monkeypatch.setattr(record, "get_channel_layer", lambda: layer)
    watched = asyncio.Event()

    class Feed:
        tickers: list[str]

        def watch(self, tickers: list[str]) -> None:
            self.tickers = tickers
            watched.set()

    feed: Any = Feed()
    following = asyncio.create_task(record.follow(feed, "sandbox"))
    async with asyncio.timeout(5):
        while not layer.groups:
            await asyncio.sleep(0)
        wish = {"type": "relay.wish", "hub": "h", "books": ["A", "B"], "tops": ["C"], "pace_ms": 40}
        await layer.group_send(relay_group("sandbox"), wish)
        await watched.wait()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)

    assert feed.tickers == ["A", "B", "C"]


# --- the tape that comes with the desk ------------------------------------------------------------------


def test_our_own_tape_is_small_and_holds_three_whole_books() -> None:
    assert OWN_TAPE.stat().st_size <= 60_000
    with gzip.open(OWN_TAPE, "rt") as lines:
        text = lines.read()
    assert not any(mark in text for mark in recording.OWN_MARKS)
    assert len(judges.tickers_of(OWN_TAPE)) == 3
    assert len(scan(OWN_TAPE).markets) == 3
