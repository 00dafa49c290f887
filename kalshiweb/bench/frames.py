"""Frames of the exchange for the ingest bench: recorded ones, or made by our own local exchange where there are none.

Sids, numbers and prices are written anew: one sid for books (1) and one for trades (2), `seq` dense from 1, the NO side
in YES prices as the feed asks for. Beside each stands the frame in NO prices, as clients get it that do not ask.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DOLLAR = 10_000
TAPE = "gold15m_nine_markets.jsonl.gz"
SID = {"orderbook_snapshot": 1, "orderbook_delta": 1, "trade": 2}
Sides = dict[str, dict[str, dict[int, int]]]


@dataclass(slots=True)
class Stream:
    """Frames in order, in both scales, and the books they end in: ticker → bids and asks, in whole units."""

    source: str
    yes_scale: list[bytes] = field(default_factory=list)
    no_scale: list[bytes] = field(default_factory=list)
    books: Sides = field(default_factory=dict)
    tickers: list[str] = field(default_factory=list)
    last_seq: dict[int, int] = field(default_factory=lambda: {1: 0, 2: 0})

    def add(self, frame: dict[str, Any]) -> None:
        """Add one frame in NO prices, numbered anew."""
        sid = SID[frame["type"]]
        self.last_seq[sid] += 1
        numbered = frame | {"sid": sid, "seq": self.last_seq[sid]}
        self.no_scale.append(_text(numbered))
        self.yes_scale.append(_text(numbered | {"msg": _in_yes_prices(frame["type"], frame["msg"])}))
        self._fold(frame["type"], frame["msg"])

    def _fold(self, kind: str, msg: dict[str, Any]) -> None:
        ticker = msg["market_ticker"]
        if kind == "orderbook_snapshot":
            self.books[ticker] = {"bids": _levels(msg, "yes"), "asks": _mirrored(_levels(msg, "no"))}
        elif kind == "orderbook_delta":
            is_bid = msg["side"] == "yes"
            price = _units(msg["price_dollars"], 4)
            side = self.books[ticker]["bids" if is_bid else "asks"]
            price = price if is_bid else DOLLAR - price
            side[price] = side.get(price, 0) + _units(msg["delta_fp"], 2)
            if side[price] == 0:
                del side[price]
        if ticker not in self.tickers:
            self.tickers.append(ticker)


def tape() -> Path | None:
    """Return the recording that the bench replays, None where the machine has none."""
    folder = Path(os.environ.get("KALSHIWEB_RECORDINGS", ROOT.parent / "shared" / "recordings"))
    found = folder / "tapes" / TAPE
    return found if found.is_file() else None


def stream(most: int, *, markets: int | None = None) -> Stream:
    """Return `most` frames; with `markets`, each market is told under several names until there are so many."""
    path = tape()
    made = Stream("our own local exchange" if path is None else f"recording {path.name}")
    frames = _made() if path is None else _recorded(path)
    for frame in islice(frames if markets is None else _renamed(frames, markets), most):
        made.add(frame)
    return made


def _recorded(path: Path) -> Iterator[dict[str, Any]]:
    known: set[str] = set()
    with gzip.open(path, "rb") as lines:
        for raw in lines:
            frame: dict[str, Any] = json.loads(raw)["frame"]
            if frame["type"] not in SID:
                continue
            ticker = frame["msg"]["market_ticker"]
            if frame["type"] == "orderbook_snapshot":
                known.add(ticker)
            if ticker in known:
                yield frame


def _renamed(frames: Iterable[dict[str, Any]], markets: int) -> Iterator[dict[str, Any]]:
    """Tell each market under several names; whose turn it is to get one more goes by order of appearance."""
    names: dict[str, list[str]] = {}
    fresh = (f"BENCH-{number:03d}" for number in range(markets))
    for frame in frames:
        ticker = frame["msg"]["market_ticker"]
        if ticker not in names:
            names[ticker] = list(islice(fresh, -(-markets // 9)))
        for name in names[ticker]:
            yield frame | {"msg": frame["msg"] | {"market_ticker": name}}


def _made() -> Iterator[dict[str, Any]]:
    """Yield what a subscriber of a local exchange hears whose makers never rest."""
    from markets.sandbox.listing import Listing
    from markets.sandbox.makers import Makers
    from markets.sandbox.sessions import Session
    from markets.sandbox.subscriptions import Commands
    from markets.sandbox.venue import Venue

    heard: list[str] = []
    venue = Venue(seed=1)
    listing = Listing(venue, markets=12)
    listing.fill()
    makers = Makers(venue, listing, seed=1)
    makers.begin()
    session = Session(_nowhere, None, member="", subaccount=None, now_ms=venue.now_ms)
    session.meddler = _Eavesdropper(heard)
    tickers = random.Random(1).sample(sorted(market.ticker for market in listing.traded()), 9)  # noqa: S311
    params = {"channels": ["orderbook_delta", "trade"], "market_tickers": tickers}
    Commands(session, venue.audience, venue).receive(json.dumps({"id": 1, "cmd": "subscribe", "params": params}))
    for _ in cycle([None]):
        for text in heard:
            frame = json.loads(text)
            if frame["type"] in SID:
                yield frame
        heard.clear()
        makers.step()


class _Eavesdropper:
    """Takes the frames of a session for itself."""

    def __init__(self, heard: list[str]) -> None:
        self._heard = heard

    def frames(self, session: Any, subscription: Any, kind: str, text: str) -> Iterable[str]:
        """Keep one frame, and let nothing go out."""
        self._heard.append(text)
        return ()


async def _nowhere(message: dict[str, Any]) -> None:
    return None


def _in_yes_prices(kind: str, msg: dict[str, Any]) -> dict[str, Any]:
    if kind == "orderbook_snapshot" and msg.get("no_dollars_fp"):
        return msg | {"no_dollars_fp": [[_complement(price), size] for price, size in msg["no_dollars_fp"]]}
    if kind == "orderbook_delta" and msg["side"] == "no":
        return msg | {"price_dollars": _complement(msg["price_dollars"])}
    return msg


def _complement(text: str) -> str:
    units = DOLLAR - _units(text, 4)
    return f"{units // DOLLAR}.{units % DOLLAR:04d}"


def _levels(msg: dict[str, Any], side: str) -> dict[int, int]:
    return {_units(price, 4): _units(size, 2) for price, size in msg.get(f"{side}_dollars_fp") or ()}


def _mirrored(levels: dict[int, int]) -> dict[int, int]:
    return {DOLLAR - price: size for price, size in levels.items()}


def _units(text: str, decimals: int) -> int:
    whole, _, fraction = text.partition(".")
    return int(whole + fraction[:decimals].ljust(decimals, "0"))


def _text(frame: dict[str, Any]) -> bytes:
    return json.dumps(frame, separators=(",", ":")).encode()
