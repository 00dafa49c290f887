"""`static/js/desk.js` asks page by page for what it missed, says what has arrived, and believes nothing in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocketRoute

pytestmark = pytest.mark.browser

OPEN = """async () => {
  const {DeskClient} = await import("/js/desk.js");
  globalThis.heard = [];
  globalThis.desk = new DeskClient({
    url: "/ws/desk/", env: "sandbox", number: 0, onTurnedAway: () => heard.push("turned away"),
  });
  desk.listen((frame) => heard.push(frame.n));
}"""


class PlayedDesk:
    """The other end of the page's socket."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.said: list[dict[str, Any]] = []
        self.routes: list[WebSocketRoute] = []
        page.route_web_socket("**/ws/desk/", self._open)
        page.reload()
        page.evaluate(OPEN)
        self.wait_for({"op": "after", "n": 0})

    def _open(self, route: WebSocketRoute) -> None:
        self.routes.append(route)
        route.on_message(lambda text: self.said.append(json.loads(text)))

    def wait_for(self, message: dict[str, Any]) -> None:
        """Return when the page says this next; forget it."""
        for _ in range(300):
            if self.said:
                assert self.said.pop(0) == message
                return
            self.page.wait_for_timeout(10)
        raise AssertionError(f"the page has not said {message}")

    def send(self, *frames: dict[str, Any]) -> int:
        """Send frames and return how many bytes they were, when the page has taken them."""
        text = json.dumps(frames)
        self.routes[-1].send(text)
        self.page.evaluate("() => new Promise((done) => setTimeout(done, 20))")
        return len(text)

    def beat(self, number: int) -> int:
        return self.send({"t": "beat", "n": number, "at": 0})

    def orders(self, first: int, last: int, filler: str = "") -> int:
        frames = ({"t": "order", "n": n, "env": "sandbox", "x": filler} for n in range(first, last + 1))
        return self.send(*frames)

    @property
    def is_current(self) -> bool:
        return bool(self.page.evaluate("() => desk.isCurrent(Date.now())"))

    @property
    def heard(self) -> list[int]:
        found: list[int] = self.page.evaluate("() => heard")
        return found


@pytest.fixture
def server(static_page: Page) -> Iterator[PlayedDesk]:
    yield PlayedDesk(static_page)
    static_page.evaluate("() => desk.stop()")
    static_page.unroute_all()


def test_what_was_missed_is_asked_for_page_by_page_without_waiting_for_a_beat(server: PlayedDesk) -> None:
    server.beat(250)
    assert not server.is_current
    server.orders(1, 100)
    server.wait_for({"op": "after", "n": 100})
    assert not server.is_current
    server.orders(101, 200)
    server.wait_for({"op": "after", "n": 200})
    server.orders(201, 250)

    assert server.heard == list(range(1, 251))
    assert server.is_current
    assert server.said == []


def test_an_answer_that_brings_nothing_new_is_no_reason_to_ask_at_once(server: PlayedDesk) -> None:
    server.beat(5)
    server.send({"t": "error", "code": "TOO_OFTEN", "text": "Ask again in a second."})

    assert server.said == []
    assert not server.is_current


def test_the_page_says_how_much_has_arrived(server: PlayedDesk) -> None:
    arrived = server.beat(0)
    assert server.said == []

    arrived += server.orders(1, 100, "y" * 1_400)

    server.wait_for({"op": "ack", "bytes": arrived})


FETCH = """() => {
  globalThis.told = [];
  desk.onLost((what) => {
    told.push(what.isAnew);
    return new Promise((done) => (globalThis.fetched = done));
  });
}"""


def test_rows_that_are_fetched_anew_are_not_current_before_they_are_here(server: PlayedDesk) -> None:
    server.page.evaluate(FETCH)
    server.beat(900)
    server.send({"t": "lost", "n": 900})

    assert server.page.evaluate("() => told") == [False]
    assert not server.is_current
    server.page.evaluate("() => fetched()")
    assert server.is_current


def test_numbers_that_have_begun_again_are_followed_from_there(server: PlayedDesk) -> None:
    server.page.evaluate(FETCH)
    server.orders(1, 40)
    server.send({"t": "lost", "n": 7})
    server.page.evaluate("() => fetched()")
    server.orders(8, 8)

    assert server.page.evaluate("() => told") == [True]
    assert server.heard[-2:] == [40, 8]
    server.beat(8)
    assert server.is_current


def test_a_page_that_was_too_slow_comes_back_and_asks_on_from_where_it_was(server: PlayedDesk) -> None:
    server.orders(1, 3)
    server.routes[-1].close(code=4008, reason="")

    server.wait_for({"op": "after", "n": 3})
    assert len(server.routes) == 2


@pytest.mark.parametrize(("code", "told"), [(4403, ["turned away"]), (4401, []), (4008, [])])
def test_a_page_of_a_team_that_is_no_longer_its_own_is_told_so(server: PlayedDesk, code: int, told: list[str]) -> None:
    server.routes[-1].close(code=code, reason="")

    assert server.page.evaluate("() => new Promise((done) => setTimeout(() => done(heard), 50))") == told
