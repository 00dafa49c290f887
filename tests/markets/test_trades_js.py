"""`static/js/trades.js` draws each trade once, and all of them anew when their numbers begin anew."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

pytestmark = pytest.mark.browser

DRAW = """async (tellings) => {
  const {TradesList} = await import("/js/trades.js");
  const root = document.createElement("div");
  root.innerHTML = `<table><tbody data-trades></tbody></table><p data-trades-empty></p><p data-trades-count></p>`;
  const list = new TradesList(root);
  return tellings.map((trades) => {
    list.draw(trades);
    return [...root.querySelectorAll("tr")].map((row) => row.lastElementChild.textContent);
  });
}"""


def trade(number: int, contracts: int, epoch: str = "e1") -> dict[str, Any]:
    return {"t": "trade", "e": epoch, "k": number, "p": 4000, "c": contracts * 100, "side": "yes", "ts": None}


def test_a_trade_is_drawn_once_and_the_newest_is_on_top(static_page: Page) -> None:
    first = [trade(1, 10), trade(2, 20)]

    assert static_page.evaluate(DRAW, [first, first, [*first, trade(3, 30)]]) == [
        ["20", "10"],
        ["20", "10"],
        ["30", "20", "10"],
    ]


@pytest.mark.parametrize("epoch", ["e1", "e2"])
def test_trades_that_are_numbered_from_the_start_again_are_drawn(static_page: Page, epoch: str) -> None:
    anew = [trade(1, 70, epoch)]

    assert static_page.evaluate(DRAW, [[trade(1, 10), trade(2, 20)], anew]) == [["20", "10"], ["70"]]


def test_nothing_is_drawn_of_trades_that_the_page_no_longer_has(static_page: Page) -> None:
    anew = [trade(3, 70, "e2")]

    assert static_page.evaluate(DRAW, [[trade(1, 10), trade(2, 20)], [], anew]) == [["20", "10"], [], ["70"]]
