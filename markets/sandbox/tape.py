"""Recordings of the real exchange as they lie on disk: JSON lines of a receiver's clock and a frame, plain or gzipped.

A scan before the replay learns which markets a recording holds, how they close, where the connection broke and where it
stalled. Lines count from 1. Source: channel `orderbook_delta` and its siblings of Kalshi's trade API v2, as recorded.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from markets.sandbox.numbers import DOLLAR, parse_fixed

STALL_MS = 3000
BACKLOG_MS = 1000
PRICE_DECIMALS, COUNT_DECIMALS = 4, 2
BOOK_FRAMES = frozenset({"orderbook_snapshot", "orderbook_delta"})


class Message(msgspec.Struct, frozen=True):
    """Every field that any recorded message has and the replay needs."""

    market_ticker: str = ""
    market_id: str = ""
    channel: str = ""
    yes_dollars_fp: tuple[tuple[str, str], ...] = ()
    no_dollars_fp: tuple[tuple[str, str], ...] = ()
    price_dollars: str = ""
    delta_fp: str = ""
    side: str = ""
    ts_ms: int = 0
    trade_id: str = ""
    yes_price_dollars: str = ""
    count_fp: str = ""
    taker_book_side: str = ""
    taker_outcome_side: str = ""
    taker_side: str = ""

    def taker_is_bid(self) -> bool:
        """Say whether the taker of a trade bought YES; older recordings name only its side."""
        return (self.taker_book_side or self.taker_outcome_side or self.taker_side) in {"bid", "yes"}


class Frame(msgspec.Struct, frozen=True):
    """One recorded frame; what `msg` is depends on the type."""

    type: str
    sid: int = 0
    seq: int = 0
    msg: msgspec.Raw = msgspec.Raw(b"{}")

    def message(self) -> Message:
        """Return the decoded message."""
        return _message.decode(self.msg)


class Line(msgspec.Struct, frozen=True):
    """One line of a recording."""

    recv_ms: int
    frame: Frame


_line = msgspec.json.Decoder(Line)
_message = msgspec.json.Decoder(Message)


class BadTape(ValueError):
    """The file is no recording."""


def read_lines(path: Path) -> Iterator[tuple[int, Line]]:
    """Yield each line with its number; raises BadTape."""
    with _opened(path) as lines:
        for number, raw in enumerate(lines, start=1):
            try:
                yield number, _line.decode(raw)
            except msgspec.MsgspecError as exc:
                raise BadTape(f"{path.name}, line {number}: {exc}") from exc


def _opened(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def levels(side: tuple[tuple[str, str], ...]) -> dict[int, int]:
    """Return one side of a recorded snapshot in whole numbers, at its own prices."""
    return {parse_fixed(price, PRICE_DECIMALS): parse_fixed(count, COUNT_DECIMALS) for price, count in side}


def mirrored(side: dict[int, int]) -> dict[int, int]:
    """Return levels at the other leg's prices."""
    return {DOLLAR - price: count for price, count in side.items()}


@dataclass(slots=True)
class TapedMarket:
    """What a scan learned of one market. `closed_after_ms` counts from the first line; None was never seen to close."""

    ticker: str
    market_id: str
    is_on_cents: bool = True
    is_tapered: bool = True
    has_tickers: bool = False
    last_ms: int = 0
    closed_after_ms: int | None = None

    def note_price(self, price: int) -> None:
        """Learn from a price which grid the market is on."""
        if price % 100:
            self.is_on_cents = False
            self.is_tapered = self.is_tapered and (price < DOLLAR // 10 or price > DOLLAR - DOLLAR // 10)

    @property
    def structure(self) -> str:
        """Return the price grid: the coarsest on which every recorded price lies."""
        if self.is_on_cents:
            return "linear_cent"
        return "tapered_deci_cent" if self.is_tapered else "deci_cent"


@dataclass(slots=True)
class Tape:
    """One recording, scanned."""

    path: Path
    lines: int = 0
    first_ms: int = 0
    last_ms: int = 0
    markets: dict[str, TapedMarket] = field(default_factory=dict)
    reconnects: set[int] = field(default_factory=set)  # lines with which a new connection begins
    stalls: set[int] = field(default_factory=set)  # lines that ended a stall

    @property
    def duration_ms(self) -> int:
        """Return how long the recording took."""
        return self.last_ms - self.first_ms


def scan(path: Path) -> Tape:
    """Read a recording once; raises BadTape."""
    tape, connection = Tape(path), _Connection()
    for number, line in read_lines(path):
        if not tape.lines:
            tape.first_ms = line.recv_ms
        silence = line.recv_ms - tape.last_ms if tape.lines else 0
        if connection.begins_with(line.frame):
            tape.reconnects.add(number)
        if silence >= STALL_MS and (number in tape.reconnects or _is_backlog(line, tape.last_ms)):
            tape.stalls.add(number)
        tape.lines, tape.last_ms = number, line.recv_ms
        _learn(tape, line)
    if not tape.markets:
        raise BadTape(f"{path.name} holds no order book")
    return tape


class _Connection:
    """Notices where a recording's connection ended and another began: a sid counts from the start again."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}

    def begins_with(self, frame: Frame) -> bool:
        if frame.type == "subscribed":
            is_new = frame.message().channel == "orderbook_delta" and bool(self._seen)
            self._seen = {} if is_new else self._seen
            return is_new
        if not frame.seq:
            return False
        is_new = frame.seq <= self._seen.get(frame.sid, 0)
        if is_new:
            self._seen.clear()
        self._seen[frame.sid] = frame.seq
        return is_new


def _is_backlog(line: Line, before_ms: int) -> bool:
    """Say whether a frame arrived long after it was made: the way was stalled, not the market quiet."""
    ts_ms = line.frame.message().ts_ms if line.frame.type in {"orderbook_delta", "trade"} else 0
    return bool(ts_ms) and before_ms <= ts_ms < line.recv_ms - BACKLOG_MS


def _learn(tape: Tape, line: Line) -> None:
    frame = line.frame
    if frame.type not in BOOK_FRAMES and frame.type != "ticker":
        return
    message = frame.message()
    market = tape.markets.get(message.market_ticker)
    if market is None:
        market = tape.markets[message.market_ticker] = TapedMarket(message.market_ticker, message.market_id)
    if frame.type == "ticker":
        market.has_tickers = True
    elif frame.type == "orderbook_delta":
        market.note_price(parse_fixed(message.price_dollars, PRICE_DECIMALS))
        market.last_ms = line.recv_ms
    elif not message.yes_dollars_fp and not message.no_dollars_fp and market.closed_after_ms is None:
        market.closed_after_ms = market.last_ms - tape.first_ms
    else:
        for price in (*levels(message.yes_dollars_fp), *levels(message.no_dollars_fp)):
            market.note_price(price)


def to_object(raw: msgspec.Raw) -> dict[str, Any]:
    """Return a recorded message as it is."""
    found: dict[str, Any] = json.loads(bytes(raw))
    return found
