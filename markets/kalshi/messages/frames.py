"""Reads one frame of the WebSocket: JSON as it comes in, a message in whole units as it goes out.

The NO side comes in one of two scales. With `use_yes_price: true`, which the feed always asks for, NO levels are in YES
prices: they stand in `no_dollars_fp` (or carry `side: "no"`) and are the asks as they are. Without it a NO bid at `n`
is an ask at `1 − n`. Which one it is cannot be seen in a frame, so whoever subscribed says so.
Source: Kalshi trade API v2, AsyncAPI of October 2026, `use_yes_price`; both scales of one level are on record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from markets.kalshi.errors import BadMessage
from markets.kalshi.messages.base import DECODE_ERRORS
from markets.kalshi.messages.stream import (
    BookDelta,
    BookSnapshot,
    Done,
    ErrorFrame,
    FillTick,
    Level,
    Lifecycle,
    Message,
    Other,
    Subscribed,
    TickerTick,
    TradeTick,
    Unsubscribed,
    UserOrder,
)
from markets.kalshi.prices import DOLLAR_UNITS, count_units_of, price_units_of

Natural = Annotated[int, Meta(ge=0)]
Ticker = Annotated[str, Meta(min_length=1, max_length=200)]
UNREAD_KINDS = frozenset(
    {"market_position", "event_lifecycle", "event_fee_update", "multivariate_market_lifecycle", "order_group_updates"}
)


class _SnapshotMsg(Struct):
    market_ticker: Ticker
    yes_dollars_fp: list[tuple[str, str]] | None = None
    no_dollars_fp: list[tuple[str, str]] | None = None
    clock: Natural | None = None


class _DeltaMsg(Struct):
    market_ticker: Ticker
    price_dollars: str
    delta_fp: str
    side: Literal["yes", "no"]
    ts_ms: int | None = None
    clock: Natural | None = None


class _TradeMsg(Struct):
    trade_id: str
    market_ticker: Ticker
    yes_price_dollars: str
    count_fp: str
    taker_outcome_side: Literal["yes", "no"] | None = None
    taker_side: Literal["yes", "no"] | None = None
    ts_ms: int | None = None


class _TickerMsg(Struct):
    market_ticker: Ticker
    price_dollars: str | None = None
    yes_bid_dollars: str | None = None
    yes_ask_dollars: str | None = None
    yes_bid_size_fp: str | None = None
    yes_ask_size_fp: str | None = None
    volume_fp: str | None = None
    open_interest_fp: str | None = None
    ts_ms: int | None = None


class _Band(Struct):
    start: str
    end: str
    step: str


class _LifecycleMsg(Struct):
    market_ticker: Ticker
    event_type: str
    open_ts: int | None = None
    close_ts: int | None = None
    price_ranges: list[_Band] | None = None
    result: str | None = None
    settlement_value: str | None = None


class _SubscribedMsg(Struct):
    channel: str
    sid: Natural


class _ErrorMsg(Struct):
    code: int
    msg: str = ""
    market_ticker: str | None = None
    market_tickers: list[str] | None = None


class _Typed(Struct, tag_field="type"):
    """Base of the frames: their key `type` names them."""


class _Snapshot(_Typed, tag="orderbook_snapshot"):
    sid: Natural
    seq: Natural
    msg: _SnapshotMsg


class _Delta(_Typed, tag="orderbook_delta"):
    sid: Natural
    seq: Natural
    msg: _DeltaMsg


class _Trade(_Typed, tag="trade"):
    sid: Natural
    seq: Natural
    msg: _TradeMsg


class _Ticker(_Typed, tag="ticker"):
    msg: _TickerMsg


class _Lifecycle(_Typed, tag="market_lifecycle_v2"):
    sid: Natural
    seq: Natural
    msg: _LifecycleMsg


class _UserOrder(_Typed, tag="user_order"):
    msg: UserOrder


class _Fill(_Typed, tag="fill"):
    msg: FillTick


class _Subscribed(_Typed, tag="subscribed"):
    msg: _SubscribedMsg
    id: int = 0


class _Ok(_Typed, tag="ok"):
    id: int = 0
    sid: Natural | None = None
    seq: Natural | None = None
    msg: Any = None


class _Unsubscribed(_Typed, tag="unsubscribed"):
    sid: Natural
    id: int = 0
    seq: Natural | None = None


class _Error(_Typed, tag="error"):
    msg: _ErrorMsg
    id: int = 0
    sid: Natural | None = None
    seq: Natural | None = None


class _Envelope(Struct):
    """As much of any frame as tells what it could have been about."""

    type: str
    sid: Any = None
    seq: Any = None
    msg: Any = None


_Any = (
    _Delta | _Snapshot | _Trade | _Ticker | _Lifecycle | _UserOrder | _Fill | _Subscribed | _Ok | _Unsubscribed | _Error
)
KINDS = frozenset(str(kind.__struct_config__.tag) for kind in get_args(_Any))
_decode = msgspec.json.Decoder(_Any).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode


def read_frame(raw: bytes | str, *, is_no_side_in_yes_prices: bool) -> Message:
    """Return what a frame says. Raises BadMessage, with ticker and position where they could be read."""
    try:
        frame = _decode(raw)
        if type(frame) is _Delta:  # nine in ten
            msg = frame.msg
            is_bid = msg.side == "yes"
            price = price_units_of(msg.price_dollars)
            if not is_bid and not is_no_side_in_yes_prices:
                price = DOLLAR_UNITS - price
            return BookDelta(
                msg.market_ticker,
                is_bid,
                price,
                count_units_of(msg.delta_fp),
                msg.ts_ms,
                msg.clock,
                frame.sid,
                frame.seq,
            )
        if type(frame) is _Snapshot:
            return _snapshot(frame, is_no_side_in_yes_prices)
        return _READERS[type(frame)](frame)
    except DECODE_ERRORS as exc:
        reason = str(exc)
    return _other(raw, reason)


def _snapshot(frame: _Snapshot, is_no_side_in_yes_prices: bool) -> BookSnapshot:
    msg = frame.msg
    asks = _levels(msg.no_dollars_fp)
    if not is_no_side_in_yes_prices:
        asks = tuple((DOLLAR_UNITS - price, size) for price, size in asks)
    return BookSnapshot(msg.market_ticker, _levels(msg.yes_dollars_fp), asks, frame.sid, frame.seq, msg.clock)


def _levels(levels: list[tuple[str, str]] | None) -> tuple[Level, ...]:
    return tuple([(price_units_of(price), count_units_of(size)) for price, size in levels or ()])


def _trade(frame: _Trade) -> TradeTick:
    msg = frame.msg
    side = msg.taker_outcome_side or msg.taker_side
    if side is None:
        raise ValueError("a trade without a taker's side")
    price, count = price_units_of(msg.yes_price_dollars), count_units_of(msg.count_fp)
    return TradeTick(msg.market_ticker, msg.trade_id, price, count, side, msg.ts_ms, frame.sid, frame.seq)


def _ticker(frame: _Ticker) -> TickerTick:
    msg = frame.msg
    return TickerTick(
        msg.market_ticker,
        _price(msg.price_dollars),
        _price(msg.yes_bid_dollars),
        _price(msg.yes_ask_dollars),
        _count(msg.yes_bid_size_fp),
        _count(msg.yes_ask_size_fp),
        _count(msg.volume_fp),
        _count(msg.open_interest_fp),
        msg.ts_ms,
    )


def _lifecycle(frame: _Lifecycle) -> Lifecycle:
    msg = frame.msg
    return Lifecycle(
        ticker=msg.market_ticker,
        event_type=msg.event_type,
        close_ms=None if msg.close_ts is None else msg.close_ts * 1000,
        open_ms=None if msg.open_ts is None else msg.open_ts * 1000,
        bands=_bands(msg.price_ranges),
        result=msg.result,
        settlement_units=_price(msg.settlement_value),
        sid=frame.sid,
        seq=frame.seq,
    )


def _bands(ranges: list[_Band] | None) -> tuple[tuple[int, int, int], ...] | None:
    if ranges is None:
        return None
    return tuple((price_units_of(band.start), price_units_of(band.end), price_units_of(band.step)) for band in ranges)


def _price(text: str | None) -> int | None:
    return None if not text else price_units_of(text)


def _count(text: str | None) -> int | None:
    return None if not text else count_units_of(text)


def _ok(frame: _Ok) -> Done:
    listed = frame.msg.get("market_tickers") if isinstance(frame.msg, dict) else None
    tickers = tuple(name for name in listed if isinstance(name, str)) if isinstance(listed, list) else None
    return Done(frame.id, frame.sid, frame.seq, tickers)


def _error(frame: _Error) -> ErrorFrame:
    msg = frame.msg
    tickers = [*(msg.market_tickers or ()), *([msg.market_ticker] if msg.market_ticker else ())]
    return ErrorFrame(frame.id, frame.sid, frame.seq, msg.code, msg.msg[:200], tuple(dict.fromkeys(tickers)))


_READERS: dict[type, Callable[[Any], Message]] = {
    _Trade: _trade,
    _Ticker: _ticker,
    _Lifecycle: _lifecycle,
    _UserOrder: lambda frame: frame.msg,
    _Fill: lambda frame: frame.msg,
    _Subscribed: lambda frame: Subscribed(frame.id, frame.msg.channel, frame.msg.sid),
    _Ok: _ok,
    _Unsubscribed: lambda frame: Unsubscribed(frame.id, frame.sid, frame.seq),
    _Error: _error,
}


def _other(raw: bytes | str, reason: str) -> Message:
    """Return a frame of a kind that we do not read; raise for anything else, saying what it was about."""
    try:
        found = _decode_envelope(raw)
    except DECODE_ERRORS:
        raise BadMessage(f"a frame that cannot be read: {reason}"[:200]) from None
    sid, seq = _natural(found.sid), _natural(found.seq)
    if found.type in UNREAD_KINDS:
        return Other(found.type, sid, seq)
    name = found.msg.get("market_ticker") if isinstance(found.msg, dict) else None
    ticker = name if isinstance(name, str) and 0 < len(name) <= 200 else None
    is_new = found.type not in KINDS
    kind = found.type[:40]
    raise BadMessage(f"{kind}: {reason}"[:200], ticker=ticker, is_new_kind=is_new, kind=kind, sid=sid, seq=seq)


def _natural(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
