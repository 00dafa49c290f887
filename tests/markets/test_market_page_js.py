"""The market's page in a browser: it follows the price grid, and the keyboard stays where the person is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.markets.marketpage import ASKS, BIDS, HALF_CENTS, MarketPage, ended, order

pytestmark = pytest.mark.browser

Open = Callable[..., MarketPage]
REVIEW = {"words": "The exchange will read it.", "send": "Send it", "sums": {"cost": "$4.80"}}


# --- the grid -------------------------------------------------------------------------------------------


def test_the_ladder_has_a_row_for_every_price_of_a_new_grid(open_page: Open) -> None:
    desk = open_page()
    assert desk.prices() == list(range(9_900, 0, -100))

    desk.book([[4_850, 700], [4_700, 100]], ASKS, grid=HALF_CENTS)

    assert desk.prices() == list(range(9_950, 0, -50))
    expect(desk.row(4_850)).to_have_attribute("data-bid", "700")
    expect(desk.row(4_850).locator(".bid .size")).to_have_text("7")
    expect(desk.part("ladder-bid")).to_have_text("48.5¢")
    expect(desk.part("tick")).to_have_text("0.5¢")


def test_a_price_that_only_the_book_has_gets_its_row_too(open_page: Open) -> None:
    desk = open_page(grid=HALF_CENTS)
    desk.book([[4_850, 700]], ASKS, grid=HALF_CENTS)
    expect(desk.row(4_850)).not_to_have_class("ladder-row off-grid")

    desk.book([[4_850, 700]], ASKS)

    assert desk.prices() == sorted([*range(100, 10_000, 100), 4_850], reverse=True)
    expect(desk.row(4_850)).to_have_attribute("data-bid", "700")
    expect(desk.row(4_850)).to_have_attribute("aria-label", "YES 48.5 cents, bid 7, no longer on this market's grid")


def test_a_new_grid_leaves_the_person_where_they_look(open_page: Open) -> None:
    desk = open_page()
    scroll = desk.page.locator("[data-ladder-scroll]")
    scroll.evaluate("(scroll) => (scroll.scrollTop += 333)")
    desk.settle()
    script = """(scroll) => {
      const {left, top, height} = scroll.getBoundingClientRect();
      return Number(document.elementFromPoint(left + 20, top + height / 2).closest(".ladder-row").dataset.price);
    }"""
    middle = scroll.evaluate(script)
    before = desk.top_of(middle)
    assert middle % 100 == 0
    assert 2_000 < middle < 4_500

    desk.book(BIDS, ASKS, grid=HALF_CENTS)

    assert scroll.evaluate(script) == middle
    assert abs(desk.top_of(middle) - before) < 2


def test_the_keyboard_stays_on_its_row_when_the_grid_changes(open_page: Open) -> None:
    desk = open_page()
    desk.row(4_800).focus()
    before = desk.top_of(4_800)

    desk.book(BIDS, ASKS, grid=HALF_CENTS)

    assert desk.focused == "4800"
    assert abs(desk.top_of(4_800) - before) < 2
    desk.page.keyboard.press("ArrowUp")
    assert desk.focused == "4850"


def test_an_order_of_ours_is_seen_at_a_price_that_the_grid_lacks(open_page: Open) -> None:
    desk = open_page(orders=[order(price=4_850, wire_price=4_850)])
    assert desk.chips(4_850) == ["BO 10"]

    desk.book(BIDS, ASKS, grid=HALF_CENTS)

    assert desk.chips(4_850) == ["BO 10"]
    assert desk.prices() == list(range(9_950, 0, -50))


def test_the_ticket_goes_by_the_new_grid(open_page: Open) -> None:
    desk = open_page()
    price = desk.page.locator("#ticket-price")
    price.fill("48.5")
    desk.part("send").click()
    expect(desk.part("fault")).to_have_text("48.5¢ is not on this market's grid: the nearest is 48¢ or 49¢.")
    assert desk.asked == []

    desk.book(BIDS, ASKS, grid=HALF_CENTS)

    price.fill("48")
    desk.page.get_by_label("One tick higher").click()
    expect(price).to_have_value("48.5")
    desk.answers["/review/"] = REVIEW
    desk.part("send").click()
    expect(desk.part("confirm")).to_be_focused()


def test_a_price_that_is_no_longer_on_the_grid_says_so_and_cannot_be_sent(open_page: Open) -> None:
    desk = open_page()
    desk.book(BIDS, ASKS, grid=HALF_CENTS)
    reviewed(desk, "48.5")

    desk.book(BIDS, ASKS)

    expect(desk.part("fault")).to_be_visible()
    expect(desk.part("fault")).to_have_text("48.5¢ is not on this market's grid: the nearest is 48¢ or 49¢.")
    expect(desk.part("confirm")).to_be_hidden()
    assert desk.focused == "price"
    desk.part("send").click()
    expect(desk.part("confirm")).to_be_hidden()
    assert [path for path, _ in desk.asked if path.endswith("/orders/")] == []


# --- what is confirmed is what was reviewed -----------------------------------------------------------------


def reviewed(desk: MarketPage, price: str = "48") -> None:
    """Bring the ticket to where it can be confirmed."""
    desk.answers["/review/"] = REVIEW
    desk.page.locator("#ticket-price").fill(price)
    desk.part("send").click()
    expect(desk.part("confirm")).to_be_focused()


@pytest.mark.parametrize("how", ["a click on the ladder", "a key"])
def test_a_change_of_the_ticket_ends_its_review(open_page: Open, how: str) -> None:
    desk = open_page()
    reviewed(desk)

    if how == "a key":
        desk.page.keyboard.press("3")
    else:
        desk.row(4_700).locator(".bid").click()

    expect(desk.part("confirm")).to_be_hidden()
    expect(desk.part("send")).to_be_visible()
    assert [path.split("/")[-2] for path, _ in desk.asked] == ["review"]


def test_a_new_best_price_leaves_the_sums_under_review_as_the_server_gave_them(open_page: Open) -> None:
    desk = open_page()
    desk.book([[4_700, 1_000]], [[5_200, 1_000]])
    desk.answers["/review/"] = {**REVIEW, "sums": {"cost": "$7.77", "fee": "$0.11", "loss": "$7.88", "pays": "$9.99"}}
    desk.page.locator("#ticket-price").fill("48")
    desk.part("send").click()
    expect(desk.part("confirm")).to_be_visible()
    sums = desk.page.locator("[data-sum]")

    desk.book([[4_600, 1_000]], [[5_300, 1_000]])

    assert sums.all_text_contents() == ["$7.77", "$0.11", "$7.88", "$9.99"]
    desk.page.get_by_text("Change it").click()
    assert "$7.77" not in sums.all_text_contents()


def test_a_review_that_comes_after_the_ticket_has_changed_is_of_no_use(open_page: Open) -> None:
    desk = open_page()

    desk.answers["/review/"] = REVIEW
    desk.page.evaluate(
        """() => {
          const price = document.querySelector("#ticket-price");
          price.value = "48";
          document.querySelector("[data-send]").click();
          price.value = "47";
          price.dispatchEvent(new Event("input", {bubbles: true}));
        }"""
    )
    desk.wait(lambda: len(desk.asked) == 1)
    desk.settle()

    expect(desk.part("confirm")).to_be_hidden()
    expect(desk.part("send")).to_have_attribute("aria-disabled", "false")


# --- the keyboard, and what is read aloud -------------------------------------------------------------------


def test_the_other_view_leaves_the_keyboard_on_its_row(open_page: Open) -> None:
    desk = open_page()
    desk.row(4_300).focus()
    before = desk.top_of(4_300)

    desk.page.keyboard.press("v")

    assert desk.focused == "4300"
    expect(desk.row(4_300).locator("b")).to_have_text("57")
    assert abs(desk.top_of(4_300) - before) < 2
    desk.page.keyboard.press("ArrowUp")
    assert desk.focused == "4200"


def test_the_keyboard_goes_on_in_the_ticket_after_an_order(open_page: Open) -> None:
    desk = open_page()
    reviewed(desk)
    desk.answers["/orders/"] = {"order": order(n=4), "next_key": "22222222-2222-4222-8222-222222222222"}
    desk.page.keyboard.press("Enter")

    expect(desk.part("outcome")).to_have_text("resting: 10 at 48¢")
    expect(desk.part("send")).to_be_focused()
    assert desk.asked[-1][1]["price"] == ["48"]


def test_the_keyboard_is_not_taken_while_a_book_that_went_stale_blocks_the_ticket(open_page: Open) -> None:
    desk = open_page()
    reviewed(desk)

    desk.book(BIDS, ASKS, state="STALE")

    expect(desk.part("fault")).to_have_text("The book is STALE: nothing can be sent now.")
    expect(desk.part("confirm")).to_be_focused()
    desk.page.keyboard.press("Enter")
    desk.settle()
    assert [path.split("/")[-2] for path, _ in desk.asked] == ["review"]
    desk.book(BIDS, ASKS)
    expect(desk.part("fault")).to_be_hidden()


def test_the_keyboard_goes_to_the_next_order_after_a_cancel(open_page: Open) -> None:
    desk = open_page(orders=[order("b"), order("a")])
    cancel = desk.page.get_by_label("Cancel this order")
    rows = desk.page.get_by_test_id("order-row").evaluate_all("(rows) => rows.map((row) => row.dataset.order)")
    first, second = rows
    desk.answers["/cancel/"] = {"order": ended(first[0], n=3)}
    cancel.first.focus()
    desk.page.keyboard.press("Enter")

    expect(desk.page.locator(f'tr[data-order="{second}"] button')).to_be_focused()
    desk.answers["/cancel/"] = {"order": ended(second[0], n=4)}
    desk.page.keyboard.press("Enter")
    expect(desk.page.get_by_role("region", name="Orders, scrollable")).to_be_focused()


def test_a_sentence_is_read_aloud_once(open_page: Open) -> None:
    desk = open_page(orders=[order()])
    desk.page.evaluate(
        """() => {
          globalThis.changes = [];
          const watching = new MutationObserver((found) => changes.push(...found.map((one) => one.target.outerHTML)));
          for (const element of document.querySelectorAll("[aria-live], [role=status], [role=alert]")) {
            watching.observe(element, {subtree: true, childList: true, characterData: true, attributes: true});
          }
        }"""
    )
    desk.book([[4_600, 100]], ASKS)
    desk.book([[4_700, 100]], [[4_900, 100]])
    desk.news(order(n=2))
    assert desk.page.evaluate("() => changes") == []

    desk.page.locator("#ticket-price").fill("44")
    desk.settle()
    assert len(desk.page.evaluate("() => changes")) > 0
    expect(desk.part("words")).to_have_text("Buy 10 YES at 44¢ or better")
