"""A part of the desk dies under an open page: the label says so within three seconds, and heals without a reload."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.desk import RunningDesk
from tests.journeys.ticket import CENT, cancel, new_row, open_market_with_room, order_ids, place, row_of

pytestmark = pytest.mark.browser

NOTICED_MS = 3_000
HEALED_SECONDS = 30
LOST_LINE = re.compile(
    r"^WebSocket connection to 'ws://localhost:\d+/ws/(markets/|desk/\?team=[\w-]+&role=\w+)' failed: |"
    r"^Failed to load resource: net::ERR_CONNECTION_REFUSED$"
)

# Writes down every change of the label that the page shows, with the page's own clock.
RECORD = """() => {
  const label = document.querySelector('[data-testid="book-state"]');
  const seen = (globalThis.seenLabels = [{at: Date.now(), state: label.dataset.state}]);
  setInterval(() => {
    const {state} = label.dataset;
    if (state !== seen.at(-1).state) seen.push({at: Date.now(), state});
  }, 20);
}"""


@pytest.fixture
def page(owner_page: Page, console: list[str]) -> Iterator[Page]:
    """Return the owner's page, whose console may say that a socket could not be opened, and nothing else."""
    console.clear()
    yield owner_page
    assert [error for error in console if not LOST_LINE.match(error)] == []


def break_down(desk: RunningDesk, part: str, number: int) -> int:
    """End a part as a crash would, or make it hang; return when, in ms."""
    at = time.time_ns() // 1_000_000
    os.kill(desk.pids()[part], number)
    return at


def wait_for_a_label(page: Page, moment_ms: int, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the first label shown after a moment that is as wanted."""
    labels: list[dict[str, Any]] = []
    deadline = time.monotonic() + HEALED_SECONDS
    while time.monotonic() < deadline:
        labels = [label for label in page.evaluate("() => globalThis.seenLabels") if label["at"] >= moment_ms]
        if found := [label for label in labels if is_it(label)]:
            return found[0]
        page.wait_for_timeout(50)
    raise AssertionError(f"only {labels} was shown")


@pytest.mark.parametrize(
    ("part", "number"),
    [
        ("sandbox", signal.SIGKILL),
        ("feed", signal.SIGKILL),
        ("valkey", signal.SIGKILL),
        ("valkey", signal.SIGSTOP),
        ("web", signal.SIGKILL),
    ],
)
def test_the_label_tells_of_a_dead_part_and_everything_goes_on_when_it_is_back(
    page: Page, running_desk: RunningDesk, part: str, number: int
) -> None:
    team_orders = page.context.new_page()
    team_orders.goto(f"{running_desk.url}/x/sandbox/orders/")
    _, bid = open_market_with_room(page, running_desk)
    page.evaluate(RECORD)

    lost_at = break_down(running_desk, part, number)

    doubted = wait_for_a_label(page, lost_at, lambda shown: shown["state"] != "LIVE")
    assert doubted["at"] - lost_at <= NOTICED_MS
    if number == signal.SIGSTOP:
        os.kill(running_desk.pids()[part], signal.SIGKILL)
    wait_for_a_label(page, doubted["at"], lambda shown: shown["state"] == "LIVE")
    label = page.get_by_test_id("book-state")
    expect(label).to_have_attribute("data-state", "LIVE", timeout=HEALED_SECONDS * 1000)

    # The team's own socket too, on both pages, neither of which was loaded again.
    known = order_ids(page)
    place(page, price_cents=str(bid // CENT - 4), count="3")
    row = new_row(page, known)
    expect(row.get_by_test_id("order-state")).to_contain_text("resting", timeout=5000)
    told = row_of(team_orders, str(row.get_attribute("data-order")))
    expect(told.get_by_test_id("order-state")).to_contain_text("resting", timeout=15_000)
    cancel(row)
    expect(told.get_by_test_id("order-state")).to_contain_text("cancel", timeout=5000)
    team_orders.close()
