"""`static/js/feed.js` says how far a book may be believed: by the beats, and never further than the frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocketRoute

pytestmark = pytest.mark.browser

OPEN = """async () => {
  const {MarketFeed} = await import("/js/feed.js");
  globalThis.feed = new MarketFeed({url: "/ws/markets/", env: "sandbox"});
  feed.watchBook("A", () => {});
}"""
LABEL = """() => {
  const {state, why} = feed.label("A", Date.now());
  return [state, why];
}"""


class PlayedServer:
    """The other end of the page's socket."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.said: list[dict[str, Any]] = []
        self._route: WebSocketRoute | None = None
        page.route_web_socket("**/ws/markets/", self._open)
        page.reload()
        page.evaluate(OPEN)
        self.wait_for("watch")

    def _open(self, route: WebSocketRoute) -> None:
        self._route = route
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
        assert self._route is not None
        self._route.send(json.dumps(frames))
        self.page.evaluate("() => new Promise((done) => setTimeout(done, 20))")

    def label(self) -> list[str]:
        found: list[str] = self.page.evaluate(LABEL)
        return found

    def now_ms(self) -> int:
        found: int = self.page.evaluate("() => Date.now()")
        return found

    def beat(self, feed: str = "live", *, hub_ms: int = 0, why: str = "", epoch: str = "e1") -> dict[str, Any]:
        at = self.now_ms()
        return {
            **{"t": "beat", "env": "sandbox", "e": epoch, "at": at, "feed": feed, "why": why},
            **{"age": 3, "heard": 4, "hub_ms": hub_ms},
        }

    def book(self, number: int, *, state: str = "LIVE", epoch: str = "e1") -> dict[str, Any]:
        return {
            **{"t": "book", "env": "sandbox", "m": "A", "e": epoch, "n": number, "up": None, "ts": None, "at": 5},
            **{"quiet": 0, "state": state, "why": "", "bids": [[4000, 100]], "asks": [], "grid": None},
            **{"status": "active", "close": None, "replay": False, "last": None, "k": 0},
        }

    def delta(self, number: int) -> dict[str, Any]:
        return {
            **{"t": "delta", "env": "sandbox", "m": "A", "e": "e1", "n": number, "up": None, "ts": None, "at": 6},
            **{"b": [[4000, 50]], "a": []},
        }


@pytest.fixture
def server(static_page: Page) -> Iterator[PlayedServer]:
    yield PlayedServer(static_page)
    static_page.evaluate("() => feed.stop()")
    static_page.unroute_all()


def test_a_book_is_live_only_when_it_is_whole_and_the_way_to_it_is(server: PlayedServer) -> None:
    assert server.label() == ["DOWN", "server lost"]
    server.send(server.beat())
    assert server.label() == ["RESYNC", "waiting for the first book"]
    server.send(server.book(4))
    assert server.label() == ["LIVE", ""]
    server.send(server.beat("stale", why="nothing has been heard for 12 s"))
    assert server.label() == ["STALE", "nothing has been heard for 12 s"]


def test_a_server_that_lost_its_way_to_the_feed_makes_the_page_wait_for_a_whole_book(server: PlayedServer) -> None:
    server.send(server.beat(), server.book(4))
    assert server.label() == ["LIVE", ""]

    server.send(server.beat("down", hub_ms=-1, why="the connection to the feed process is lost"))
    assert server.label() == ["DOWN", "the connection to the feed process is lost"]
    server.send(server.beat())
    assert server.label() == ["RESYNC", "asking for the whole book"]

    # A change that would have followed is no proof: another may have been lost before it.
    server.send(server.delta(5))
    assert server.label() == ["RESYNC", "asking for the whole book"]
    assert server.wait_for("snapshot")["m"] == "A"
    server.send(server.book(7))
    assert server.label() == ["LIVE", ""]


def test_a_relay_that_was_only_silent_costs_no_book(server: PlayedServer) -> None:
    server.send(server.beat(), server.book(4))

    server.send(server.beat("down", hub_ms=2_250, why="the feed process is silent"))
    assert server.label() == ["DOWN", "the feed process is silent"]
    server.send(server.beat(), server.delta(5))

    assert server.label() == ["LIVE", ""]


def test_another_epoch_than_the_books_is_not_live(server: PlayedServer) -> None:
    server.send(server.beat(), server.book(4))

    server.send(server.beat(epoch="e2"))

    assert server.label() == ["RESYNC", "asking for the whole book"]
    server.send(server.book(1, epoch="e2"))
    assert server.label() == ["LIVE", ""]


def test_a_hole_in_the_numbers_is_not_live_until_a_whole_book(server: PlayedServer) -> None:
    server.send(server.beat(), server.book(4))

    server.send(server.delta(6))

    assert server.label()[0] == "RESYNC"
    assert server.wait_for("snapshot") == {"op": "snapshot", "m": "A", "env": "sandbox"}
    server.send(server.book(6))
    assert server.label() == ["LIVE", ""]
