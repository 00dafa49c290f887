"""An order book folded from a recording by the plainest means, to judge what the desk shows.

Nothing of the product is imported: levels are `Decimal`, the fold is a dictionary, the position is the line of the
recording. Frames follow the channel `orderbook_delta` of Kalshi's trade API v2: sizes of a snapshot are absolute, a
delta is a signed change, NO levels come in NO prices and an absent side is an empty one.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

ONE = Decimal(1)


@dataclass
class TrueBook:
    """One market as the recording says it is: YES bids, and YES asks made of NO bids."""

    bids: dict[Decimal, Decimal] = field(default_factory=dict)
    asks: dict[Decimal, Decimal] = field(default_factory=dict)

    def replace(self, message: dict[str, Any]) -> None:
        """Take a snapshot; a side that is not named is empty."""
        self.bids = {Decimal(p): Decimal(c) for p, c in message.get("yes_dollars_fp") or []}
        self.asks = {ONE - Decimal(p): Decimal(c) for p, c in message.get("no_dollars_fp") or []}

    def change(self, message: dict[str, Any]) -> None:
        """Add a signed change to one level; a level at zero is gone."""
        price = Decimal(message["price_dollars"])
        side, level = (self.bids, price) if message["side"] == "yes" else (self.asks, ONE - price)
        size = side.get(level, Decimal(0)) + Decimal(message["delta_fp"])
        assert size >= 0, f"the recording itself turns negative at {level}"
        if size:
            side[level] = size
        else:
            side.pop(level, None)

    def in_units(self) -> tuple[dict[int, int], dict[int, int]]:
        """Return both sides in units of $0.0001 and 0.01 contract, as frames carry them."""
        return _units(self.bids), _units(self.asks)


def _units(side: dict[Decimal, Decimal]) -> dict[int, int]:
    return {int(price * 10_000): int(count * 100) for price, count in side.items()}


def read_tape(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield (line counted from 1, the receiver's clock in ms, frame) of a recording."""
    with _open(path) as lines:
        for number, line in enumerate(lines, start=1):
            entry = json.loads(line)
            yield number, entry["recv_ms"], entry["frame"]


def tickers_of(path: Path) -> list[str]:
    """Return every market of a recording, in order of appearance."""
    seen: dict[str, None] = {}
    with _open(path) as lines:
        # One line in hundreds is a whole book: the others need not be parsed to know that.
        for frame in (json.loads(line)["frame"] for line in lines if "orderbook_snapshot" in line):
            if frame["type"] == "orderbook_snapshot":
                seen.setdefault(frame["msg"]["market_ticker"])
    return list(seen)


def _open(path: Path) -> TextIO:
    return gzip.open(path, "rt") if path.suffix == ".gz" else path.open()


def differences(path: Path, samples: list[dict[str, Any]]) -> list[str]:
    """Compare what a page held with the recording at exactly the line each sample names.

    A sample is {"m": ticker, "line": int, "bids": [[price, size]…], "asks": […]} in frame units. Returns a sentence
    for each sample that differs, and one for each that names a line that is no book frame of its market.
    """
    waiting: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for sample in samples:
        waiting[sample["line"]].append(sample)
    books: dict[str, TrueBook] = defaultdict(TrueBook)
    found: list[str] = []
    for line, _, frame in read_tape(path):
        if frame["type"] not in {"orderbook_snapshot", "orderbook_delta"}:
            continue
        ticker = frame["msg"]["market_ticker"]
        book = books[ticker]
        (book.replace if frame["type"] == "orderbook_snapshot" else book.change)(frame["msg"])
        found += [_difference(sample, ticker, book) for sample in waiting.pop(line, [])]
    found += [f"line {line} is no book frame of the recording" for line in waiting]
    return [sentence for sentence in found if sentence]


def _difference(sample: dict[str, Any], ticker: str, book: TrueBook) -> str:
    if sample["m"] != ticker:
        return f"line {sample['line']} belongs to {ticker}, the page said {sample['m']}"
    bids, asks = book.in_units()
    if dict(map(tuple, sample["bids"])) != bids:
        return f"{ticker} at line {sample['line']}: bids differ"
    if dict(map(tuple, sample["asks"])) != asks:
        return f"{ticker} at line {sample['line']}: asks differ"
    return ""
