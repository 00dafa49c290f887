"""An exchange made of a recording: it numbers its frames, answers commands and knows its true books by a clock."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from typing import Any

from tests.markets.units import Place, count_units, mark, price_units


def dollars(units: int) -> str:
    return f"0.{units:04d}"


def contracts(units: int) -> str:
    return f"{'-' if units < 0 else ''}{abs(units) // 100}.{abs(units) % 100:02d}"


class Exchange:
    """The recorded markets as their exchange: true books, one connection, one sid at a time."""

    def __init__(self, tickers: Iterable[str]) -> None:
        self.clock = 0
        self.books: dict[str, dict[Place, int]] = {ticker: {} for ticker in tickers}
        self.sums: dict[str, int] = dict.fromkeys(self.books, 0)
        self.clocks: dict[str, int] = dict.fromkeys(self.books, 0)
        self.truth: dict[tuple[str, int], int] = {}  # (ticker, clock) → sum of the book
        self.changed_at: dict[tuple[str, int], int] = {}  # (ticker, clock) → when it was no longer the newest
        self.now_ms = 0
        self.out: deque[bytes] = deque()
        self.subscribed: dict[str, None] | None = None
        self._seq = self.sid = 0

    def open(self) -> None:
        """Begin a connection: nothing of an earlier one is continued."""
        self.out.clear()
        self.subscribed, self._seq, self.sid = None, 0, 0

    def end_sid(self) -> None:
        """End the subscription, as a buffer that overflows does."""
        self._say({"type": "error", "sid": self.sid, "seq": self._next(), "msg": {"code": 25, "msg": "overflow"}})
        self.subscribed = None

    def count_anew(self, after: int) -> None:
        """Number the frames of the same subscription anew."""
        self._seq = after

    def obey(self, command: dict[str, Any]) -> None:
        """Answer one command of the session."""
        number, verb = command["id"], command["cmd"]
        if verb == "list_subscriptions":
            self._say({"type": "ok", "id": number, "msg": []})
            return
        params = command["params"]
        named = [ticker for ticker in params.get("market_tickers", ()) if ticker in self.books]
        if verb == "subscribe":
            self.subscribed, self._seq, self.sid = dict.fromkeys(named), 0, self.sid + 1
            self._say({"type": "subscribed", "id": number, "msg": {"channel": "orderbook_delta", "sid": self.sid}})
        elif self.subscribed is None:
            self._say({"type": "error", "id": number, "msg": {"code": 7, "msg": "unknown sid"}})
            return
        elif params["action"] == "add_markets":
            self.subscribed.update(dict.fromkeys(named))
            self._say({"type": "ok", "id": number, "sid": self.sid, "seq": self._next(), "msg": {}})
        for ticker in named:
            self.show(ticker)

    def show(self, ticker: str) -> None:
        """Send a whole book."""
        book = self.books[ticker]
        sides = {
            side: sorted([dollars(price), contracts(size)] for (is_bid, price), size in book.items() if is_bid is bid)
            for side, bid in (("yes_dollars_fp", True), ("no_dollars_fp", False))
        }
        message = {"market_ticker": ticker, "clock": self.clocks[ticker]} | {k: v for k, v in sides.items() if v}
        self._say({"type": "orderbook_snapshot", "sid": self.sid, "seq": self._next(), "msg": message})

    def replace(self, message: dict[str, Any]) -> None:
        """Take a recorded whole book and send it."""
        ticker = message["market_ticker"]
        book = {(True, price_units(p)): count_units(c) for p, c in message.get("yes_dollars_fp") or []}
        book |= {(False, 10_000 - price_units(p)): count_units(c) for p, c in message.get("no_dollars_fp") or []}
        self.books[ticker], self.sums[ticker] = book, 0
        for place, size in book.items():
            self.sums[ticker] ^= mark(place, size)
        self._note(ticker)
        if self.subscribed is not None and ticker in self.subscribed:
            self.show(ticker)

    def change(self, ticker: str, place: Place, change: int) -> None:
        """Change one level and send that."""
        book = self.books[ticker]
        before = book.get(place, 0)
        after = before + change
        assert after >= 0, "the recording itself turns negative"
        self.sums[ticker] ^= mark(place, before) ^ mark(place, after)
        book[place] = after
        if not after:
            del book[place]
        self._note(ticker)
        if self.subscribed is None or ticker not in self.subscribed:
            return
        side, price = ("yes" if place[0] else "no"), dollars(place[1])
        self.out.append(
            f'{{"type":"orderbook_delta","sid":{self.sid},"seq":{self._next()},"msg":{{"market_ticker":"{ticker}",'
            f'"price_dollars":"{price}","delta_fp":"{contracts(change)}","side":"{side}",'
            f'"clock":{self.clock}}}}}'.encode()
        )

    def _note(self, ticker: str) -> None:
        self.clock += 1
        self.changed_at[ticker, self.clocks[ticker]] = self.now_ms
        self.clocks[ticker] = self.clock
        self.truth[ticker, self.clock] = self.sums[ticker]

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    def _say(self, frame: dict[str, Any]) -> None:
        self.out.append(json.dumps(frame).encode())
