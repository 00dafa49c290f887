"""One order from the ticket to the book, to a fill, to the end, on the whole running desk."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.journeys.desk import RunningDesk
from tests.journeys.ticket import (
    CENT,
    cancel,
    created_on_the_wire,
    fill,
    new_row,
    open_market_with_room,
    order_ids,
    outcome,
    place,
    price_in_the_spread,
    row_of,
    take,
)

pytestmark = pytest.mark.browser

SUBMIT = re.compile(r"/markets/[^/]+/orders/$")
COUNT = 200
SOLD = 15
SEEN_MS = 1_000
TRIES = 5  # the makers may have moved between the look and the order

# Writes down when a row first shows at least so many contracts as filled, by the clock of this machine.
NOTE_FILL = """(row, {filled}) => {
  const cell = row.querySelector('[data-cell="filled"]');
  globalThis.filledAt = null;
  const look = () => {
    if (globalThis.filledAt === null && Number(cell.textContent.replaceAll(",", "")) >= filled) {
      globalThis.filledAt = Date.now();
    }
  };
  new MutationObserver(look).observe(cell, {childList: true, characterData: true, subtree: true});
}"""


def rest_alone_in_the_spread(page: Page, desk: RunningDesk) -> tuple[str, int, Locator]:
    """Place a bid that is the best of its market; return (ticker, price, its row) once it rests."""
    for _ in range(TRIES):
        ticker, _ = open_market_with_room(page, desk)
        price = price_in_the_spread(page, ticker)
        if price is None:
            continue
        known = order_ids(page)
        place(page, price_cents=str(price // CENT), count=str(COUNT))
        row = new_row(page, known)
        state = row.get_by_test_id("order-state")
        expect(state).to_contain_text(re.compile("resting|partly|filled|executed"), timeout=5000)
        if filled(row) <= COUNT - 4 * SOLD and state.get_attribute("data-state") != "executed":
            return ticker, price, row
    raise AssertionError(f"the makers ate the bid {TRIES} times")


def filled(row: Locator) -> float:
    """Return what a row says is filled."""
    return float(row.locator('[data-cell="filled"]').inner_text().replace(",", ""))


def seen_after_ms(page: Page, since_ms: int) -> int:
    """Return how long after a moment the page showed the fill."""
    page.wait_for_function("() => globalThis.filledAt !== null", timeout=5000, polling=20)
    at: int = page.evaluate("() => globalThis.filledAt")
    return at - since_ms


def test_a_bid_is_seen_by_all_filled_by_a_maker_and_its_rest_cancelled(
    signed_in: Page, running_desk: RunningDesk
) -> None:
    team_orders = signed_in.context.new_page()
    team_orders.goto(f"{running_desk.url}/x/sandbox/orders/")
    ticker, price, row = rest_alone_in_the_spread(signed_in, running_desk)
    before = created_on_the_wire(running_desk)

    level = signed_in.locator(f'[data-testid="ladder-row"][data-price="{price}"]')
    expect(level.locator(".ours-bid .chip")).to_contain_text(str(COUNT))
    expect(level).to_have_attribute("data-bid", re.compile(r"[1-9]\d*"))
    team_row = row_of(team_orders, str(row.get_attribute("data-order")))
    expect(team_row.locator('[data-cell="count"]')).to_have_text(str(COUNT))

    for shown in (row, team_row):
        shown.evaluate(NOTE_FILL, {"filled": filled(row) + SOLD})
    at = time.time_ns() // 1_000_000
    assert take(running_desk, ticker, price=price, count=f"{SOLD}.00") == f"{SOLD}.00"
    assert seen_after_ms(signed_in, at) <= SEEN_MS
    assert seen_after_ms(team_orders, at) <= SEEN_MS
    for shown in (row, team_row):
        expect(shown.get_by_test_id("order-state")).to_contain_text("partly")

    cancel(row)
    expect(team_row.get_by_test_id("order-state")).to_contain_text("cancel", timeout=1000)
    expect(level.locator(".ours-bid .chip")).to_have_count(0)
    assert created_on_the_wire(running_desk) == before
    team_orders.close()


def test_a_click_on_the_ladder_fills_the_ticket_and_sends_nothing(signed_in: Page, running_desk: RunningDesk) -> None:
    before = created_on_the_wire(running_desk)
    _, bid = open_market_with_room(signed_in, running_desk)

    signed_in.locator(f'[data-testid="ladder-row"][data-price="{bid - 3 * CENT}"] .bid').click()

    ticket = signed_in.get_by_test_id("ticket")
    expect(ticket.get_by_label(re.compile("price", re.I))).to_have_value(str(bid // CENT - 3))
    expect(ticket).to_contain_text(re.compile(rf"Buy 10 YES at {bid // CENT - 3}¢ or better"))
    assert created_on_the_wire(running_desk) == before


def test_after_a_lost_answer_the_page_asks_and_the_order_is_sent_once(
    signed_in: Page, running_desk: RunningDesk, console: list[str]
) -> None:
    before = created_on_the_wire(running_desk)
    _, bid = open_market_with_room(signed_in, running_desk)
    known = order_ids(signed_in)
    fill(signed_in, price_cents=str(bid // CENT - 4), count="3")

    def lose(route: Route) -> None:
        route.fetch()  # it arrives, and its answer does not
        route.fulfill(status=502, body="", content_type="text/html")

    signed_in.route(SUBMIT, lose, times=1)
    signed_in.get_by_test_id("confirm").click()

    expect(outcome(signed_in)).to_contain_text("resting", timeout=8000)
    row = new_row(signed_in, known)
    expect(row.get_by_test_id("order-state")).to_contain_text("resting")
    assert created_on_the_wire(running_desk) == before + 1
    cancel(row)
    console.remove("Failed to load resource: the server responded with a status of 502 (Bad Gateway)")


def test_two_taps_on_the_confirmation_are_one_order(signed_in: Page, running_desk: RunningDesk) -> None:
    before = created_on_the_wire(running_desk)
    _, bid = open_market_with_room(signed_in, running_desk)
    known = order_ids(signed_in)
    fill(signed_in, price_cents=str(bid // CENT - 4), count="2")
    expect(signed_in.get_by_test_id("confirm")).to_be_visible()

    signed_in.get_by_test_id("confirm").evaluate("(button) => { button.click(); button.click(); }")

    row = new_row(signed_in, known)
    expect(row.get_by_test_id("order-state")).to_contain_text("resting", timeout=5000)
    assert created_on_the_wire(running_desk) == before + 1
    cancel(row)
