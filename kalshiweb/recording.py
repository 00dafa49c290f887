"""What the exchange's feed sends, written to a file as a tape: a receiver's clock and a frame a line.

Tapes have one form, that of the recordings which the local exchange replays: NO levels in NO prices. The desk
subscribes with both sides in YES prices, so the NO side is turned back on the way to the file; the account's own marks
are left out.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TextIO

from markets.kalshi.clock import wall_ms

OWN_MARKS = ("client_order_id", "subaccount")
ONE = Decimal(1)
LEFT_OUT = frozenset({"user_order", "fill", "market_position", "order_group_updates"})  # not asked for; never written


class Recording:
    """One tape being written; a file that exists is not written over (FileExistsError). Use as a context manager."""

    def __init__(self, path: Path, *, clock: Callable[[], int] = wall_ms) -> None:
        self.counts: Counter[str] = Counter()
        self.tickers: set[str] = set()
        self._clock = clock
        self._file = _created(path)

    def __enter__(self) -> Recording:
        """Begin."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the file."""
        self._file.close()

    def take(self, raw: bytes) -> None:
        """Write one frame as it came, but for marks and the NO side's scale; one that is no frame is only counted."""
        try:
            frame = taped(json.loads(raw))
        except (ValueError, TypeError, KeyError, InvalidOperation):
            self.counts["unreadable"] += 1
            return
        if frame is None:
            return
        self._file.write(json.dumps({"recv_ms": self._clock(), "frame": frame}, separators=(",", ":")) + "\n")
        self.counts[frame["type"]] += 1
        if isinstance(frame.get("msg"), dict) and "market_ticker" in frame["msg"]:
            self.tickers.add(frame["msg"]["market_ticker"])


def _created(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "xt")
    return path.open("x")


def taped(frame: dict[str, Any]) -> dict[str, Any] | None:
    """Return a frame as tapes hold it, None for one of the account's own. Raises ValueError and its kin for others."""
    if frame["type"] in LEFT_OUT:
        return None
    message = frame.get("msg")
    if not isinstance(message, dict):
        return frame
    message = {name: value for name, value in message.items() if name not in OWN_MARKS}
    if frame["type"] == "orderbook_snapshot" and message.get("no_dollars_fp"):
        message["no_dollars_fp"] = sorted([_turned(price), size] for price, size in message["no_dollars_fp"])
    elif frame["type"] == "orderbook_delta" and message["side"] == "no":
        message["price_dollars"] = _turned(message["price_dollars"])
    return {**frame, "msg": message}


def _turned(price: str) -> str:
    return f"{ONE - Decimal(price):.4f}"
