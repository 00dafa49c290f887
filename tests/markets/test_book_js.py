"""`static/js/book.js` folds the frames of many stories in a real browser exactly as the second fold in Python does."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.journeys.desk import CHROMIUM_SWITCHES
from tests.markets import stories
from tests.markets.pagebook import PageBook
from tests.markets.stories import Story, random_actions

pytestmark = pytest.mark.browser

STORIES = 240
STATIC = Path(__file__).resolve().parent.parent.parent / "static"

# Folds each log of frames into a book of its own and compares it after every frame with what is expected.
COMPARE = """async (text) => {
  const logs = JSON.parse(text);
  const {Book} = await import("/js/book.js");
  const differences = [];
  let frames = 0;
  for (const {ticker, steps} of logs) {
    const book = new Book("sandbox", ticker);
    for (const [index, {frame, expected}] of steps.entries()) {
      const said = book.apply(frame);
      const held = {
        said, whole: book.isWhole, epoch: book.epoch, number: book.number, state: book.state, why: book.why,
        up: book.up, bids: book.levels("bids"), asks: book.levels("asks"),
      };
      frames += 1;
      if (JSON.stringify(held) !== JSON.stringify(expected)) {
        differences.push({ticker, index, frame, held, expected});
        break;
      }
    }
  }
  return {frames, differences};
}"""


class _Static(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        return


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """Return a page of a browser beside our own static files, and nothing else."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Static, directory=str(STATIC)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=CHROMIUM_SWITCHES)
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/js/book.js")
        yield page
        browser.close()
    server.shutdown()
    thread.join()
    server.server_close()


class LoggedBook(PageBook):
    """A fold that writes down every frame and what the book was after it; some frames come twice."""

    logs: list[dict[str, Any]] = []  # noqa: RUF012 - one for the module, on purpose

    def apply(self, frame: dict[str, Any]) -> str:
        if not hasattr(self, "steps"):
            self.steps: list[dict[str, Any]] = []
            self.logs.append({"ticker": frame["m"], "steps": self.steps})
        said = super().apply(frame)
        if frame["t"] in {"book", "delta", "state"}:
            self.steps.append({"frame": frame, "expected": self._held(said)})
            if len(self.steps) % 7 == 0:
                self.apply(frame)
        return said

    def _held(self, said: str) -> dict[str, Any]:
        return {
            "said": said,
            "whole": self.is_whole,
            "epoch": self.epoch,
            "number": self.number,
            "state": self.state,
            "why": self.why if self.epoch is not None else "waiting for the first book",
            "up": self.up,
            "bids": sorted(([p, s] for p, s in self.bids.items()), reverse=True),
            "asks": sorted([p, s] for p, s in self.asks.items()),
        }


def test_the_browsers_book_is_the_book_of_the_stories(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stories, "PageBook", LoggedBook)
    LoggedBook.logs.clear()
    for seed in range(STORIES):
        Story().tell(random_actions(seed, 120))

    found = page.evaluate(COMPARE, json.dumps(LoggedBook.logs))

    said = {step["expected"]["said"] for log in LoggedBook.logs for step in log["steps"]}
    assert said == {"applied", "hole", "old"}, "the stories show every answer a book can give"
    assert found["frames"] > 10_000
    assert found["differences"] == []


@pytest.mark.parametrize("change", ["size", "why", "number"])
def test_a_difference_is_seen(page: Page, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    monkeypatch.setattr(stories, "PageBook", LoggedBook)
    LoggedBook.logs.clear()
    Story(pages=1).tell([("connect",), ("change", "A", True, 1000, 300), ("tick", False), ("tick", False)])
    expected = next(log for log in LoggedBook.logs if log["ticker"] == "A")["steps"][-1]["expected"]
    if change == "size":
        expected["bids"][0][1] += 1
    else:
        expected[change] = "other" if change == "why" else expected[change] + 1

    [difference] = page.evaluate(COMPARE, json.dumps(LoggedBook.logs))["differences"]

    assert difference["ticker"] == "A"
