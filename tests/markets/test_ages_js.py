"""`static/js/bookstate.js` and `tops.js` show how old a book is, not when somebody last spoke; and say a state once."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.markets.playedserver import PlayedServer

pytestmark = pytest.mark.browser

OPEN = """async () => {
  Object.assign(document.body.dataset, {
    environment: "sandbox", marketSocket: "/ws/markets/", deskSocket: "/ws/desk/", deskNumber: "0",
  });
  document.body.innerHTML = `
    <p data-top="A"><b data-top-bid></b><i data-top-why></i><u data-top-age></u></p>
    <p id="book"><b data-state-word></b><u data-state-age></u></p><p id="why"></p><p id="said"></p>`;
  const {followTops} = await import("/js/tops.js");
  const {bookLabel, drawBookState} = await import("/js/bookstate.js");
  const {everyTick, feed} = await import("/js/page.js");
  globalThis.feed = feed;
  followTops(document.body);
  feed.watchBook("A", () => {});
  const [element, whyElement, saidElement] = ["book", "why", "said"].map((id) => document.getElementById(id));
  everyTick((nowMs) => drawBookState({element, whyElement, saidElement}, bookLabel("A", nowMs)));
  globalThis.announced = [];
  new MutationObserver(() => announced.push(saidElement.textContent))
    .observe(saidElement, {childList: true, characterData: true, subtree: true});
}"""
SHOWN = """() => {
  const {state, ageMs} = document.getElementById("book").dataset;
  return [state, Number(ageMs)];
}"""
ROW = """() => {
  const row = document.querySelector("[data-top]");
  return [row.dataset.topState, row.querySelector("[data-top-age]").textContent];
}"""


class PagedServer(PlayedServer):
    """The server of a page with a row of a list and a book's label, whose clock the test runs."""

    def begin(self, tickers: tuple[str, ...]) -> None:
        self.page.route_web_socket("**/ws/desk/", lambda route: route.on_message(lambda _text: None))
        self.page.evaluate(OPEN)

    def run(self, ms: int) -> None:
        self.page.clock.run_for(ms)

    @property
    def shown(self) -> tuple[str, int]:
        """State and age of the book, at the next tick."""
        self.run(300)
        state, age = self.page.evaluate(SHOWN)
        return state, age

    @property
    def row(self) -> tuple[str, str]:
        """State and age of the row, at the next tick."""
        self.run(300)
        state, age = self.page.evaluate(ROW)
        return state, age

    def top(self, *, at: int | None = None, state: str = "LIVE", bid: int = 4800) -> dict[str, Any]:
        return {
            **{"t": "top", "env": "sandbox", "m": "A", "e": "e1", "bid": bid, "bid_size": 100, "ask": None},
            **{"ask_size": None, "last": None, "state": state, "ts": None, "at": at},
        }


@pytest.fixture
def server(timed_page: Page) -> PagedServer:
    return PagedServer(timed_page)


# --- the book's label --------------------------------------------------------------------------------


def test_a_quiet_book_is_as_young_as_the_last_sign_of_life(server: PagedServer) -> None:
    server.send(server.beat(age=40, heard=600_000), server.book(4, quiet=600_000))

    state, age = server.shown
    assert state == "LIVE"
    assert 40 <= age < 2_000


def test_a_stale_book_is_as_old_as_its_own_data_however_alive_the_feed_is(server: PagedServer) -> None:
    server.send(server.beat(age=40, heard=40), server.book(4, state="STALE", quiet=9_000))

    state, age = server.shown
    assert state == "STALE"
    assert 9_000 <= age < 12_000


def test_a_book_of_a_stalled_feed_is_as_old_as_its_own_data_whatever_pings_arrive(server: PagedServer) -> None:
    server.send(server.beat(), server.book(4, quiet=60_000))

    server.send(server.beat("stale", why="nothing has been heard from the exchange", age=40, heard=14_000))

    state, age = server.shown
    assert state == "STALE"
    assert 60_000 <= age < 63_000


def test_a_book_that_spoke_last_is_still_no_younger_than_the_way_to_it(server: PagedServer) -> None:
    server.send(server.beat(), server.book(4, quiet=0))

    server.send(server.beat("stale", why="nothing has been heard from the exchange", age=40, heard=14_000))

    state, age = server.shown
    assert state == "STALE"
    assert 14_000 <= age < 17_000


def test_a_lag_is_part_of_the_age(server: PagedServer) -> None:
    server.send(server.beat(), server.book(4))

    server.send(server.beat(behind_ms=5_000))

    state, age = server.shown
    assert state == "STALE"
    assert 4_900 <= age < 8_000


# --- a row of a list ---------------------------------------------------------------------------------


def test_a_polled_row_is_as_old_as_its_last_reading_though_no_price_has_changed(server: PagedServer) -> None:
    for _ in range(5):
        now = server.now_ms()
        server.send(server.beat("polled", why="no key", age=40), server.top(state="POLLED", at=now - 200))
        server.run(1_000)
    state, age = server.row
    assert state == "POLLED"
    assert 1.2 <= float(age.removesuffix(" s")) < 3

    server.send(server.beat("polled", why="no key", age=40))  # the feed is read, this market is not
    server.run(2_000)
    state, age = server.row
    assert float(age.removesuffix(" s")) >= 3.2


def test_a_live_row_is_as_young_as_the_feed_and_ages_when_nobody_vouches_for_it(server: PagedServer) -> None:
    server.send(server.beat(age=40), server.top())
    for _ in range(5):
        server.run(1_000)
        server.send(server.beat(age=40))
    state, age = server.row
    assert state == "LIVE"
    assert float(age.removesuffix(" s")) < 1.5

    server.send(server.top(state="STALE"))
    for _ in range(5):
        server.run(1_000)
        server.send(server.beat(age=40))
    state, age = server.row
    assert state == "UNTRUSTED"
    assert float(age.removesuffix(" s")) >= 5


def test_a_row_that_was_never_vouched_for_has_no_age(server: PagedServer) -> None:
    server.send(server.beat(), server.top(state="STALE"))

    assert server.row == ("UNTRUSTED", "–")


def test_a_row_is_not_trusted_while_this_browser_is_too_slow_until_it_is_told_again(server: PagedServer) -> None:
    server.send(server.beat(), server.top())
    assert server.row[0] == "LIVE"

    server.send(server.error("SLOW", "This browser has fallen behind."))
    assert server.row[0] == "UNTRUSTED"
    server.send(server.top())
    assert server.row[0] == "LIVE"


def test_a_row_is_not_trusted_after_a_reconnect_until_it_is_told_again(server: PagedServer) -> None:
    server.send(server.beat(), server.top())
    server.routes[-1].close(code=1011, reason="")
    server.run(11_000)
    server.wait_for("watch")

    server.send(server.beat())
    assert server.row[0] == "UNTRUSTED"
    server.send(server.top())
    assert server.row[0] == "LIVE"


# --- what a screen reader hears ----------------------------------------------------------------------


def test_a_state_is_announced_once_and_not_again_with_each_age(server: PagedServer) -> None:
    server.send(server.beat(), server.book(4, state="STALE"))
    server.run(400)
    server.page.evaluate("() => announced.splice(0)")
    for number in range(5, 9):
        server.send(server.beat(), server.book(number, state="STALE"))
        server.run(900)
    assert server.page.evaluate("() => announced") == []

    server.send(server.beat(), server.book(9))
    server.run(400)
    assert server.page.evaluate("() => announced") == ["The book is LIVE"]
