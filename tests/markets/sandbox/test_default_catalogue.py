"""What is listed by default, with its makers at work, is as documented in every body and every frame."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from markets.sandbox.running import Options, RunningSandbox
from tests.markets.sandbox.conformance import Judge
from tests.markets.sandbox.peer import Peer


@pytest.fixture
def rival(judge: Judge, tmp_path: Path) -> Iterator[Peer]:
    """Return a member of an exchange as it runs by default."""
    running = RunningSandbox(Options(credentials=tmp_path, tier="prestige"))
    facts = json.loads((tmp_path / "rival.json").read_text())
    pem = Path(facts["private_key_file"]).read_text()
    yield Peer.from_pem(running.url, facts["key_id"], pem, heard=judge.overhear)
    running.stop()


def test_the_whole_catalogue_is_as_documented(rival: Peer) -> None:
    markets = rival.get("/markets", limit=1000)["markets"]
    events = rival.get("/events", with_nested_markets="true")["events"]
    series = rival.get("/series", include_volume="true")["series"]

    assert len(markets) == 40
    assert sum(len(event["markets"]) for event in events) == 40
    assert {event["series_ticker"] for event in events} <= {row["ticker"] for row in series}
    assert {market["strike_type"] for market in markets if "strike_type" in market} == {
        "between",
        "greater",
        "greater_or_equal",
    }
    tickers = [market["ticker"] for market in markets]
    books = rival.get("/markets/orderbooks", tickers=tickers)["orderbooks"]
    assert [book["ticker"] for book in books] == tickers
    assert all(book["orderbook_fp"]["yes_dollars"] or book["orderbook_fp"]["no_dollars"] for book in books)


def test_members_begin_with_play_money(rival: Peer) -> None:
    assert rival.get("/portfolio/balance")["balance_dollars"] == "10000.0000"


def test_what_the_makers_do_is_heard_as_documented(rival: Peer) -> None:
    tickers = [market["ticker"] for market in rival.get("/markets", limit=1000)["markets"]]
    socket = rival.connect()
    socket.send("subscribe", channels=["orderbook_delta", "trade", "ticker"], market_tickers=tickers)

    kinds = {"orderbook_snapshot", "orderbook_delta", "trade", "ticker"}
    while kinds - {frame["type"] for frame in socket.frames}:
        socket.next()

    numbers = [frame["seq"] for frame in socket.frames if frame.get("sid") == 1]
    assert numbers == list(range(1, len(numbers) + 1))
