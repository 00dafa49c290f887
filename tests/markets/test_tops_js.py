"""`static/js/tops.js`: a row of a list shows a price only of the epoch that the server's beat names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocketRoute

pytestmark = pytest.mark.browser

LIST = """async () => {
  Object.assign(document.body.dataset, {
    environment: "sandbox", marketSocket: "/ws/markets/", deskSocket: "/ws/desk/", deskNumber: "0",
  });
  document.body.innerHTML = '<div><p data-top="A"><b data-top-bid></b><i data-top-why></i></p></div>';
  const {followTops} = await import("/js/tops.js");
  followTops(document.body.firstChild);
}"""
STATE = """() => document.querySelector("[data-top]").dataset.topState"""
WHY = """() => document.querySelector("[data-top-why]").textContent"""
BID = """() => document.querySelector("[data-top-bid]").textContent"""


class ListPage:
    """A page with one row, and the other end of its socket."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.routes: list[WebSocketRoute] = []
        page.route_web_socket("**/ws/markets/", self._open)
        page.route_web_socket("**/ws/desk/", lambda route: route.on_message(lambda text: None))
        page.reload()
        page.evaluate(LIST)
        self.wait(lambda: bool(self.routes))

    def _open(self, route: WebSocketRoute) -> None:
        route.on_message(lambda text: None)
        self.routes.append(route)

    def wait(self, is_so: Any) -> None:
        for _ in range(250):
            if is_so():
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"the row is {self.shown}")

    def send(self, *frames: dict[str, Any]) -> None:
        self.routes[-1].send(json.dumps(frames))

    @property
    def shown(self) -> tuple[str, str, str]:
        """The row's state, its reason and its bid."""
        state, why, bid = (self.page.evaluate(script) for script in (STATE, WHY, BID))
        return state, why, bid

    def beat(self, epoch: str) -> dict[str, Any]:
        at = self.page.evaluate("() => Date.now()")
        return {
            **{"t": "beat", "env": "sandbox", "e": epoch, "at": at, "feed": "live", "why": ""},
            **{"age": 3, "heard": 4, "hub_ms": 0},
        }


def top(epoch: str, bid: int) -> dict[str, Any]:
    return {
        **{"t": "top", "env": "sandbox", "m": "A", "e": epoch, "bid": bid, "bid_size": 100, "ask": None},
        **{"ask_size": None, "last": None, "state": "LIVE", "ts": None},
    }


@pytest.fixture
def row(static_page: Page) -> Iterator[ListPage]:
    yield ListPage(static_page)
    static_page.reload()
    static_page.unroute_all()


def test_a_top_of_an_older_epoch_is_not_trusted_until_the_new_relay_tells_it(row: ListPage) -> None:
    row.send(row.beat("e1"), top("e1", 4800))
    row.wait(lambda: row.shown == ("LIVE", "", "48¢"))

    row.send(row.beat("e2"))
    row.wait(lambda: row.shown[:2] == ("UNTRUSTED", "RESYNC"))

    row.send(row.beat("e2"), top("e2", 4900))
    row.wait(lambda: row.shown == ("LIVE", "", "49¢"))


def test_a_first_top_of_another_epoch_than_the_beats_is_never_trusted(row: ListPage) -> None:
    row.send(row.beat("e2"), top("e1", 4800))

    row.wait(lambda: row.shown[:2] == ("UNTRUSTED", "RESYNC"))
