"""What may go wrong with the stream: S1 to S16 of the fault knobs.

A frame fault returns what goes out instead of one frame; the number that the frame used is used up whatever happens.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from markets.sandbox import frames
from markets.sandbox.errors import answer_of, unauthenticated
from markets.sandbox.faults import Fault, FrameFault, Gone
from markets.sandbox.refusals import Refusal
from markets.sandbox.subscriptions import ERRORS
from markets.sandbox.web import Answer, text

if TYPE_CHECKING:
    from markets.sandbox.sessions import Subscription
    from markets.sandbox.venue import Venue

HUGE_BYTES = 10 * 1024 * 1024
DEPTH = 5000
TEXT, BINARY = 1, 2
FRAMES: dict[str, FrameFault] = {}


def _frame_fault(*names: str) -> Callable[[FrameFault], FrameFault]:
    def register(function: FrameFault) -> FrameFault:
        FRAMES.update(dict.fromkeys(names, function))
        return function

    return register


def _changed(frame: str, **fields: Any) -> str:
    return msgspec.json.encode({**msgspec.json.decode(frame), **fields}).decode() + "\n"


def _changed_message(frame: str, **fields: Any) -> str:
    body = msgspec.json.decode(frame)
    return _changed(frame, msg={**body.get("msg", {}), **fields})


@_frame_fault("S1", "S16")
def lose(venue: Venue, fault: Fault, subscription: Subscription | None, kind: str, frame: str) -> Iterable[str]:
    """S1, S16: the frame is lost; S16 is meant for replies, matched by type ok or subscribed."""
    return []


@_frame_fault("S2")
def repeat(venue: Venue, fault: Fault, subscription: Subscription | None, kind: str, frame: str) -> Iterable[str]:
    """S2: the frame comes `times` times, twice unless told otherwise."""
    return [frame] * int(fault.params.get("times", 2))


@_frame_fault("S3")
def swap(venue: Venue, fault: Fault, subscription: Subscription | None, kind: str, frame: str) -> Iterable[str]:
    """S3: two neighbouring frames come in the wrong order."""
    held = fault.kept.pop("held", None)
    if held is None:
        fault.kept["held"] = frame
        return []
    return [frame, held]


@_frame_fault("S4")
def restart(venue: Venue, fault: Fault, subscription: Subscription | None, kind: str, frame: str) -> Iterable[str]:
    """S4: numbers of the sid begin again at `seq`, 1 unless told otherwise."""
    if subscription is not None and subscription.counts:
        subscription.seq = int(fault.params.get("seq", 1))
        return [_changed(frame, seq=subscription.seq)]
    return [frame]


@_frame_fault("S5")
def late_snapshot(
    venue: Venue, fault: Fault, subscription: Subscription | None, kind: str, frame: str
) -> Iterable[str]:
    """S5: a snapshot comes behind the next change."""
    if kind == "orderbook_snapshot":
        fault.kept["held"] = frame
        return []
    held = fault.kept.pop("held", None)
    return [frame] if held is None else [frame, held]


@_frame_fault("S6")
def extra_snapshot(
    venue: Venue, fault: Fault, subscription: Subscription | None, kind: str, frame: str
) -> Iterable[str]:
    """S6: a whole book comes unasked behind a change."""
    view = None if subscription is None else venue.view(msgspec.json.decode(frame)["msg"]["market_ticker"])
    if view is None or subscription is None or kind != "orderbook_delta":
        return [frame]
    body = msgspec.json.decode(view.body(use_yes_price=subscription.use_yes_price))
    return [frame, _changed(frame, type="orderbook_snapshot", seq=subscription.next_seq(), msg=body)]


@_frame_fault("S7")
def corrupt(venue: Venue, fault: Fault, subscription: Subscription | None, kind: str, frame: str) -> Iterable[str]:
    """S7: a change is `kind` negative, zero, crossed, or off_tick."""
    if kind != "orderbook_delta":
        return [frame]
    changes: dict[str, dict[str, Any]] = {
        "negative": {"delta_fp": "-99999999.00"},
        "zero": {"delta_fp": "0.00"},
        "crossed": {"side": "yes", "price_dollars": "0.9900", "delta_fp": "5.00"},
        "off_tick": {"price_dollars": "0.1234", "delta_fp": "5.00"},
    }
    return [_changed_message(frame, **changes[fault.params.get("kind", "negative")])]


@_frame_fault("S8")
def surprise(venue: Venue, fault: Fault, subscription: Subscription | None, kind: str, frame: str) -> Iterable[str]:
    """S8: `kind` type (unknown), field (one more), sid (of nobody), error (`code` ends the sid), or refusal: a reply
    says `code`, 18 (timeout) unless told otherwise, though the command was obeyed.
    """
    what = fault.params.get("kind", "type")
    if what == "field":
        return [_changed_message(frame, surprise={"a": [1, None]})]
    if what == "sid":
        return [_changed(frame, sid=int(fault.params.get("sid", 4242)))]
    if what == "error" and subscription is not None:
        code = int(fault.params.get("code", 10))
        subscription.session.terminate(subscription, code, str(fault.params.get("msg", "Channel error")))
        return []
    if what == "refusal":
        code, asked = int(fault.params.get("code", 18)), msgspec.json.decode(frame)
        msg = {"code": code, "msg": ERRORS[code]}
        return [frames.reply("error", asked["sending_ts_ms"], command=asked.get("id", 0), msg=msg)]
    return [_changed(frame, type="surprise")]


@_frame_fault("S9")
def garble(venue: Venue, fault: Fault, subscription: Subscription | None, kind: str, frame: str) -> Iterable[str]:
    """S9: the frame is `kind` malformed, truncated, huge, deep, nan, binary, fragmented, bad_utf8 or bad_close."""
    what = fault.params.get("kind", "malformed")
    plain = {
        "malformed": lambda: frame.replace(":", ";", 3),
        "truncated": lambda: frame[: len(frame) // 2],
        "huge": lambda: _changed(frame, padding="x" * HUGE_BYTES),
        "deep": lambda: "[" * DEPTH + "]" * DEPTH,
        "nan": lambda: re.sub(r'"delta_fp":"[^"]*"', '"delta_fp":NaN', frame),
    }
    if what in plain:
        return [plain[what]()]
    if subscription is not None:
        subscription.session.act(lambda wire: _raw(wire, what, frame))
    return []


def _raw(wire: Any, what: str, frame: str) -> None:
    payload = frame.encode()
    if what == "binary":
        wire.send_frame(BINARY, payload)
    elif what == "bad_utf8":
        wire.send_frame(TEXT, b'{"type":"\xff\xfe"}')
    elif what == "bad_close":
        wire.send_frame(8, b"\x00\x05")
    else:
        middle = len(payload) // 2
        wire.send_frame(TEXT, payload[:middle], final=False)
        wire.send_frame(0, payload[middle:])


@_frame_fault("S10")
def end(venue: Venue, fault: Fault, subscription: Subscription | None, kind: str, frame: str) -> Iterable[str]:
    """S10: the connection ends instead of the frame: `kind` reset, mid_frame (reset inside a frame), or close."""
    if subscription is not None:
        what = fault.params.get("kind", "close")
        subscription.session.act(lambda wire: _end(wire, what, frame.encode()))
    return []


def _end(wire: Any, what: str, payload: bytes) -> None:
    if what == "mid_frame":
        # A text frame announced longer than what follows; the rest never comes.
        wire.write(b"\x81\x7e" + min(len(payload), 65_535).to_bytes(2, "big") + payload[: len(payload) // 2])
        asyncio.get_running_loop().call_later(0.05, wire.reset)
    elif what == "reset":
        wire.reset()
    else:
        wire.close()


@_frame_fault("S11")
def fall_silent(venue: Venue, fault: Fault, subscription: Subscription | None, kind: str, frame: str) -> Iterable[str]:
    """S11: nothing any more on this open connection for `seconds` (for ever unless given); `pings` go on if told so."""
    if subscription is None:
        return [frame]
    session = subscription.session
    if fault.params.get("pings", False):
        session.is_still = True
    else:
        session.hold()
        session.is_deaf = True
        session.wire.stop_reading()
    if "seconds" in fault.params:
        asyncio.get_running_loop().call_later(fault.params["seconds"], session.release)
    return [frame]


@_frame_fault("S12")
def slow_down(venue: Venue, fault: Fault, subscription: Subscription | None, kind: str, frame: str) -> Iterable[str]:
    """S12: `frames_a_second` and no more, or (`burst_seconds`) everything held back and let go at once."""
    if subscription is None:
        return [frame]
    session = subscription.session
    if "burst_seconds" in fault.params:
        if not session.is_held:
            session.hold()
            asyncio.get_running_loop().call_later(fault.params["burst_seconds"], session.release)
    else:
        session.pause_seconds = 1 / float(fault.params.get("frames_a_second", 10))
    return [frame]


@_frame_fault("S13")
def private(venue: Venue, fault: Fault, subscription: Subscription | None, kind: str, frame: str) -> Iterable[str]:
    """S13: a private message is `kind` missing, repeated, or late by `seconds`."""
    if kind not in {"fill", "user_order", "market_position"} or subscription is None:
        return [frame]
    what = fault.params.get("kind", "missing")
    if what == "repeated":
        return [frame, frame]
    if what == "late":
        later = asyncio.get_running_loop().call_later
        later(fault.params.get("seconds", 1.0), subscription.session.queue, subscription, frame)
    return []


@_frame_fault("S15")
def skew(venue: Venue, fault: Fault, subscription: Subscription | None, kind: str, frame: str) -> Iterable[str]:
    """S15: times are off by `ms`; `kind` engine (ts_ms), sending, or absent (an exchange of before October 2026)."""
    what, ms = fault.params.get("kind", "engine"), int(fault.params.get("ms", -30_000))
    body = msgspec.json.decode(frame)
    message = body.get("msg")
    if what == "absent":
        body.pop("sending_ts_ms", None)
        if isinstance(message, dict):
            message.pop("clock", None)
    elif what == "sending":
        body["sending_ts_ms"] += ms
    elif isinstance(message, dict) and "ts_ms" in message:
        message["ts_ms"] += ms
    return [msgspec.json.encode(body).decode() + "\n"]


# --- the handshake ------------------------------------------------------------------------------------------


def dial(fault: Fault, wire: Any) -> Answer:
    """S10 on dial (`D10`): the handshake is answered with `status`, or the connection ends (`kind` drop, reset)."""
    kind = fault.params.get("kind", "status")
    if kind == "drop":
        wire.close()
        raise Gone
    if kind == "reset":
        wire.reset()
        raise Gone
    status = int(fault.params.get("status", 502))
    if status == 401:
        return answer_of(unauthenticated(fault.params.get("cause", "bad_signature")))
    if status == 429:
        return answer_of(Refusal(429, "too_many_requests"))
    return text("Bad Gateway\n", status)


HANDSHAKES: dict[str, Callable[[Fault, Any], Answer]] = {"D10": dial}
