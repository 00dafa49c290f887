"""A recording told through everything between socket and page, without a network: what the page held at which line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from markets.events import encode
from markets.intake import Intake
from markets.kalshi import feed
from markets.kalshi.messages import BookDelta, BookSnapshot, read_frame
from markets.livebook import Listing, Moment
from tests import judges
from tests.markets.pagebook import PageBook

STEP_MS = 7  # between two frames: several fall into one interval


def retell(path: Path) -> list[dict[str, Any]]:
    """Return a sample of each LIVE book after each frame that a page was told."""
    intake = Intake("sandbox", "e1")
    now = Moment(1_000, 2_000_000)
    pages = {ticker: PageBook() for ticker in judges.tickers_of(path)}
    for ticker in pages:
        intake.add(Listing(ticker), now)
    intake.take(feed.Connected(1), now)
    samples: list[dict[str, Any]] = []
    seq = 0
    for line, _, frame in judges.read_tape(path):
        if frame["type"] not in {"orderbook_snapshot", "orderbook_delta"}:
            continue
        seq += 1
        now = Moment(now.mono + STEP_MS, now.wall + STEP_MS)
        intake.take(event_of(frame, line, seq), now)
        samples += _tell(intake, pages, now)
    return samples


def event_of(frame: dict[str, Any], line: int, seq: int) -> Any:
    told = frame | {"sid": 1, "seq": seq, "msg": frame["msg"] | {"clock": line}}
    message = read_frame(encode(told).encode(), is_no_side_in_yes_prices=False)
    if isinstance(message, BookSnapshot):
        return feed.SnapshotReceived(message, 1)
    assert isinstance(message, BookDelta)
    return feed.DeltaReceived(message, 1)


def _tell(intake: Intake, pages: dict[str, PageBook], now: Moment) -> list[dict[str, Any]]:
    samples = []
    for ticker in list(intake.dirty):
        page = pages[ticker]
        for _, _, _, encoded in intake.books[ticker].take(now, intake.upstream):
            page.apply(json.loads(encoded))
        if page.shown == "LIVE" and page.up is not None:
            line = page.up[3]
            samples.append({"m": ticker, "line": line, "bids": [*page.bids.items()], "asks": [*page.asks.items()]})
    return samples
