"""What a person does on a market's page, and what the exchange and the page know of it."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import requests
from playwright.sync_api import Locator, Page, expect

from tests.journeys.desk import RunningDesk

CENT = 100  # in units of $0.0001
PATIENCE_SECONDS = 30

# Best prices of the book that the page itself holds.
BEST = "(ticker) => globalThis.kalshiweb.feed.book(ticker)?.best() ?? {bid: null, ask: null}"


def open_market(page: Page, desk: RunningDesk, ticker: str) -> None:
    """Open a market's page and wait until its book is live."""
    page.goto(f"{desk.url}/x/sandbox/markets/{ticker}/")
    expect(page.get_by_test_id("book-state")).to_have_attribute("data-state", "LIVE", timeout=10_000)


def open_market_with_room(page: Page, desk: RunningDesk) -> tuple[str, int]:
    """Open a whole-cent market with room inside its spread; return its ticker and the price just above its best bid.

    A bid there is alone and the best one, so that whoever sells next sells to it.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for ticker in _candidates(desk):
            open_market(page, desk, ticker)
            if (price := price_in_the_spread(page, ticker)) is not None:
                return ticker, price
    raise AssertionError("no market of the local exchange has room inside its spread")


def price_in_the_spread(page: Page, ticker: str) -> int | None:
    """Return the price one cent above the best bid of the page's book, if nobody asks for so little."""
    best = page.evaluate(BEST, ticker)
    if best["bid"] is None or best["ask"] is None:
        return None
    bid: int = best["bid"]
    is_middling = bid >= 7 * CENT and best["ask"] <= 93 * CENT
    return bid + CENT if is_middling and best["ask"] - bid >= 2 * CENT else None


def _candidates(desk: RunningDesk) -> list[str]:
    """Return the open whole-cent markets whose listed spread has room, those that move least first."""
    query = {"limit": "200", "status": "open"}
    listed = requests.get(f"{desk.sandbox_url}/trade-api/v2/markets", params=query, timeout=5).json()["markets"]
    wide = [
        market["ticker"]
        for market in listed
        if market["price_level_structure"] == "linear_cent"
        and _units(market["yes_ask_dollars"]) - _units(market["yes_bid_dollars"]) >= 2 * CENT
    ]
    return sorted(wide, key=lambda ticker: (not ticker.startswith("KXHIGH"), ticker))


def _units(dollars: str) -> int:
    return round(float(dollars) * 10_000)


def fill(page: Page, *, price_cents: str, count: str) -> None:
    """Fill the ticket and ask for the review."""
    ticket = page.get_by_test_id("ticket")
    ticket.get_by_label(re.compile("price", re.I)).fill(price_cents)
    ticket.get_by_label(re.compile("quantity", re.I)).fill(count)
    ticket.get_by_role("button", name=re.compile("review", re.I)).click()


def place(page: Page, *, price_cents: str, count: str) -> None:
    """Fill the ticket, review, confirm."""
    fill(page, price_cents=price_cents, count=count)
    page.get_by_test_id("confirm").click()


def outcome(page: Page) -> Locator:
    """Return the line of the ticket that says what became of the order."""
    return page.get_by_test_id("ticket").get_by_role("status")


def newest_row(page: Page) -> Locator:
    """Return whatever row is the first of the page's orders."""
    return page.get_by_test_id("order-row").first


def order_ids(page: Page) -> list[str]:
    """Return the ids of the orders that the page lists, newest first."""
    ids: list[str] = page.get_by_test_id("order-row").evaluate_all("(rows) => rows.map((row) => row.dataset.order)")
    return ids


def new_row(page: Page, known: list[str]) -> Locator:
    """Wait for an order that is not among the known ones and return its row."""
    script = """(known) => [...document.querySelectorAll('[data-testid="order-row"]')]
      .map((row) => row.dataset.order).find((id) => id && !known.includes(id)) ?? null"""
    found = page.wait_for_function(script, arg=known, timeout=5000, polling=20).json_value()
    return row_of(page, found)


def row_of(page: Page, order_id: str) -> Locator:
    """Return the row of one order."""
    return page.locator(f'[data-testid="order-row"][data-order="{order_id}"]')


def take(desk: RunningDesk, ticker: str, *, price: int, count: str) -> str:
    """Have the exchange's makers sell to the members' bids at a price or better; return how much was sold."""
    answer = requests.post(
        f"{desk.sandbox_url}/__sandbox__/markets/{ticker}/take",
        json={"side": "ask", "price": f"{price / 10_000:.4f}", "count": count},
        timeout=5,
    )
    answer.raise_for_status()
    sold: str = answer.json()["filled"]
    return sold


def cancel(row: Locator) -> None:
    """Press the row's own button and wait for the end of the order."""
    row.get_by_role("button", name="Cancel this order").click()
    expect(row.get_by_test_id("order-state")).to_contain_text("cancel", timeout=5000)


def created_on_the_wire(desk: RunningDesk) -> int:
    """Return how many orders the exchange's own record says the desk asked for."""
    lines = requests.get(f"{desk.sandbox_url}/__sandbox__/truth", params={"since": "0"}, timeout=5).text.splitlines()
    return len([entry for entry in map(json.loads, lines) if entry.get("kind") == "request" and _is_create(entry)])


def _is_create(entry: dict[str, Any]) -> bool:
    return entry.get("method", "POST") == "POST" and str(entry.get("path", "")).endswith("/events/orders")
