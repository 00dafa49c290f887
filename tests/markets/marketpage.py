"""The market page as a browser has it: our own template and scripts, with both sockets and every call played."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.template.loader import render_to_string
from playwright.sync_api import Browser, Locator, Page, Route, WebSocketRoute

STATIC = Path(__file__).resolve().parent.parent.parent / "static"
TICKER = "KXRAIN-26"
BASE = "http://desk.test"
URL = f"{BASE}/x/sandbox/markets/{TICKER}/"
WHOLE_CENTS = [[100, 9_900, 100]]
BIDS, ASKS = [[4_700, 100], [4_800, 300]], [[5_000, 200]]
HALF_CENTS = [[50, 9_950, 50]]
ME = 7
TWO_PICTURES = """() => new Promise((done) => {
  setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 20);
})"""


def order(name: str = "a", **changes: Any) -> dict[str, Any]:
    """Return the frame of an order of mine that rests at 48¢, changed as told; `name` is a hexadecimal digit."""
    usual = {
        **{"t": "order", "n": 1, "env": "sandbox", "id": order_id(name), "m": TICKER, "event": "KXRAIN"},
        **{"action": "buy", "side": "yes", "wire_side": "bid", "tif": "good_till_canceled", "post_only": False},
        **{"state": "resting", "words": "resting", "code": "", "reason": "", "who": "BO", "by": ME, "external": False},
        **{"cancelable": True, "cancel_at": None, "at": 1_000, "sent_at": 1_001, "updated_at": 1_002},
        **{"price": 4_800, "wire_price": 4_800, "count": 1_000, "filled": 0, "remaining": 1_000, "avg": None},
        "fees": 0,
    }
    return {**usual, **changes}


def order_id(name: str) -> str:
    """Return the id of the order with this name."""
    return f"{name * 8}-0000-4000-8000-000000000000"


def ended(name: str = "a", **changes: Any) -> dict[str, Any]:
    """Return the same order, cancelled."""
    return order(name, state="canceled", words="canceled", cancelable=False, remaining=0, **changes)


class MarketPage:
    """One open page, and the other end of everything that it asks."""

    def __init__(
        self,
        browser: Browser,
        *,
        orders: list[dict[str, Any]] | None = None,
        grid: list[list[int]] = WHOLE_CENTS,
        width: int = 1_440,
    ) -> None:
        self.html = _html(orders or [], grid)
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self._number = 0
        self._sockets: dict[str, WebSocketRoute] = {}
        self.page: Page = browser.new_page(viewport={"width": width, "height": 900})
        self.page.route(f"{BASE}/**", self._serve)
        for name in ("markets", "desk"):
            self.page.route_web_socket(re.compile(rf"/ws/{name}/(\?.*)?$"), self._opener(name))
        self.page.goto(URL)
        self.wait(lambda: set(self._sockets) == {"markets", "desk"})

    def _opener(self, name: str) -> Callable[[WebSocketRoute], None]:
        def opened(route: WebSocketRoute) -> None:
            route.on_message(lambda _text: None)
            self._sockets[name] = route

        return opened

    def _serve(self, route: Route) -> None:
        path = urlsplit(route.request.url).path
        if path == urlsplit(URL).path:
            route.fulfill(body=self.html, content_type="text/html")
        elif path.startswith("/static/"):
            route.fulfill(path=STATIC / path.removeprefix("/static/"))
        else:
            self._answer(route, path)

    def _answer(self, route: Route, path: str) -> None:
        query = urlsplit(route.request.url).query
        self.asked.append((path, parse_qs(route.request.post_data or query)))
        found = next((answer for end, answer in self.answers.items() if path.endswith(end)), None)
        if callable(found):
            found = found(self.asked[-1][1])
        if found is None:
            route.fulfill(status=503, body="")
        elif isinstance(found, str):
            route.fulfill(body=found, content_type="application/json")
        else:
            route.fulfill(json=found)

    # --- what the server says ---------------------------------------------------------------------------

    def frames(self, socket: str, *frames: dict[str, Any]) -> None:
        """Send frames and return when the page has taken and drawn them."""
        self._sockets[socket].send(json.dumps(frames))
        self.settle()

    def book(
        self, bids: list[list[int]], asks: list[list[int]], *, grid: list[list[int]] = WHOLE_CENTS, state: str = "LIVE"
    ) -> None:
        """Send a whole book, behind a beat that says that the feed is alive."""
        self._number += 1
        now = self.page.evaluate("() => Date.now()")
        beat = {
            **{"t": "beat", "env": "sandbox", "e": "e1", "at": now, "feed": "live", "why": ""},
            **{"age": 3, "heard": 4, "hub_ms": 0},
        }
        book = {
            **{"t": "book", "env": "sandbox", "m": TICKER, "e": "e1", "n": self._number, "up": None, "ts": None},
            **{"at": now, "quiet": 0, "state": state, "why": "", "bids": bids, "asks": asks, "grid": grid},
            **{"status": "active", "close": None, "replay": False, "last": None, "k": 0},
        }
        self.frames("markets", beat, book)

    def news(self, *frames: dict[str, Any]) -> None:
        """Send frames of the desk."""
        self.frames("desk", *frames)

    def overtake(self, *frames: dict[str, Any]) -> None:
        """Send frames of the desk from within an answer, so that they come before it."""
        self._sockets["desk"].send(json.dumps(frames))

    # --- what the page shows ----------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until frames on their way have been taken and two pictures have been drawn."""
        self.page.evaluate(TWO_PICTURES)

    def wait(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so; fail after five seconds."""
        for _ in range(250):
            if is_so():
                return
            self.page.wait_for_timeout(20)
        raise AssertionError("it did not come to that")

    def prices(self) -> list[int]:
        """Return the prices of the ladder's rows from the top."""
        rows = self.page.get_by_test_id("ladder-row")
        found: list[int] = rows.evaluate_all("(rows) => rows.map((row) => Number(row.dataset.price))")
        return found

    def row(self, price: int) -> Locator:
        """Return the ladder's row of a YES price."""
        return self.page.locator(f'[data-testid="ladder-row"][data-price="{price}"]')

    def top_of(self, price: int) -> float:
        """Return how far below the ladder's upper edge a row stands."""
        script = (
            "(row) => row.getBoundingClientRect().top - row.closest('[data-ladder-scroll]').getBoundingClientRect().top"
        )
        found: float = self.row(price).evaluate(script)
        return found

    def chips(self, price: int) -> list[str]:
        """Return what the chips of our orders at a price say."""
        return self.row(price).locator(".chip").all_text_contents()

    def state_of(self, name: str) -> str:
        """Return the state of an order in the table below."""
        found = self.page.locator(f'tr[data-order="{order_id(name)}"]').get_attribute("data-order-state")
        return found or ""

    def part(self, name: str) -> Locator:
        """Return the part of the page with this data attribute."""
        return self.page.locator(f"[data-{name}]")

    @property
    def focused(self) -> str:
        """What has the keyboard: the price of a row, the name of a field, or the data attributes of a button."""
        script = """() => {
          const {dataset, name, tagName} = document.activeElement;
          return dataset.price ?? (name || Object.keys(dataset).join(" ") || tagName);
        }"""
        found: str = self.page.evaluate(script)
        return found


def _html(orders: list[dict[str, Any]], grid: list[list[int]]) -> str:
    user = {"is_authenticated": True, "get_username": "bob", "pk": ME}
    context = {
        "csrf_token": "token",
        "user": user,
        "request": {
            "user": user,
            "team": {"pk": "team"},
            "membership": {"pk": "member"},
            "working_ids": [one["id"] for one in orders if one["state"] == "resting"],
            "desk_number": max([one["n"] for one in orders], default=0),
            "may_cancel": "any",
            "can_trade": True,
        },
        "desk": {"environment": "sandbox", "environment_label": "SANDBOX", "initials": "BO", "team": {"name": "Rain"}},
        "market": {
            **{"ticker": TICKER, "name": "Rain", "title": "Rain?", "event_ticker": "KXRAIN", "is_replay": False},
            **dict.fromkeys(("last_price", "yes_bid", "yes_ask", "volume_24h", "open_interest", "close_at")),
        },
        "event_title": "Will it rain?",
        "change": "–",
        "siblings": [],
        "ranges": json.dumps(grid),
        "tick": "1¢",
        "ladder_side": "yes",
        "own": "YES",
        "other": "NO",
        "position": {"side": "", "words": "", "at": "", "net": 0, "cost": 0},
        "open_gain": "–",
        "fees": SimpleNamespace(fee_type="quadratic", multiplier_micros=1_000_000, is_waived=False),
        "presets": ("10", "50", "100", "500"),
        "idempotency_key": "11111111-1111-4111-8111-111111111111",
        "orders": [],  # the script adds the rows
        "orders_data": orders,
        "orders_empty": "No order.",
    }
    return render_to_string("trading/market.html", context)
