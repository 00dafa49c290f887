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

CHUNK_SECONDS = 5
AFTERWARDS_SECONDS = 3  # what the last lines did, seen too
FOLLOWED_SECONDS = 1200
ENOUGH = 1000

WATCH = """(tickers) => {
  const feed = globalThis.kalshiweb.feed;
  for (const ticker of tickers) feed.watchBook(ticker, () => {});
}"""

# Looks at one market at a random moment, again and again; Math.random decides both.
SAMPLE = """async ({tickers, seconds}) => {
  const feed = globalThis.kalshiweb.feed, seen = [], end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    await new Promise((done) => setTimeout(done, 2 + Math.random() * 35));
    const m = tickers[Math.floor(Math.random() * tickers.length)];
    const {state, why} = feed.label(m, Date.now()), book = feed.book(m);
    if (!book) { seen.push({at: Date.now(), m, state: state ?? "none"}); continue; }
    seen.push({at: Date.now(), m, state, why, line: book.up?.[3] ?? null, connection: book.up?.[0] ?? null,
               bids: [...book.bids], asks: [...book.asks]});
  }
  return seen;
}"""

Samples = list[dict[str, Any]]


class Followed:
    """A page that follows a recording, and what it held whenever it was looked at."""

    def __init__(self, page: Page, desk: RunningDesk, path: Path) -> None:
        self.page, self.desk, self.path = page, desk, path
        self.tickers = judges.tickers_of(path)
        self.samples: Samples = []

    def begin(self) -> None:
        """Open the first market's page and watch all of them."""
        sign_in(self.page, self.desk)
        self.page.goto(f"{self.desk.url}/x/sandbox/markets/{self.tickers[0]}/")
        self.page.evaluate(WATCH, self.tickers)

    def look(self, seconds: float) -> None:
        """Look at random moments for so long."""
        self.samples += self.page.evaluate(SAMPLE, {"tickers": self.tickers, "seconds": seconds})

    def look_until(self, is_over: Callable[[dict[str, Any]], bool], *, at_most: float = FOLLOWED_SECONDS) -> None:
        """Look until the recording is where it is wanted."""
        deadline = time.monotonic() + at_most
        while time.monotonic() < deadline and not is_over(self.tape()):
            self.look(CHUNK_SECONDS)

    def look_to_the_end(self) -> None:
        """Look until the recording is over and a little longer."""
        self.look_until(lambda tape: bool(tape["done"]))
        assert self.tape()["done"]
        self.look(AFTERWARDS_SECONDS)

    def tape(self) -> dict[str, Any]:
        """Return where the recording is."""
        told: dict[str, Any] = requests.get(f"{self.desk.sandbox_url}/__sandbox__/tape", timeout=5).json()
        return told

    def hurry(self, speed: float) -> None:
        """Let the recording run faster from here on."""
        url = f"{self.desk.sandbox_url}/__sandbox__/tape"
        requests.post(url, json={"speed": speed}, timeout=5).raise_for_status()

    def live(self) -> Samples:
        """Return what was seen while the page believed its book."""
        return [sample for sample in self.samples if sample["state"] == "LIVE" and sample.get("line")]

    def share_live(self, is_counted: Callable[[dict[str, Any]], bool]) -> float:
        """Return how much of some moments the page showed LIVE."""
        counted = [sample for sample in self.samples if is_counted(sample)]
        return len([sample for sample in counted if sample["state"] == "LIVE"]) / len(counted)

    def assert_true_while_live(self) -> None:
        """Compare every book that was believed with the recording at exactly the line it names."""
        shown = self.live()
        assert len(shown) >= ENOUGH, f"only {len(shown)} samples were LIVE"
        assert judges.differences(self.path, shown) == []


@pytest.fixture
def follow(
    start_desk: Callable[..., RunningDesk], browser: Browser, recordings: Path
) -> Iterator[Callable[[str], Followed]]:
    """Return a function that begins to replay a recording at real speed, before a page's eyes."""
    pages: list[Page] = []

    def run(name: str) -> Followed:
        path = recordings / "tapes" / name
        desk = start_desk("--tape", str(path))
        pages.append(browser.new_page())
        followed = Followed(pages[-1], desk, path)
        followed.begin()
        return followed

    yield run
    for page in pages:
        page.close()


def test_twelve_markets_are_followed_to_the_end(follow: Callable[[str], Followed]) -> None:
    page = follow("sports_twelve_markets.jsonl")

    page.look_to_the_end()

    page.assert_true_while_live()
    began = page.live()[0]["at"]
    assert page.share_live(lambda sample: sample["at"] >= began) >= 0.99


def test_nine_busy_markets_are_followed_at_real_speed(follow: Callable[[str], Followed]) -> None:
    page = follow("gold15m_nine_markets.jsonl.gz")

    page.look_until(lambda tape: False, at_most=60)

    page.assert_true_while_live()
    began = page.live()[0]["at"]
    assert page.share_live(lambda sample: sample["at"] >= began) >= 0.99


def test_a_stall_a_reconnect_and_the_close_are_seen_as_such(follow: Callable[[str], Followed]) -> None:
    page = follow("gold15m_reconnect.jsonl.gz")

    page.look_until(lambda tape: tape["line"] > 5_000)  # the stall ends with a new connection in line 4,080
    page.hurry(8)
    page.look_to_the_end()

    page.assert_true_while_live()
    shown = page.live()
    _, second = sorted({sample["connection"] for sample in shown})
    stalled_from = min(
        sample["at"] for sample in page.samples if sample["at"] > shown[0]["at"] and sample["state"] != "LIVE"
    )
    live_again = min(sample["at"] for sample in shown if sample["connection"] == second)
    closed_from = min(sample["at"] for sample in page.samples if sample["state"] == "CLOSED")
    between = [sample["state"] for sample in page.samples if stalled_from <= sample["at"] < live_again]
    assert between[0] == "STALE"
    # What the stall held back comes out just before the connection ends: for a moment the exchange is heard again.
    assert between.count("LIVE") < between.count("STALE") / 10
    assert set(between) <= {"STALE", "DOWN", "RESYNC", "LIVE"}
    assert set(between) & {"DOWN", "RESYNC"}
    assert {sample["state"] for sample in page.samples if sample["at"] >= closed_from} == {"CLOSED"}
    assert (
        page.share_live(
            lambda sample: shown[0]["at"] <= sample["at"] < stalled_from or live_again <= sample["at"] < closed_from
        )
        >= 0.99
    )
