"""What relay, hubs and browsers say to each other about books.

Prices are integers of $0.0001 on the YES scale, sizes integers of 0.01 contract, times milliseconds since 1970.
A frame is encoded once, by the relay; from there on it is passed as text. A browser receives JSON arrays of frames
and sends single JSON objects; both directions are ASCII, so that a text's length is its number of bytes.

Every book frame carries the relay's epoch `e`, the market's number `n` (book, delta and state frames count up by one)
and `up` = [connection, sid, seq, clock or null], the newest upstream message it contains. Sizes are absolute: a frame
that comes twice, or merges several changes, is harmless. A `book` frame sent as an answer repeats the current number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal, NotRequired, TypedDict

import msgspec

State = Literal["LIVE", "STALE", "RESYNC", "DOWN", "POLLED", "PAUSED", "CLOSED"]
FeedState = Literal["live", "stale", "down", "polled"]
Upstream = tuple[int, int, int, int | None]  # connection, sid, seq, clock
Side = Literal["yes", "no"]

TICKER_MOST = 200  # characters, as the exchange allows and the catalogue keeps
_TICKER = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{TICKER_MOST - 1}}}", re.ASCII)


def is_ticker(text: str) -> bool:
    """Say whether a market can be called so."""
    return _TICKER.fullmatch(text) is not None


class BookFrame(TypedDict):
    """A whole book; replaces what the browser had. `quiet` is how long ago its market was last heard of, in ms."""

    t: Literal["book"]
    env: str
    m: str
    e: str
    n: int
    up: Upstream | None
    ts: int | None
    at: int
    quiet: int | None
    state: State
    why: str
    bids: Sequence[tuple[int, int]]
    asks: Sequence[tuple[int, int]]
    grid: Sequence[tuple[int, int, int]] | None
    status: str
    close: int | None
    replay: bool
    last: tuple[int, int, Side, int | None] | None
    k: int


class DeltaFrame(TypedDict):
    """Levels that changed, with their new absolute sizes; 0 removes a level."""

    t: Literal["delta"]
    env: str
    m: str
    e: str
    n: int
    up: Upstream | None
    ts: int | None
    at: int
    b: Sequence[tuple[int, int]]
    a: Sequence[tuple[int, int]]


class StateFrame(TypedDict):
    """How far the book may be believed from here on, with a reason for a person."""

    t: Literal["state"]
    env: str
    m: str
    e: str
    n: int
    state: State
    why: str
    at: int
    status: str
    close: int | None


class TradeFrame(TypedDict):
    """One trade; `k` counts up by one per market, holes are asked for again."""

    t: Literal["trade"]
    env: str
    m: str
    e: str
    k: int
    p: int
    c: int
    side: Side
    ts: int | None
    id: str


class TopFrame(TypedDict):
    """Best prices of a market, for lists; replaces the one before. Of another epoch than the beat's it tells nothing.

    `at` is when a book without a stream was read last: each reading is told, whether or not a price has changed.
    """

    t: Literal["top"]
    env: str
    m: str
    e: str
    bid: int | None
    bid_size: int | None
    ask: int | None
    ask_size: int | None
    last: int | None
    state: State
    ts: int | None
    at: int | None


class BeatFrame(TypedDict):
    """Once a second: how alive the way upstream is. `hub_ms` is filled in by the hub."""

    t: Literal["beat"]
    env: str
    e: str
    at: int
    feed: FeedState
    why: str
    age: int | None
    heard: int | None
    hub_ms: int


class ErrorFrame(TypedDict):
    """A refusal or a warning, in one sentence."""

    t: Literal["error"]
    code: str
    text: str
    env: NotRequired[str]
    m: NotRequired[str]


# --- browser → server ---------------------------------------------------------------------------


class _Op(msgspec.Struct, tag_field="op", frozen=True):
    pass


class Watch(_Op, tag="watch", frozen=True):
    """Add markets: whole books, and tops for lists."""

    env: str
    books: list[str] = []
    tops: list[str] = []


class Unwatch(_Op, tag="unwatch", frozen=True):
    """Take markets off again."""

    env: str
    books: list[str] = []
    tops: list[str] = []


class Snapshot(_Op, tag="snapshot", frozen=True):
    """Ask for one whole book: something was missing."""

    env: str
    m: str


class Trades(_Op, tag="trades", frozen=True):
    """Ask for the trades of one market after number `after`, as far back as the relay remembers."""

    env: str
    m: str
    after: int = 0


class Ack(_Op, tag="ack", frozen=True):
    """Say how many bytes of frames have arrived on this connection since it opened."""

    bytes: int


Op = Watch | Unwatch | Snapshot | Trades | Ack

_decoder = msgspec.json.Decoder(Op)
_encoder = msgspec.json.Encoder()


class BadOp(Exception):
    """A message from a browser that we do not understand; the text may be shown to it."""


def read_op(text: str) -> Op:
    """Return the message of a browser. Raises BadOp."""
    try:
        op: Op = _decoder.decode(text)
    except (msgspec.ValidationError, msgspec.DecodeError) as exc:
        raise BadOp(str(exc).encode("ascii", "replace").decode()) from None
    return op


def encode(frame: Any) -> str:
    """Return one frame as JSON text, in ASCII: pages count its characters as the bytes that have arrived."""
    text = _encoder.encode(frame).decode()
    return text if text.isascii() else json.dumps(json.loads(text), separators=(",", ":"))


def join(encoded: Sequence[str]) -> str:
    """Return one text message of several encoded frames."""
    return "[" + ",".join(encoded) + "]"


# --- relay ↔ hubs, over the channel layer ---------------------------------------------------------

# A frame on its way to a hub. Kinds: `book delta state trade top` go to everybody who watches the market,
# `snap` (a book) and `past` (trades, joined by commas) to those who asked, `error` to those who wait for the market.
Entry = tuple[str, str, int, str]  # kind, ticker, number, encoded


class RelayWish(TypedDict):
    """Everything one hub's browsers watch, and how often it can take a market's frames.

    Said on change and every few seconds, valid for a lease.
    """

    type: Literal["relay.wish"]
    hub: str
    books: Sequence[str]
    tops: Sequence[str]
    pace_ms: int
    anew: NotRequired[bool]  # the hub may have lost whatever it was told


class RelayAsk(TypedDict):
    """A hub wants whole books of these markets, now."""

    type: Literal["relay.ask"]
    hub: str
    tickers: Sequence[str]


class RelayTrades(TypedDict):
    """A hub wants the remembered trades of these markets: (ticker, number they are wanted after)."""

    type: Literal["relay.trades"]
    hub: str
    wanted: Sequence[tuple[str, int]]


class HubFrames(TypedDict):
    """One tick's frames of all markets a hub wants; a relay with a lower `fence` than one heard before is deposed.

    With the beat come the books' current numbers: the last frame before a silence may be the one that was lost.
    """

    type: Literal["hub.frames"]
    env: str
    e: str
    fence: int
    frames: Sequence[Entry]
    beat: BeatFrame | None
    numbers: dict[str, int] | None


def relay_group(environment: str) -> str:
    """Return the group that an environment's relay listens on."""
    return f"relay.{environment}"
