"""A desk without a key reads its books over REST and says so; with one, pages that are open go live by themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.journeys.desk import RunningDesk
from tests.journeys.ticket import open_market_with_room

pytestmark = pytest.mark.browser

NOTICED_MS = 15_000  # the feed looks for its key every two seconds, then it connects
OLDEST_MS = 2_000
AGES = 12  # a page draws its label four times a second

# Keeps every state and age that the label shows; a reload would lose it.
WATCH_LABEL = """() => {
  const label = document.querySelector('[data-testid="book-state"]');
  const seen = (globalThis.seenLabels = []);
  const note = () => seen.push([label.dataset.state, Number(label.dataset.ageMs || NaN)]);
  note();
  new MutationObserver(note).observe(label, {attributes: true, attributeFilter: ["data-age-ms"]});
}"""
SEEN = "() => globalThis.seenLabels"
HAS_SEEN = "(count) => globalThis.seenLabels.filter(([state]) => state === 'POLLED').length >= count"


@pytest.fixture
def keys_page(signed_in: Page, running_desk: RunningDesk) -> Iterator[Page]:
    """Return another tab of the owner, on the keys page."""
    tab = signed_in.context.new_page()
    tab.goto(f"{running_desk.url}/x/sandbox/keys/")
    yield tab
    tab.close()


def label_of(page: Page) -> Locator:
    """Return the label that says how far the book may be believed."""
    return page.get_by_test_id("book-state")


def feed_word(page: Page) -> Locator:
    """Return what the header says of the way to the exchange."""
    return page.locator("[data-feed-word]")


def remove_the_key(tab: Page) -> None:
    """Take the only key away, as its owner does."""
    tab.get_by_role("link", name="Remove…").click()
    tab.get_by_role("button", name="Remove it").click()
    expect(tab.get_by_text("No key yet.")).to_be_visible()


def add_a_key(tab: Page, desk: RunningDesk) -> None:
    """Add a key that the exchange knows and have the books read with it, as an owner does."""
    described = json.loads((desk.data_dir / "sandbox" / "credentials" / "rival.json").read_text())
    tab.get_by_role("main").get_by_role("link", name="Add key").first.click()
    tab.get_by_label("Name", exact=True).fill("second key")
    tab.get_by_label("Key id").fill(str(described["key_id"]))
    tab.get_by_label("or its file").set_input_files(Path(described["private_key_file"]))
    tab.get_by_role("button", name="Try it and keep it").click()
    tab.get_by_role("button", name="Read the books with it").click()
    expect(tab.get_by_role("status")).to_contain_text("second key now reads the desk’s books")


def assert_young_and_polled(page: Page) -> None:
    """Watch a label for some seconds: while it says POLLED, the book is never older than two seconds."""
    page.wait_for_function(HAS_SEEN, arg=AGES)
    assert max(age for state, age in page.evaluate(SEEN) if state == "POLLED") <= OLDEST_MS


def assert_a_new_page_is_polled(tab: Page, desk: RunningDesk) -> None:
    """Open dashboard, list and a market without a key: all of them say so, and none was ever live."""
    tab.goto(f"{desk.url}/x/sandbox/")
    expect(tab.locator("[data-feed-state]")).to_have_attribute("data-state", "POLLED")
    expect(tab.locator("[data-feed-why]")).to_contain_text("no key is lent to the desk's feed yet")
    tab.goto(f"{desk.url}/x/sandbox/markets/")
    tab.get_by_role("main").locator('a[href*="/markets/KX"]').first.click()
    expect(label_of(tab)).to_have_attribute("data-state", "POLLED")
    tab.evaluate(WATCH_LABEL)
    assert_young_and_polled(tab)
    assert {state for state, _ in tab.evaluate(SEEN)} == {"POLLED"}
    expect(tab.get_by_role("status").filter(has_text="The book is")).to_have_text("The book is POLLED")


def test_pages_follow_the_desks_key_from_live_to_polled_and_back_without_a_reload(
    signed_in: Page, keys_page: Page, running_desk: RunningDesk
) -> None:
    page = signed_in
    open_market_with_room(page, running_desk)
    expect(feed_word(page)).to_have_text("live")
    page.evaluate(WATCH_LABEL)

    remove_the_key(keys_page)
    expect(label_of(page)).to_have_attribute("data-state", "POLLED", timeout=NOTICED_MS)
    expect(page.locator("[data-state-why]")).to_contain_text("add one on the keys page")
    expect(feed_word(page)).to_have_text("polled")
    assert_young_and_polled(page)
    assert_a_new_page_is_polled(keys_page, running_desk)

    keys_page.goto(f"{running_desk.url}/x/sandbox/keys/")
    add_a_key(keys_page, running_desk)
    expect(label_of(page)).to_have_attribute("data-state", "LIVE", timeout=NOTICED_MS)
    expect(feed_word(page)).to_have_text("live")

    remove_the_key(keys_page)
    expect(label_of(page)).to_have_attribute("data-state", "POLLED", timeout=NOTICED_MS)
    states = [state for state, _ in groupby(state for state, _ in page.evaluate(SEEN))]
    assert [state for state in states if state in {"LIVE", "POLLED"}] == ["LIVE", "POLLED", "LIVE", "POLLED"]
