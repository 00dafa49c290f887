"""The team's orders in a browser: neither a hole in the news nor an answer that comes late leaves a false state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.markets.marketpage import MarketPage, ended, order, order_id

pytestmark = pytest.mark.browser

Open = Callable[..., MarketPage]

IS_OLDER = """async ([order, held]) => {
  const {isOlder} = await import("/js/knownorders.js");
  return isOlder(order, held);
}"""


@pytest.mark.parametrize(
    ("told", "held", "expected"),
    [
        (order(n=4), order(n=5), True),
        (order(n=5), order(n=4), False),
        (order(n=5, updated_at=9), order(n=5, updated_at=8), False),
        (order(n=5, updated_at=8), order(n=5, updated_at=9), True),
        (order(n=5, updated_at=8), order(n=4, updated_at=9), False),  # clocks are set back, numbers are not
        (order(n=9, updated_at=9), ended(n=5, updated_at=8), True),
        (ended(n=5, updated_at=8), order(n=9, updated_at=9), False),
        (ended(n=5), ended(n=5), False),
    ],
)
def test_which_word_of_an_order_is_the_older(
    static_page: Page, told: dict[str, Any], held: dict[str, Any], expected: bool
) -> None:
    assert static_page.evaluate(IS_OLDER, [told, held]) is expected


def test_an_order_that_ended_in_a_hole_of_the_news_is_shown_as_ended(open_page: Open) -> None:
    desk = open_page(orders=[order("a"), order("b"), order("c")])
    listed = [order("c", n=900), order("b", n=900)]

    def answer(query: dict[str, list[str]]) -> dict[str, Any]:
        return {"orders": [ended("a", n=900)] if query.get("id") == [order_id("a")] else listed}

    desk.answers["/orders.json"] = answer
    desk.news({"t": "lost", "n": 900})

    desk.wait(lambda: desk.state_of("a") == "canceled")
    assert (desk.state_of("b"), desk.state_of("c")) == ("resting", "resting")
    assert desk.chips(4_800) == ["BO 20"]
    expect(desk.part("working-count")).to_have_text("2")


def test_rows_that_could_not_be_fetched_are_asked_for_until_they_come(open_page: Open) -> None:
    desk = open_page(orders=[order("a")])
    desk.news({"t": "beat", "n": 900, "at": 0}, {"t": "lost", "n": 900})
    desk.wait(lambda: len(desk.asked) > 0)
    assert desk.state_of("a") == "resting"
    assert not desk.page.evaluate("() => kalshiweb.desk.isCurrent(Date.now())")

    desk.answers["/orders.json"] = {"orders": [ended("a", n=900)]}

    desk.wait(lambda: desk.state_of("a") == "canceled")


def test_rows_that_came_cut_off_are_asked_for_until_they_come_whole(open_page: Open) -> None:
    desk = open_page(orders=[order("a")])
    desk.answers["/orders.json"] = '{"n": 900, "orders": [{'
    desk.news({"t": "beat", "n": 900, "at": 0}, {"t": "lost", "n": 900})
    desk.wait(lambda: len(desk.asked) > 0)
    desk.settle()
    assert not desk.page.evaluate("() => kalshiweb.desk.isCurrent(Date.now())")

    desk.answers["/orders.json"] = {"orders": [ended("a", n=900)]}

    desk.wait(lambda: desk.state_of("a") == "canceled")
    desk.news({"t": "beat", "n": 900, "at": 0})
    desk.wait(lambda: bool(desk.page.evaluate("() => kalshiweb.desk.isCurrent(Date.now())")))


def test_after_a_restore_the_older_numbers_count(open_page: Open) -> None:
    desk = open_page(orders=[ended("a", n=500)])
    desk.answers["/orders.json"] = {"orders": [order("a", n=300)]}

    desk.news({"t": "lost", "n": 300})

    desk.wait(lambda: desk.state_of("a") == "resting")
    assert desk.chips(4_800) == ["BO 10"]


def test_a_cancels_answer_that_comes_late_takes_no_end_back(open_page: Open) -> None:
    desk = open_page(orders=[order("a")])

    def answer(_fields: dict[str, list[str]]) -> dict[str, Any]:
        desk.overtake(ended("a", n=2))
        return {"order": order("a", n=1, cancel_at=1_500, words="resting, cancel requested")}

    desk.answers["/cancel/"] = answer
    desk.page.get_by_label("Cancel this order").click()
    desk.wait(lambda: desk.state_of("a") == "canceled")
    desk.settle()

    assert desk.state_of("a") == "canceled"
    assert desk.chips(4_800) == []
    expect(desk.page.get_by_label("Cancel this order")).to_be_hidden()


def test_a_cancels_answer_reaches_the_ladder_too(open_page: Open) -> None:
    desk = open_page(orders=[order("a")])
    desk.answers["/cancel/"] = {"order": ended("a", n=3)}

    desk.page.get_by_label("Cancel this order").click()

    desk.wait(lambda: desk.state_of("a") == "canceled")
    assert desk.chips(4_800) == []
    desk.news(order("a", n=2))
    assert desk.state_of("a") == "canceled"


def test_an_answer_to_the_ticket_that_comes_late_says_what_is_so_by_now(open_page: Open) -> None:
    desk = open_page()
    desk.answers["/review/"] = {"words": "It.", "send": "Send it", "sums": {}}
    desk.page.locator("#ticket-price").fill("48")
    desk.part("send").click()
    filled = order(
        "a",
        n=2,
        state="executed",
        words="executed",
        cancelable=False,
        filled=1_000,
        remaining=0,
        avg=4_800,
        fees=70_000,
    )

    def answer(_fields: dict[str, list[str]]) -> dict[str, Any]:
        desk.overtake(order("a", n=1), filled)
        return {"order": order("a", n=1), "next_key": "22222222-2222-4222-8222-222222222222"}

    desk.answers["/orders/"] = answer
    desk.part("confirm").click()

    expect(desk.part("outcome")).to_have_text("executed: 10 of 10 at 48¢, fees $0.07")
    assert desk.state_of("a") == "executed"
    assert desk.chips(4_800) == []
