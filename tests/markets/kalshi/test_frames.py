"""Frames: what is understood, on which scale, and that nothing else ever gets through."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets.kalshi.errors import BadMessage
from markets.kalshi.messages import (
    BookDelta,
    BookSnapshot,
    Done,
    ErrorFrame,
    FillTick,
    Lifecycle,
    Message,
    Other,
    Subscribed,
    TradeTick,
    UserOrder,
    read_frame,
)
from tests.wire import frames as wire
from tests.wire.frames import OSLO


def read(frame: dict[str, Any], *, yes_prices: bool = True) -> Message:
    return read_frame(wire.encoded(frame), is_no_side_in_yes_prices=yes_prices)


def test_a_change_is_read_in_whole_units() -> None:
    message = read(wire.delta(OSLO, 3, price="0.4810", change="-54.25"))
    assert message == BookDelta(OSLO, True, 4810, -5425, 77, 11, 1, 3)


def test_with_yes_prices_the_no_side_is_the_asks_as_they_are() -> None:
    change = read(wire.delta(OSLO, 3, side="no", price="0.5400", change="40.00"))
    book = read(wire.snapshot(OSLO, 1, yes=[["0.4900", "1.00"]], no=[["0.5400", "40.00"]]))

    assert isinstance(change, BookDelta)
    assert isinstance(book, BookSnapshot)
    assert (change.is_bid, change.price_units, change.change_units) == (False, 5400, 4000)
    assert (book.bids, book.asks) == (((4900, 100),), ((5400, 4000),))


def test_with_no_prices_the_same_level_is_the_complement() -> None:
    change = read(wire.delta(OSLO, 3, side="no", price="0.4600", change="40.00"), yes_prices=False)
    book = read(wire.snapshot(OSLO, 1, no=[["0.4600", "40.00"]]), yes_prices=False)

    assert isinstance(change, BookDelta)
    assert isinstance(book, BookSnapshot)
    assert (change.is_bid, change.price_units) == (False, 5400)
    assert book.asks == ((5400, 4000),)


def test_a_side_that_is_not_named_is_empty() -> None:
    assert read(wire.snapshot(OSLO, 7, clock=None)) == BookSnapshot(OSLO, (), (), 1, 7, None)


def test_our_own_marks_on_a_change_are_not_in_what_is_read() -> None:
    message = read(wire.delta(OSLO, 3, client_order_id="SECRET", subaccount=4))
    assert message == read(wire.delta(OSLO, 3))
    assert "SECRET" not in repr(message)


def test_a_trade_names_the_outcome_that_its_taker_bought() -> None:
    assert read(wire.trade(OSLO, 5)) == TradeTick(OSLO, "t-5", 3600, 250, "no", 78, 2, 5)
    older = wire.trade(OSLO, 5)
    del older["msg"]["taker_outcome_side"]
    message = read(older)
    assert isinstance(message, TradeTick)
    assert message.taker_side == "yes"


def test_a_lifecycle_message_brings_times_in_ms_and_a_grid_in_units() -> None:
    frame = {
        "type": "market_lifecycle_v2",
        "sid": 3,
        "seq": 9,
        "msg": {
            "market_ticker": OSLO,
            "event_type": "price_level_structure_updated",
            "close_ts": 1_795_485_540,
            "price_ranges": [{"start": "0.0000", "end": "1.0000", "step": "0.0010"}],
        },
    }
    message = read(frame)
    assert isinstance(message, Lifecycle)
    assert (message.event_type, message.close_ms) == ("price_level_structure_updated", 1_795_485_540_000)
    assert (message.bands, message.sid, message.seq) == (((0, 10_000, 10),), 3, 9)


def test_own_orders_and_fills_are_read_in_dollars_and_contracts() -> None:
    order, fill = read(wire.USER_ORDER), read(wire.FILL)

    assert isinstance(order, UserOrder)
    assert (order.order_id, order.status, order.book_side) == ("o-1", "resting", "bid")
    assert (order.filled, order.remaining, order.fees) == (D(4), D(6), D("0.001"))
    assert (order.updated_ms, order.last_update_reason) == (1_795_356_030_123, "Trade")
    assert isinstance(fill, FillTick)
    assert (fill.trade_id, fill.ticker, fill.count, fill.fee) == ("t-9", OSLO, D(4), D("0.001"))


def test_answers_are_read() -> None:
    assert read(wire.subscribed("trade", 2, 4)) == Subscribed(4, "trade", 2)
    assert read(wire.ok(5, 1, 6, [OSLO])) == Done(5, 1, 6, (OSLO,))
    listed = {"id": 8, "type": "ok", "msg": [{"channel": "trade", "sid": 2}]}
    assert read(listed) == Done(8, None, None, None)
    assert read(wire.error(11, "Invalid parameter", id=3, market_ticker=OSLO)) == ErrorFrame(
        3, None, None, 11, "Invalid parameter", (OSLO,)
    )


def test_a_kind_that_is_not_read_still_takes_its_number() -> None:
    frame = {"type": "event_lifecycle", "sid": 3, "seq": 12, "msg": {"event_ticker": "E"}}
    assert read(frame) == Other("event_lifecycle", 3, 12)


BROKEN: list[tuple[dict[str, Any], str | None]] = [
    (wire.delta(OSLO, 3, price="2.0000"), OSLO),
    (wire.delta(OSLO, 3, price="0.48005"), OSLO),
    (wire.delta(OSLO, 3, price="x"), OSLO),
    (wire.delta(OSLO, 3, change="NaN"), OSLO),
    (wire.delta(OSLO, 3, change="1e999"), OSLO),
    (wire.delta(OSLO, 3, side="maybe"), OSLO),
    (wire.delta(OSLO, 3) | {"seq": "3"}, OSLO),
    (wire.delta(OSLO, 3) | {"seq": -1}, OSLO),
    (wire.delta(OSLO, 3) | {"seq": True}, OSLO),
    (wire.delta("", 3), None),
    (wire.delta("T" * 201, 3), None),
    ({"type": "orderbook_delta", "sid": 1, "seq": 3, "msg": None}, None),
    ({"type": "orderbook_delta", "sid": 1, "seq": 3}, None),
    (wire.snapshot(OSLO, 1, yes=[["0.4800"]]), OSLO),
    (wire.snapshot(OSLO, 1, yes=[["0.4800", 5]]), OSLO),
    (wire.snapshot(OSLO, 1, yes={"0.4800": "5.00"}), OSLO),
    (wire.trade(OSLO, 1, yes_price_dollars=0.36), OSLO),
    ({"type": "new_idea", "sid": 1, "seq": 3, "msg": {"market_ticker": OSLO}}, OSLO),
    ({"type": 5}, None),
    ({}, None),
]


@pytest.mark.parametrize(("frame", "ticker"), BROKEN, ids=lambda value: str(value)[:40])
def test_an_unknown_shape_raises_and_says_which_market_it_was_about(frame: dict[str, Any], ticker: str | None) -> None:
    with pytest.raises(BadMessage) as bad:
        read(frame)
    assert bad.value.ticker == ticker


def test_a_broken_frame_still_tells_its_number() -> None:
    with pytest.raises(BadMessage) as bad:
        read(wire.delta(OSLO, 31, price="x"))
    assert (bad.value.sid, bad.value.seq, bad.value.is_new_kind) == (1, 31, False)


@pytest.mark.parametrize(
    "raw",
    [b"", b"null", b"[]", b"7", b'"x"', b"{", b"\xff\xfe\x00", b"[" * 200_000, b'{"type":"trade"', b'{"a":NaN}'],
    ids=lambda raw: str(raw[:12]),
)
def test_what_is_no_frame_raises(raw: bytes) -> None:
    with pytest.raises(BadMessage):
        read_frame(raw, is_no_side_in_yes_prices=True)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    try:
        read_frame(raw, is_no_side_in_yes_prices=True)
    except BadMessage:
        return


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
kinds = st.sampled_from(
    ["orderbook_delta", "orderbook_snapshot", "trade", "ok", "error", "subscribed", "fill", "user_order", "ticker"]
)
keys = st.sampled_from(
    ["market_ticker", "price_dollars", "delta_fp", "side", "yes_dollars_fp", "no_dollars_fp", "code", "clock", "ts_ms"]
)


@settings(max_examples=200, deadline=None)
@given(kinds, json_values, json_values, st.dictionaries(keys, json_values) | json_values)
def test_no_json_raises_anything_else(kind: str, sid: Any, seq: Any, msg: Any) -> None:
    raw = json.dumps({"type": kind, "sid": sid, "seq": seq, "msg": msg}).encode()
    try:
        read_frame(raw, is_no_side_in_yes_prices=False)
    except BadMessage:
        return


# --- the real exchange ---------------------------------------------------------------------------


def tape(path: Path, most: int = 6_000) -> Iterator[bytes]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        for _, line in zip(range(most), lines, strict=False):
            yield json.dumps(json.loads(line)["frame"]).encode()


def test_every_frame_of_the_recordings_is_understood(recordings: Path) -> None:
    kinds: Counter[type] = Counter()
    for path in sorted((recordings / "tapes").iterdir()):
        for raw in tape(path):
            kinds[type(read_frame(raw, is_no_side_in_yes_prices=False))] += 1
    for path in sorted((recordings / "ws").glob("*.jsonl")):
        for line in filter(None, map(str.strip, path.read_text().splitlines())):
            kinds[type(read_frame(line, is_no_side_in_yes_prices=False))] += 1
    assert kinds[BookDelta] > 20_000
    assert kinds[BookSnapshot] > 20
    assert kinds[TradeTick] > 100
    assert kinds[Lifecycle] == 2


@pytest.mark.long
def test_every_frame_of_every_tape_is_understood(recordings: Path) -> None:
    count = 0
    for path in sorted((recordings / "tapes").iterdir()):
        for raw in tape(path, most=10**9):
            read_frame(raw, is_no_side_in_yes_prices=False)
            count += 1
    assert count > 400_000


def test_every_frame_of_the_exchanges_documents_is_understood(exchange_documents: Path) -> None:
    read_kinds: set[type] = set()
    for path in sorted((exchange_documents / "examples").glob("ws_*.json")):
        if any(word in path.name for word in ("ws_cmd", "ws_auto", "ws_session", "codes_table")):
            continue
        found = json.loads(path.read_text())
        read_kinds.add(type(read_frame(json.dumps(found), is_no_side_in_yes_prices="use_yes_price" in path.name)))
    assert {BookDelta, BookSnapshot, TradeTick, UserOrder, FillTick, Lifecycle, Done, ErrorFrame} <= read_kinds
