"""Each fault of the stream, seen on the wire; the number of a lost or changed frame is used up."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import websocket

from tests.markets.sandbox.conftest import House
from tests.markets.sandbox.peer import Peer

Switch = Callable[..., dict[str, Any]]


@pytest.fixture
def fault(house: House) -> Iterator[Switch]:
    """Return a function that switches a fault on; all are off again after the test."""

    def switch(name: str, *, match: dict[str, Any] | None = None, count: int | None = None, **params: Any) -> Any:
        body = {"fault": name, "match": match or {}, "params": params, "count": count}
        answer = requests.post(f"{house.url}/__sandbox__/faults", json=body, timeout=5)
        assert answer.status_code == 201, answer.text
        return answer.json()

    yield switch
    requests.delete(f"{house.url}/__sandbox__/faults", timeout=5)


class Line:
    """A raw connection that follows one market and shows what arrives, however wrong it is."""

    def __init__(self, desk: Peer, ticker: str) -> None:
        self.desk = desk
        self.ticker = ticker
        self.socket = desk.connect()
        self.raw = self.socket.raw
        self.socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[ticker])
        list(self.socket.read(2))

    def change(self, times: int = 1) -> None:
        for _ in range(times):
            assert self.desk.create(self.ticker, "bid", "0.4800", "1.00").status_code == 201

    def next(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw.recv())
        return found

    def seqs(self, count: int) -> list[int]:
        return [self.next()["seq"] for _ in range(count)]

    def silence(self, seconds: float = 0.3) -> bool:
        self.raw.settimeout(seconds)
        try:
            self.raw.recv()
        except websocket.WebSocketTimeoutException:
            return True
        finally:
            self.raw.settimeout(5)
        return False


@pytest.fixture
def line(desk: Peer, ticker: str) -> Line:
    return Line(desk, ticker)


def test_s1_leaves_a_hole_in_the_numbers(line: Line, fault: Switch) -> None:
    fault("S1", match={"type": "orderbook_delta"}, count=2)
    line.change(3)

    assert line.seqs(1) == [4]


def test_s2_repeats_a_frame(line: Line, fault: Switch) -> None:
    fault("S2", count=1, times=3)
    line.change(2)

    assert line.seqs(4) == [2, 2, 2, 3]


def test_s3_swaps_two_frames(line: Line, fault: Switch) -> None:
    fault("S3", count=2)
    line.change(3)

    assert line.seqs(3) == [3, 2, 4]


def test_s4_begins_the_numbers_again(line: Line, fault: Switch) -> None:
    fault("S4", count=1)
    line.change(3)

    assert line.seqs(3) == [1, 2, 3]


def test_s5_brings_a_change_before_its_snapshot(house: House, desk: Peer, fault: Switch) -> None:
    ticker = house.market()
    fault("S5")
    socket = desk.connect()
    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[ticker])
    assert socket.next()["type"] == "subscribed"

    desk.create(ticker, "bid", "0.4800", "1.00")

    assert [json.loads(socket.raw.recv())["type"] for _ in range(2)] == ["orderbook_delta", "orderbook_snapshot"]


def test_s6_sends_a_snapshot_unasked(line: Line, fault: Switch) -> None:
    fault("S6", count=1)
    line.change()

    delta, snapshot = line.next(), line.next()
    assert (delta["type"], snapshot["type"], snapshot["seq"]) == ("orderbook_delta", "orderbook_snapshot", 3)
    assert snapshot["msg"]["yes_dollars_fp"] == [["0.4800", "1.00"]]


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("negative", "delta_fp", "-99999999.00"),
        ("zero", "delta_fp", "0.00"),
        ("crossed", "price_dollars", "0.9900"),
        ("off_tick", "price_dollars", "0.1234"),
    ],
)
def test_s7_corrupts_a_level(line: Line, fault: Switch, kind: str, field: str, value: str) -> None:
    fault("S7", count=1, kind=kind)
    line.change()

    assert line.next()["msg"][field] == value


def test_s8_says_what_nobody_knows(line: Line, fault: Switch) -> None:
    fault("S8", count=1, kind="type")
    line.change()
    assert line.next()["type"] == "surprise"

    fault("S8", count=1, kind="field")
    line.change()
    assert "surprise" in line.next()["msg"]

    fault("S8", count=1, kind="sid", sid=77)
    line.change()
    assert line.next()["sid"] == 77


@pytest.mark.parametrize("code", [8, 9, 10, 25])
def test_s8_ends_a_sid_with_an_error(line: Line, fault: Switch, code: int) -> None:
    fault("S8", count=1, kind="error", code=code)
    line.change(2)

    refused = line.next()
    assert (refused["type"], refused["sid"], refused["msg"]["code"]) == ("error", 1, code)
    assert line.silence()


def test_s8_says_that_a_command_took_too_long(line: Line, fault: Switch) -> None:
    fault("S8", match={"type": "subscribed"}, count=1, kind="refusal")
    command = line.socket.send("subscribe", channels=["trade"])

    refused = json.loads(line.raw.recv())
    assert refused.pop("sending_ts_ms") > 0
    assert refused == {"type": "error", "id": command, "msg": {"code": 18, "msg": "Command timeout"}}
    line.socket.send("list_subscriptions")
    assert {"channel": "trade", "sid": 2} in json.loads(line.raw.recv())["msg"]  # it was obeyed all the same


@pytest.mark.parametrize("kind", ["malformed", "truncated", "nan"])
def test_s9_sends_what_is_no_json(line: Line, fault: Switch, kind: str) -> None:
    fault("S9", count=1, kind=kind)
    line.change()

    text = line.raw.recv()
    if kind == "nan":
        assert '"delta_fp":NaN' in text
    else:
        with pytest.raises(json.JSONDecodeError):
            json.loads(text)


@pytest.mark.parametrize(("kind", "least"), [("huge", 10_000_000), ("deep", 10_000)])
def test_s9_sends_too_much(line: Line, fault: Switch, kind: str, least: int) -> None:
    fault("S9", count=1, kind=kind)
    line.change()

    assert len(line.raw.recv()) >= least


def test_s9_sends_wrong_kinds_of_frames(line: Line, fault: Switch) -> None:
    fault("S9", count=1, kind="binary")
    line.change()
    assert line.raw.recv_data()[0] == websocket.ABNF.OPCODE_BINARY

    fault("S9", count=1, kind="fragmented")
    line.change()
    assert line.next()["type"] == "orderbook_delta"

    fault("S9", count=1, kind="bad_utf8")
    line.change()
    assert line.raw.recv_data()[1] == b'{"type":"\xff\xfe"}'

    fault("S9", count=1, kind="bad_close")
    line.change()
    with pytest.raises(websocket.WebSocketException):
        line.raw.recv_data_frame(control_frame=True)


@pytest.mark.parametrize("kind", ["close", "reset", "mid_frame"])
def test_s10_ends_the_connection_without_a_word(line: Line, fault: Switch, kind: str) -> None:
    fault("S10", count=1, kind=kind)
    line.change()

    with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionResetError)):
        line.raw.recv()


@pytest.mark.parametrize("status", [401, 429, 502, 503])
def test_d10_refuses_the_dial(desk: Peer, fault: Switch, status: int) -> None:
    fault("D10", status=status)

    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        desk.connect()

    assert refused.value.status_code == status


@pytest.mark.parametrize("kind", ["drop", "reset"])
def test_d10_ends_the_dial(desk: Peer, fault: Switch, kind: str) -> None:
    fault("D10", kind=kind)

    with pytest.raises((websocket.WebSocketException, OSError)):
        desk.connect()


def test_s11_falls_silent_on_an_open_connection(house: House, line: Line, fault: Switch) -> None:
    fault("S11", count=1)
    (session,) = house.venue.audience.watchers(line.ticker)
    line.change(2)

    line.raw.ping(b"are you there")
    assert line.silence()
    assert session.is_held
    assert not session.is_closed


def test_s11_may_go_on_pinging_and_come_back(house: House, line: Line, fault: Switch) -> None:
    fault("S11", count=1, pings=True, seconds=0.4)
    (session,) = house.venue.audience.watchers(line.ticker)
    line.change(2)

    assert line.silence(0.1)
    assert not session.is_held
    assert line.seqs(2) == [2, 3]


def test_s12_drips(line: Line, fault: Switch) -> None:
    fault("S12", count=1, frames_a_second=10)
    line.change(4)

    began = time.monotonic()
    line.seqs(4)
    assert time.monotonic() - began >= 0.2


def test_s12_bursts(line: Line, fault: Switch) -> None:
    fault("S12", count=1, burst_seconds=0.4)
    line.change(5)

    began = time.monotonic()
    assert line.seqs(1) == [2]
    first = time.monotonic() - began
    assert line.seqs(4) == [3, 4, 5, 6]
    assert time.monotonic() - began - first < 0.2


@pytest.fixture
def private(desk: Peer) -> Any:
    socket = desk.connect()
    socket.send("subscribe", channels=["user_orders"])
    socket.until("subscribed")
    return socket


def test_s13_loses_repeats_and_delays_private_messages(private: Any, desk: Peer, ticker: str, fault: Switch) -> None:
    fault("S13", count=1, kind="missing")
    desk.create(ticker, "bid", "0.4800", "1.00", client_order_id="missing")
    fault("S13", count=1, kind="late", seconds=0.2)
    desk.create(ticker, "bid", "0.4800", "1.00", client_order_id="late")
    fault("S13", count=1, kind="repeated")
    desk.create(ticker, "bid", "0.4800", "1.00", client_order_id="repeated")

    heard = [frame["msg"]["client_order_id"] for frame in private.read(3)]

    assert heard == ["repeated", "repeated", "late"]


def test_s14_is_the_operators_hand(house: House, line: Line) -> None:
    for verb, status in (("pause", "inactive"), ("activate", "active"), ("close", "closed"), ("settle", "finalized")):
        answer = requests.post(f"{house.url}/__sandbox__/markets/{line.ticker}/{verb}", json={}, timeout=5)
        assert (answer.status_code, answer.json()["status"]) == (200, status)


def test_s15_skews_times_or_leaves_them_out(house: House, line: Line, fault: Switch) -> None:
    fault("S15", count=1, ms=-30_000)
    line.change()
    assert abs(line.next()["msg"]["ts_ms"] - house.venue.now_ms() + 30_000) < 2000

    fault("S15", count=1, kind="sending", ms=7000)
    line.change()
    assert line.next()["sending_ts_ms"] > house.venue.now_ms() + 5000

    fault("S15", count=1, kind="absent")
    line.change()
    frame = line.next()
    assert ("sending_ts_ms" in frame, "clock" in frame["msg"]) == (False, False)


def test_s16_loses_an_acknowledgement(desk: Peer, ticker: str, fault: Switch) -> None:
    fault("S16", match={"type": "subscribed"}, count=1)
    socket = desk.connect()

    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[ticker])

    assert socket.next()["type"] == "orderbook_snapshot"


def test_frames_are_matched_by_channel_and_ticker(house: House, line: Line, desk: Peer, fault: Switch) -> None:
    other = Line(desk, house.market())
    fault("S1", match={"channel": "orderbook_delta", "ticker": other.ticker}, count=1)

    line.change()
    other.change(2)

    assert (line.seqs(1), other.seqs(1)) == ([2], [3])
