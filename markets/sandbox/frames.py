"""The text of stream frames: what is the same for every subscriber is encoded once, the rest is put around it.

A frame is type, sid, seq, msg, time of sending and a newline. Prices arrive here in units of $0.0001 and counts in
0.01 contract. Source: Kalshi trade API v2, AsyncAPI document of October 2026; key order and newline as recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from markets.sandbox.numbers import DOLLAR, count_text, price_text

_encode = msgspec.json.encode


def to_text(body: Any) -> str:
    """Encode any body as compact JSON text."""
    return _encode(body).decode()


def time_text(at_ms: int) -> str:
    """Write a moment as RFC 3339 with trailing zeros of the fraction trimmed, as the exchange does."""
    return micros_text(at_ms * 1000)


def micros_text(at_us: int) -> str:
    """Write a moment given in µs; the fraction has no trailing zeros and goes when it is zero."""
    seconds, fraction = divmod(at_us, 1_000_000)
    stamp = _second_text(seconds)
    if fraction == 0:
        return f"{stamp}Z"
    return f"{stamp}.{fraction:06d}".rstrip("0") + "Z"


@lru_cache(maxsize=256)
def _second_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def numbered(kind: str, sid: int, seq: int, *, body: str, sent_ms: int, command: int = 0) -> str:
    """Return a frame of a channel that counts its frames; `command` is the id of the command that asked for it."""
    asked = f'"id":{command},' if command else ""
    return f'{{"type":"{kind}",{asked}"sid":{sid},"seq":{seq},"msg":{body},"sending_ts_ms":{sent_ms}}}\n'


def plain(kind: str, sid: int, *, body: str, sent_ms: int) -> str:
    """Return a frame of a channel that does not count."""
    return f'{{"type":"{kind}","sid":{sid},"msg":{body},"sending_ts_ms":{sent_ms}}}\n'


def reply(kind: str, sent_ms: int, *, command: int, **fields: Any) -> str:
    """Return an answer to a command; a field that is None is left out, and so is a command without an id."""
    body: dict[str, Any] = {"type": kind}
    if command:
        body["id"] = command
    body |= {name: value for name, value in fields.items() if value is not None}
    body["sending_ts_ms"] = sent_ms
    return to_text(body) + "\n"


def levels_text(levels: Iterable[tuple[int, int]]) -> str:
    """Return levels as the wire has them, in the order given."""
    return "[" + ",".join(f'["{price_text(price)}","{count_text(count)}"]' for price, count in levels) + "]"


def snapshot_body(
    ticker: str,
    market_id: str,
    *,
    clock: int,
    bids: Mapping[int, int],
    asks: Mapping[int, int],
    use_yes_price: bool,
    keeps_no_order: bool = False,
) -> str:
    """Return a whole book given at YES prices; an empty side is left out, levels ascend as they are quoted.

    With `keeps_no_order` a NO side in YES prices stays in the order of its NO prices, the best last.
    """
    text = f'{{"market_ticker":"{ticker}","market_id":"{market_id}","clock":{clock}'
    if bids:
        text += f',"yes_dollars_fp":{levels_text(sorted(bids.items()))}'
    if asks:
        quoted = asks if use_yes_price else {DOLLAR - price: count for price, count in asks.items()}
        levels = sorted(quoted.items(), reverse=use_yes_price and keeps_no_order)
        text += f',"no_dollars_fp":{levels_text(levels)}'
    return text + "}"


def delta_body(
    ticker: str,
    market_id: str,
    *,
    clock: int,
    price: int,
    change: int,
    is_bid: bool,
    ts_ms: int,
    own: str = "",
) -> str:
    """Return one change of one level; `price` is already on the subscriber's scale, `own` marks its own order."""
    return (
        f'{{"market_ticker":"{ticker}","market_id":"{market_id}","clock":{clock},'
        f'"price_dollars":"{price_text(price)}","delta_fp":"{count_text(change)}",'
        f'"side":"{"yes" if is_bid else "no"}"{own},"ts":"{time_text(ts_ms)}","ts_ms":{ts_ms}}}'
    )
