"""The other end of a page's socket for markets, played in a browser beside our own static files."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import Page, WebSocketRoute

OPEN = """async (tickers) => {
  const {MarketFeed} = await import("/js/feed.js");
  globalThis.feed = new MarketFeed({url: "/ws/markets/", env: "sandbox"});
  for (const ticker of tickers) feed.watchBook(ticker, () => {});
}"""
LABEL = """(ticker) => {
  const {state, why} = feed.label(ticker, Date.now());
  return [state, why];
}"""
HELD = """(ticker) => {
  const book = feed.book(ticker);
  return {number: book.number, bids: book.levels("bids")};
}"""


class PlayedServer:
    """Takes what the page says and sends what the test says, over as many connections as the page makes."""

    def __init__(self, page: Page, *tickers: str) -> None:
        self.page = page
        self.said: list[dict[str, Any]] = []
        self.routes: list[WebSocketRoute] = []
        page.route_web_socket("**/ws/markets/", self._open)
        page.reload()
        self.begin(tickers or ("A",))
        self.wait_for("watch")

    def begin(self, tickers: tuple[str, ...]) -> None:
        """Have the page connect and watch these markets."""
        self.page.evaluate(OPEN, list(tickers))

    def _open(self, route: WebSocketRoute) -> None:
        self.routes.append(route)
        route.on_message(lambda text: self.said.append(json.loads(text)))

    def wait_for(self, op: str) -> dict[str, Any]:
        """Return the next thing of this kind that the page says."""
        for _ in range(200):
            if found := [message for message in self.said if message["op"] == op]:
                self.said = [message for message in self.said if message["op"] != op]
                return found[0]
            self.page.wait_for_timeout(10)
        raise AssertionError(f"the page has not said {op}, only {self.said}")

    def send(self, *frames: dict[str, Any]) -> None:
        """Send frames and return when the page has taken them."""
        self.routes[-1].send(json.dumps(frames))
        self.page.evaluate("() => new Promise((done) => setTimeout(done, 20))")

    def label(self, ticker: str = "A") -> list[str]:
        found: list[str] = self.page.evaluate(LABEL, ticker)
        return found

    def held(self, ticker: str = "A") -> tuple[int, list[list[int]]]:
        """Return the number and the bids of the book that the page shows."""
        found = self.page.evaluate(HELD, ticker)
        return found["number"], found["bids"]

    def now_ms(self) -> int:
        found: int = self.page.evaluate("() => Date.now()")
        return found

    def beat(
        self, feed: str = "live", *, hub_ms: int = 0, why: str = "", epoch: str = "e1", behind_ms: int = 0, **more: Any
    ) -> dict[str, Any]:
        at = self.now_ms() - behind_ms
        return {
            **{"t": "beat", "env": "sandbox", "e": epoch, "at": at, "feed": feed, "why": why},
            **{"age": 3, "heard": 4, "hub_ms": hub_ms},
            **more,
        }

    def book(
        self, number: int, *, state: str = "LIVE", epoch: str = "e1", size: int = 100, ticker: str = "A", quiet: int = 0
    ) -> dict[str, Any]:
        return {
            **{"t": "book", "env": "sandbox", "m": ticker, "e": epoch, "n": number, "up": None, "ts": None, "at": 5},
            **{"quiet": quiet, "state": state, "why": "", "bids": [[4000, size]], "asks": [], "grid": None},
            **{"status": "active", "close": None, "replay": False, "last": None, "k": 0},
        }

    def delta(self, number: int, *, size: int = 50) -> dict[str, Any]:
        return {
            **{"t": "delta", "env": "sandbox", "m": "A", "e": "e1", "n": number, "up": None, "ts": None, "at": 6},
            **{"b": [[4000, size]], "a": []},
        }

    def trade(self, number: int) -> dict[str, Any]:
        return {
            **{"t": "trade", "env": "sandbox", "m": "A", "e": "e1", "k": number, "p": 4000, "c": 100},
            **{"side": "yes", "ts": None, "id": str(number)},
        }

    def error(self, code: str, text: str, **more: str) -> dict[str, Any]:
        return {"t": "error", "code": code, "text": text, **more}
