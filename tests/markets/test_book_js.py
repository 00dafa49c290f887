"""`static/js/book.js` folds the frames of many stories in a real browser exactly as the second fold in Python does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.markets import stories
from tests.markets.pagebook import PageBook
from tests.markets.stories import Story, random_actions

pytestmark = pytest.mark.browser

STORIES = 240

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


def test_the_browsers_book_is_the_book_of_the_stories(static_page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stories, "PageBook", LoggedBook)
    LoggedBook.logs.clear()
    for seed in range(STORIES):
        Story().tell(random_actions(seed, 120))

    found = static_page.evaluate(COMPARE, json.dumps(LoggedBook.logs))

    said = {step["expected"]["said"] for log in LoggedBook.logs for step in log["steps"]}
    assert said == {"applied", "hole", "old"}, "the stories show every answer a book can give"
    assert found["frames"] > 10_000
    assert found["differences"] == []


@pytest.mark.parametrize("change", ["size", "why", "number"])
def test_a_difference_is_seen(static_page: Page, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    monkeypatch.setattr(stories, "PageBook", LoggedBook)
    LoggedBook.logs.clear()
    Story(pages=1).tell([("connect",), ("change", "A", True, 1000, 300), ("tick", False), ("tick", False)])
    expected = next(log for log in LoggedBook.logs if log["ticker"] == "A")["steps"][-1]["expected"]
    if change == "size":
        expected["bids"][0][1] += 1
    else:
        expected[change] = "other" if change == "why" else expected[change] + 1

    [difference] = static_page.evaluate(COMPARE, json.dumps(LoggedBook.logs))["differences"]

    assert difference["ticker"] == "A"
