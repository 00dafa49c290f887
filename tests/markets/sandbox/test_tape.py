"""Recordings on the air: what a subscriber folds is what the file folds, line by line; breaks are broken again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket

from markets.sandbox.numbers import MONEY
from markets.sandbox.running import Options, RunningSandbox
from markets.sandbox.tape import BadTape, scan
from tests import judges
from tests.markets.sandbox.conformance import Judge
from tests.markets.sandbox.conftest import House
from tests.markets.sandbox.peer import Socket

AT_ONCE = 1e6
BOOK = {"orderbook_snapshot", "orderbook_delta"}

Start = Callable[..., House]


@pytest.fixture
def play(judge: Judge) -> Iterator[Start]:
    """Return a function that starts an exchange which replays recordings."""
    started: list[RunningSandbox] = []

    def start(*paths: Path, **options: Any) -> House:
        running = RunningSandbox(Options(markets=0, has_makers=False, tapes=paths, **options))
        started.append(running)
        return House(running, judge)

    yield start
    for running in started:
        running.stop()


def write_tape(path: Path, *frames: tuple[int, dict[str, Any]]) -> Path:
    """Write a recording of (ms after its beginning, frame)."""
    path.write_text(
        "".join(json.dumps({"recv_ms": 1_786_000_000_000 + ms, "frame": frame}) + "\n" for ms, frame in frames)
    )
    return path


def snapshot(seq: int, *, ticker: str = "KXTAPED-1-A", sid: int = 1, **sides: Any) -> dict[str, Any]:
    return {
        "type": "orderbook_snapshot",
        "sid": sid,
        "seq": seq,
        "msg": {"market_ticker": ticker, "market_id": "9b0f6b43-5b68-4f9f-9f02-9a2d1b8ac1a1", **sides},
    }


def delta(seq: int, price: str, change: str, side: str = "yes", *, ts_ms: int = 1_786_000_000_000) -> dict[str, Any]:
    message = {
        "market_ticker": "KXTAPED-1-A",
        "market_id": "9b0f6b43-5b68-4f9f-9f02-9a2d1b8ac1a1",
        "price_dollars": price,
        "delta_fp": change,
        "side": side,
        "ts_ms": ts_ms,
    }
    return {"type": "orderbook_delta", "sid": 1, "seq": seq, "msg": message}


def fold(frame: dict[str, Any], books: dict[str, judges.TrueBook]) -> judges.TrueBook:
    book = books.setdefault(frame["msg"]["market_ticker"], judges.TrueBook())
    (book.replace if frame["type"] == "orderbook_snapshot" else book.change)(frame["msg"])
    return book


def tape_state(house: House) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{house.url}/__sandbox__/tape", timeout=5).json()
    return found


# --- real recordings ----------------------------------------------------------------------------------


def follow(house: House, path: Path) -> None:
    """Follow every market of a recording and compare each frame, and the fold after it, with the file."""
    desk = house.member()
    socket = desk.connect()
    socket.raw.sock_opt.timeout = 20
    tickers = judges.tickers_of(path)
    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=tickers)
    assert json.loads(socket.raw.recv())["type"] == "subscribed"
    mine: dict[str, judges.TrueBook] = {}
    truth: dict[str, judges.TrueBook] = {}
    seq = 0
    for line, _, recorded in judges.read_tape(path):
        if recorded["type"] not in BOOK:
            continue
        book = fold(recorded, truth)
        frame = json.loads(socket.raw.recv())
        seq += 1
        assert (frame["type"], frame["seq"], frame["msg"]["clock"]) == (recorded["type"], seq, line)
        seen = fold(frame, mine)
        if line % 200 == 0 or recorded["type"] == "orderbook_snapshot":
            assert (seen.bids, seen.asks) == (book.bids, book.asks), f"line {line}"
    assert {name: (book.bids, book.asks) for name, book in mine.items()} == {
        name: (book.bids, book.asks) for name, book in truth.items()
    }
    socket.close()


@pytest.mark.parametrize(
    "name",
    [
        "sports_twelve_markets.jsonl",
        pytest.param("btc15m_45_0145_subpenny.jsonl.gz", marks=pytest.mark.long),
        pytest.param("btc15m_00_0200_subpenny.jsonl.gz", marks=pytest.mark.long),
        pytest.param("gold15m_nine_markets.jsonl.gz", marks=pytest.mark.long),
    ],
)
def test_a_subscriber_folds_what_the_file_folds(play: Start, recordings: Path, name: str) -> None:
    path = recordings / "tapes" / name
    house = play(path, speed=AT_ONCE)

    follow(house, path)

    assert tape_state(house)["done"] is True


def test_a_recorded_reconnect_ends_the_connection_and_the_next_one_folds_the_rest(
    play: Start, recordings: Path
) -> None:
    path = recordings / "tapes" / "gold15m_reconnect.jsonl.gz"
    house = play(path, speed=AT_ONCE)
    (ticker,) = judges.tickers_of(path)
    connections: list[list[dict[str, Any]]] = []
    while not tape_state(house)["done"]:
        connections.append(list(_samples(house, ticker)))
    first, second = connections
    assert (first[0]["line"], first[-1]["line"]) == (1, 4_079)
    assert (second[0]["line"], second[-1]["line"]) == (4_080, 34_334)
    assert judges.differences(path, first + second) == []


def _samples(house: House, ticker: str) -> Iterator[dict[str, Any]]:
    """Yield the book after every 40th frame, and the first and last, until the exchange ends the connection."""
    socket = house.member().connect()
    socket.raw.settimeout(0.3)
    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[ticker])
    books: dict[str, judges.TrueBook] = {}
    number, line = 0, 0
    try:
        while True:
            try:
                frame = json.loads(socket.raw.recv())
            except websocket.WebSocketTimeoutException:
                if tape_state(house)["done"]:
                    raise
                continue  # a busy machine
            if frame["type"] not in BOOK:
                continue
            line, book = frame["msg"]["clock"], fold(frame, books)
            if number % 40 == 0:
                yield _sample(ticker, line, book)
            number += 1
    except (websocket.WebSocketException, OSError, json.JSONDecodeError):
        yield _sample(ticker, line, books[ticker])


def _sample(ticker: str, line: int, book: judges.TrueBook) -> dict[str, Any]:
    bids, asks = book.in_units()
    return {"m": ticker, "line": line, "bids": list(bids.items()), "asks": list(asks.items())}


def test_a_scan_learns_grids_closes_and_breaks(recordings: Path) -> None:
    gold = scan(recordings / "tapes" / "gold15m_reconnect.jsonl.gz")
    coin = scan(recordings / "tapes" / "btc15m_45_0145_subpenny.jsonl.gz")
    sports = scan(recordings / "tapes" / "sports_twelve_markets.jsonl")

    assert (gold.lines, gold.reconnects) == (34_334, {4080})
    # Silences of more than 3 s after which came what had been made more than 1 s before.
    assert gold.stalls == {4080, 20_403, 33_421, 33_981, 34_187, 34_280}
    assert [market.structure for market in gold.markets.values()] == ["linear_cent"]
    assert [market.structure for market in coin.markets.values()] == ["tapered_deci_cent"]
    assert (len(sports.markets), sports.reconnects) == (12, set())
    assert {market.closed_after_ms for market in sports.markets.values()} == {None}
    assert all(market.closed_after_ms is not None for market in gold.markets.values())


# --- recordings of our own ----------------------------------------------------------------------------


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """Return a recording of one market: a book, two changes, a trade, a close."""
    trade = {
        "trade_id": "f4a42159-b500-47c6-afa2-c31d94d916c1",
        "market_ticker": "KXTAPED-1-A",
        "yes_price_dollars": "0.4800",
        "no_price_dollars": "0.5200",
        "count_fp": "4.00",
        "taker_side": "no",
        "taker_outcome_side": "no",
        "taker_book_side": "ask",
        "ts": 1_786_000_000,
        "ts_ms": 1_786_000_000_020,
    }
    return write_tape(
        tmp_path / "short.jsonl",
        (0, snapshot(1, yes_dollars_fp=[["0.4800", "10.00"]], no_dollars_fp=[["0.5000", "7.00"]])),
        (10, delta(2, "0.4700", "5.00")),
        (20, delta(3, "0.4800", "-4.00")),
        (20, {"type": "trade", "sid": 2, "seq": 1, "msg": trade}),
        (40, snapshot(4)),
    )


def watch(house: House, *channels: str) -> Socket:
    socket = house.member().connect()
    socket.send("subscribe", channels=list(channels or ("orderbook_delta",)), market_tickers=["KXTAPED-1-A"])
    for _ in channels or ("orderbook_delta",):
        assert socket.next()["type"] == "subscribed"
    return socket


def test_a_taped_market_is_listed_as_a_replay_and_can_only_be_watched(play: Start, short: Path) -> None:
    house = play(short)
    desk = house.member(deposit=1000)

    market = desk.get("/markets/KXTAPED-1-A")["market"]
    event = desk.get(f"/events/{market['event_ticker']}")["event"]
    series = desk.get(f"/series/{event['series_ticker']}")["series"]
    refused = desk.create("KXTAPED-1-A", "bid", "0.4800", "1.00")

    assert (market["status"], series["category"], event["category"]) == ("active", "Replay", "Replay")
    assert (refused.status_code, refused.json()) == (
        400,
        {"error": {"code": "MARKET_NOT_ACTIVE", "message": "MARKET_NOT_ACTIVE"}},
    )
    assert house.venue.exchange.balance(desk.member_id).balance == 1000 * MONEY  # type: ignore[attr-defined]


def test_the_tape_waits_for_its_first_subscriber_and_nothing_is_missed(play: Start, short: Path) -> None:
    house = play(short)
    assert tape_state(house)["line"] == 0

    socket = watch(house, "orderbook_delta", "trade")

    frames = list(socket.read(5))
    assert [(frame["type"], frame["seq"], frame["msg"].get("clock")) for frame in frames] == [
        ("orderbook_snapshot", 1, 1),
        ("orderbook_delta", 2, 2),
        ("orderbook_delta", 3, 3),
        ("trade", 1, None),
        ("orderbook_snapshot", 4, 5),
    ]
    assert not {"yes_dollars_fp", "no_dollars_fp"} & set(frames[4]["msg"])
    state = tape_state(house)
    assert (state["done"], state["line"], state["speed"]) == (True, 5, 1.0)
    socket.close()


def test_whoever_comes_later_starts_with_the_fold_at_that_line(play: Start, tmp_path: Path) -> None:
    path = write_tape(
        tmp_path / "long.jsonl",
        (0, snapshot(1, yes_dollars_fp=[["0.4800", "10.00"]])),
        (10, delta(2, "0.4700", "5.00")),
        (60_000, delta(3, "0.4600", "1.00")),
    )
    house = play(path)
    first = watch(house)
    list(first.read(2))

    second = watch(house)

    message = second.next()["msg"]
    assert message["clock"] == 2
    assert message["yes_dollars_fp"] == [["0.4700", "5.00"], ["0.4800", "10.00"]]
    assert house.member().get("/markets/KXTAPED-1-A/orderbook")["orderbook_fp"]["yes_dollars"] == [
        ["0.4700", "5.00"],
        ["0.4800", "10.00"],
    ]
    first.close()
    second.close()


def test_a_close_is_told_by_result_and_shown_in_the_catalogue(play: Start, short: Path) -> None:
    house = play(short)
    socket = house.member().connect()
    socket.send("subscribe", channels=["market_lifecycle_v2"])
    socket.until("subscribed")
    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=["KXTAPED-1-A"])

    moved = socket.until("market_lifecycle_v2", event_type="close_date_updated")
    told = socket.until("market_lifecycle_v2", event_type="determined")

    assert moved["msg"]["close_ts"] == pytest.approx(house.venue.now_ms() / 1000, abs=5)
    assert (told["msg"]["market_ticker"], told["msg"]["result"]) == ("KXTAPED-1-A", "no")
    market = house.member().get("/markets/KXTAPED-1-A")["market"]
    assert (market["status"], market["last_price_dollars"], market["volume_fp"]) == ("determined", "0.4800", "4.00")
    socket.close()


def test_a_replay_draws_candles_in_its_own_time(play: Start, short: Path) -> None:
    house = play(short)
    began = house.venue.now_us() // 1_000_000
    socket = watch(house, "orderbook_delta", "trade")
    list(socket.read(5))
    asked = {"start_ts": began - 600, "end_ts": began + 120, "period_interval": 1, "market_tickers": "KXTAPED-1-A"}

    found = house.member().get("/markets/candlesticks", **asked)["markets"][0]["candlesticks"]

    (traded,) = [candle for candle in found if candle["volume_fp"] != "0.00"]
    assert (traded["volume_fp"], traded["price"]["close_dollars"], traded["price"]["mean_dollars"]) == (
        "4.00",
        "0.4800",
        "0.4800",
    )
    assert traded["end_period_ts"] - began <= 120
    # The first snapshot opened at 0.48 bid and 0.50 asked; the last one is empty.
    assert (traded["yes_bid"]["high_dollars"], traded["yes_bid"]["close_dollars"]) == ("0.4800", "0.0000")
    assert (traded["yes_ask"]["low_dollars"], traded["yes_ask"]["close_dollars"]) == ("0.5000", "1.0000")
    socket.close()


def test_levels_come_in_yes_prices_where_that_is_asked_for(play: Start, short: Path) -> None:
    house = play(short)
    socket = house.member().connect()
    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=["KXTAPED-1-A"], use_yes_price=True)
    socket.until("subscribed")

    assert socket.until("orderbook_snapshot")["msg"]["no_dollars_fp"] == [["0.5000", "7.00"]]
    socket.close()


def test_a_stall_holds_everything_back_and_lets_it_go_in_a_burst(play: Start, tmp_path: Path) -> None:
    ahead = 1_786_000_000_000
    path = write_tape(
        tmp_path / "stall.jsonl",
        (0, snapshot(1, yes_dollars_fp=[["0.4800", "10.00"]])),
        (10, delta(2, "0.4700", "5.00", ts_ms=ahead + 5)),
        (10_010, delta(3, "0.4600", "1.00", ts_ms=ahead + 20)),
        (10_011, delta(4, "0.4500", "1.00", ts_ms=ahead + 30)),
    )
    house = play(path, speed=20.0)
    socket = watch(house)
    list(socket.read(2))
    (session,) = house.venue.audience.watchers("KXTAPED-1-A")

    socket.send("list_subscriptions")
    frames = list(socket.read(3))

    assert scan(path).stalls == {3}
    assert [frame["type"] for frame in frames] == ["ok", "orderbook_delta", "orderbook_delta"]
    # The answer to the command was held back as well: all three were sent within the burst.
    assert frames[2]["sending_ts_ms"] - frames[0]["sending_ts_ms"] >= 300
    assert session.is_held is False
    socket.close()


def test_a_looped_tape_starts_again_from_its_first_line(play: Start, short: Path) -> None:
    house = play(short, loop=True, speed=AT_ONCE)
    socket = watch(house)

    first = list(socket.read(4))
    again = list(socket.read(4))

    assert [frame["msg"]["clock"] for frame in again] == [frame["msg"]["clock"] for frame in first] == [1, 2, 3, 5]
    assert tape_state(house)["done"] is False
    socket.close()


def test_a_tape_runs_at_another_speed_from_here_on(play: Start, tmp_path: Path) -> None:
    path = write_tape(
        tmp_path / "slow.jsonl",
        (0, snapshot(1, yes_dollars_fp=[["0.4800", "10.00"]])),
        (700, delta(2, "0.4700", "5.00")),
        (3_600_000, delta(3, "0.4600", "5.00")),
    )
    house = play(path)
    socket = watch(house)
    assert socket.next()["msg"]["clock"] == 1

    answer = requests.post(f"{house.url}/__sandbox__/tape", json={"speed": 1e6}, timeout=5)

    assert answer.json()["speed"] == 1e6
    assert [frame["msg"]["clock"] for frame in socket.read(2)] == [2, 3]
    refused = requests.post(f"{house.url}/__sandbox__/tape", json={"speed": 0}, timeout=5)
    assert refused.status_code == 400


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    empty, prose = tmp_path / "empty.jsonl", tmp_path / "prose.jsonl"
    empty.write_text("")
    prose.write_text("It was a dark and stormy night.\n")

    for path in (empty, prose):
        with pytest.raises(BadTape):
            scan(path)
