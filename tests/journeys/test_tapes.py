"""Recordings of the real exchange, replayed to a real page: what it holds while LIVE is exactly what was sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page

from tests import judges
from tests.journeys.desk import RunningDesk, sign_in

pytestmark = [pytest.mark.browser, pytest.mark.long]

WATCH = """(tickers) => {
  const feed = globalThis.kalshiweb.feed;
  for (const ticker of tickers) feed.watchBook(ticker, () => {});
}"""

# Looks at one market at a random moment, again and again; Math.random decides both.
SAMPLE = """async ({tickers, seconds}) => {
  const feed = globalThis.kalshiweb.feed, seen = [], end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    await new Promise((done) => setTimeout(done, 5 + Math.random() * 50));
    const m = tickers[Math.floor(Math.random() * tickers.length)];
    const {state, why} = feed.label(m, Date.now()), book = feed.book(m);
    if (!book) { seen.push({at: Date.now(), m, state: state ?? "none"}); continue; }
    seen.push({at: Date.now(), m, state, why, line: book.up?.[3] ?? null, connection: book.up?.[0] ?? null,
               bids: [...book.bids], asks: [...book.asks]});
  }
  return seen;
}"""


@pytest.fixture
def follow(
    start_desk: Callable[..., RunningDesk], browser: Browser, recordings: Path
) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """Return a function that replays a recording at real speed and samples the page's own books."""

    def run(name: str, *, seconds: float | None = None) -> list[dict[str, Any]]:
        path = recordings / "tapes" / name
        desk = start_desk("--tape", str(path))
        page = browser.new_page()
        sign_in(page, desk)
        tickers = judges.tickers_of(path)
        page.goto(f"{desk.url}/x/sandbox/markets/{tickers[0]}/")
        page.evaluate(WATCH, tickers)
        return _until_the_end(page, desk, tickers, seconds)

    yield run


def _until_the_end(page: Page, desk: RunningDesk, tickers: list[str], seconds: float | None) -> list[dict[str, Any]]:
    samples: list[dict[str, Any]] = []
    deadline = time.monotonic() + (seconds or 1200)
    while time.monotonic() < deadline:
        samples += page.evaluate(SAMPLE, {"tickers": tickers, "seconds": 5})
        if requests.get(f"{desk.sandbox_url}/__sandbox__/tape", timeout=5).json()["done"]:
            break
    return samples


def live(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [sample for sample in samples if sample["state"] == "LIVE" and sample.get("line")]


def assert_true_while_live(path: Path, samples: list[dict[str, Any]]) -> None:
    shown = live(samples)
    assert len(shown) >= 1000, f"only {len(shown)} samples were LIVE"
    assert judges.differences(path, shown) == []


def share_live(samples: list[dict[str, Any]], *, outside: Callable[[dict[str, Any]], bool]) -> float:
    counted = [sample for sample in samples if outside(sample)]
    return len([sample for sample in counted if sample["state"] == "LIVE"]) / len(counted)


def test_twelve_markets_are_followed_to_the_end(follow: Callable[..., list[dict[str, Any]]], recordings: Path) -> None:
    samples = follow("sports_twelve_markets.jsonl")

    assert_true_while_live(recordings / "tapes" / "sports_twelve_markets.jsonl", samples)
    began = min(sample["at"] for sample in live(samples))
    assert share_live(samples, outside=lambda sample: sample["at"] >= began) >= 0.99


def test_nine_busy_markets_are_followed_at_real_speed(
    follow: Callable[..., list[dict[str, Any]]], recordings: Path
) -> None:
    samples = follow("gold15m_nine_markets.jsonl.gz", seconds=60)

    assert_true_while_live(recordings / "tapes" / "gold15m_nine_markets.jsonl.gz", samples)
    began = min(sample["at"] for sample in live(samples))
    assert share_live(samples, outside=lambda sample: sample["at"] >= began) >= 0.99


def test_a_stall_a_reconnect_and_the_close_are_seen_as_such(
    follow: Callable[..., list[dict[str, Any]]], recordings: Path
) -> None:
    path = recordings / "tapes" / "gold15m_reconnect.jsonl.gz"
    samples = follow(path.name)

    assert_true_while_live(path, samples)
    shown = live(samples)
    first, second = sorted({sample["connection"] for sample in shown})
    stalled_from = max(sample["at"] for sample in shown if sample["connection"] == first)
    live_again = min(sample["at"] for sample in shown if sample["connection"] == second)
    closed_from = min(sample["at"] for sample in samples if sample["state"] == "CLOSED")
    between = {sample["state"] for sample in samples if stalled_from < sample["at"] < live_again}
    assert between & {"STALE", "DOWN", "RESYNC"}, between
    assert max(sample["at"] for sample in samples if sample["state"] == "CLOSED") > closed_from
    outside = share_live(
        samples,
        outside=lambda sample: (
            shown[0]["at"] <= sample["at"] <= stalled_from or live_again <= sample["at"] < closed_from
        ),
    )
    assert outside >= 0.99
