"""Every page in front of a person: no error in the console, nothing that a screen reader stumbles over, room to tap.

With KALSHIWEB_SHOTS set to a folder the walk leaves its pictures there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.journeys.desk import RunningDesk
from tests.journeys.ticket import CENT, newest_row, open_market, open_market_with_room, outcome, place, take

pytestmark = pytest.mark.browser

PAGES = ["", "markets/", "markets/?q=zzzz", "MARKET", "orders/", "keys/", "keys/add/", "catalogue/"]
PAGES += ["team/", "limits/", "sessions/", "audit/"]
OTHERS = ["/about/", "/accounts/password/change/", "/accounts/2fa/", "/accounts/logout/"]
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
TOO_SMALL = """() => [...document.querySelectorAll("main :is(button, a.button, select, input:not([type=hidden]))")]
  .filter((element) => element.checkVisibility({visibilityProperty: true}))
  .filter((element) => !element.closest("[inert], .segments, .side, .checkbox"))
  .map((element) => [element.getBoundingClientRect().height, element.outerHTML.slice(0, 90)])
  .filter(([height]) => height > 0 && height < 43.5)
  .map(([height, html]) => `${Math.round(height)} px: ${html}`)"""

SIDEWAYS = """() => [...document.querySelectorAll("body *")]
  .filter((element) => element.checkVisibility() && /auto|scroll/.test(getComputedStyle(element).overflowX))
  .filter((element) => element.scrollWidth > element.clientWidth + 1)
  .map((element) => element.outerHTML.slice(0, 90))"""


@pytest.fixture(scope="module")
def ticker(running_desk: RunningDesk, owner_page: Page) -> str:
    """Return a market with a living book."""
    return open_market_with_room(owner_page, running_desk)[0]


@pytest.fixture(params=SIZES)
def page(request: pytest.FixtureRequest, browser: Browser, owner_page: Page) -> Iterator[Page]:
    """Return the owner's page at a desk and on a phone; any error in its console fails the test."""
    width, height = SIZES[request.param]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        has_touch=request.param == "phone",
        storage_state=owner_page.context.storage_state(),
    )
    opened = context.new_page()
    errors: list[str] = []
    opened.on("console", lambda message: errors.append(message.text) if message.type in {"error", "warning"} else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert errors == []


def visit(page: Page, desk: RunningDesk, url: str, *, theme: str = "light") -> None:
    """Open a page in a theme and wait until it knows how the feed is."""
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.goto(desk.url + url)
    feed = page.locator("[data-feed-word]")
    if page.locator("body[data-market-socket]").count():
        expect(feed).to_have_text("live", timeout=5000)


def width(page: Page) -> int:
    """Return the width of the page's screen in CSS pixels."""
    assert page.viewport_size is not None
    return page.viewport_size["width"]


def keep_picture(page: Page, url: str, theme: str) -> None:
    """Leave a picture where the environment says so."""
    if folder := os.environ.get("KALSHIWEB_SHOTS"):
        name = url.strip("/").replace("/", "_").replace("?", "_") or "start"
        page.screenshot(path=Path(folder) / f"{name}-{theme}-{width(page)}.png")


def all_urls(ticker: str) -> list[str]:
    """Return the address of every page."""
    return ["/x/sandbox/" + name.replace("MARKET", f"markets/{ticker}/") for name in PAGES] + OTHERS


def violations(page: Page) -> list[dict[str, Any]]:
    """Return what axe finds, short enough to be read."""
    found = Axe().run(page).response["violations"]
    return [{"rule": one["id"], "where": [node["html"][:120] for node in one["nodes"][:3]]} for one in found]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_has_errors_or_stumbling_blocks(page: Page, running_desk: RunningDesk, ticker: str, theme: str) -> None:
    found = {}
    for url in all_urls(ticker):
        visit(page, running_desk, url, theme=theme)
        keep_picture(page, url, theme)
        found[url] = violations(page)
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width(page), f"{url} is wider than the screen"
        if width(page) < 400:
            assert page.evaluate(SIDEWAYS) == [], f"{url} has to be pushed sideways on a phone"

    assert {url: what for url, what in found.items() if what} == {}


def test_on_a_phone_everything_can_be_hit_with_a_thumb(page: Page, running_desk: RunningDesk, ticker: str) -> None:
    if width(page) > 400:
        pytest.skip("a desk has a mouse")
    found = {}
    for url in all_urls(ticker):
        visit(page, running_desk, url)
        found[url] = page.evaluate(TOO_SMALL)

    assert {url: what for url, what in found.items() if what} == {}


@pytest.mark.parametrize("url", ["/accounts/login/", "/welcome/used-already", "/no/such/page"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_who_stands_outside_sees_finished_pages(
    browser: Browser, running_desk: RunningDesk, url: str, theme: str
) -> None:
    page = browser.new_page(color_scheme="dark" if theme == "dark" else "light")
    page.goto(running_desk.url + url)

    assert violations(page) == []
    keep_picture(page, url, theme)
    page.close()


def test_the_chosen_theme_stays(page: Page, running_desk: RunningDesk) -> None:
    visit(page, running_desk, "/x/sandbox/", theme="light")
    page.locator(".person").click()
    page.get_by_role("button", name="Dark").click()
    visit(page, running_desk, "/x/sandbox/orders/", theme="light")

    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 26)"


def test_on_a_phone_every_page_is_two_taps_away(page: Page, running_desk: RunningDesk) -> None:
    if width(page) > 400:
        pytest.skip("a desk has its pages in the header")
    for name in ("Catalogue", "Team", "Record", "Sessions"):
        visit(page, running_desk, "/x/sandbox/")
        bar = page.get_by_role("navigation", name="Pages, on a phone")
        bar.get_by_text("More").click()
        bar.get_by_role("link", name=name).click()
        expect(page.locator(".tabbar summary[data-here]")).to_be_visible()


def test_the_no_view_is_the_same_book_from_the_other_side(page: Page, running_desk: RunningDesk, ticker: str) -> None:
    open_market(page, running_desk, ticker)
    page.get_by_role("button", name="NO view").click()
    page.locator(".ladder-row.best-ask").wait_for()
    assert page.url.endswith("?view=no")

    page.reload()
    expect(page.get_by_role("button", name="NO view")).to_have_attribute("aria-pressed", "true")
    row = page.locator('.ladder-row[data-price="3000"]')
    row.scroll_into_view_if_needed()
    expect(row.locator(".prices b")).to_have_text("70")
    higher = row.evaluate("(row) => Number(row.previousElementSibling?.dataset.price ?? 2900)")
    assert higher == 2900  # 71¢ of NO stands above 70¢ of NO
    boxes = {name: row.locator(f".{name}").bounding_box() for name in ("ask", "bid")}
    assert boxes["ask"] is not None
    assert boxes["bid"] is not None
    assert boxes["ask"]["x"] < boxes["bid"]["x"]  # who asks for YES bids for NO


def test_a_click_left_in_the_no_view_buys_no_and_says_so(page: Page, running_desk: RunningDesk, ticker: str) -> None:
    open_market(page, running_desk, ticker)
    page.get_by_role("button", name="NO view").click()
    row = page.locator('.ladder-row[data-price="3000"]')
    row.scroll_into_view_if_needed()
    row.locator(".left.ask").click()

    expect(page.locator("[data-words]")).to_have_text("Buy 10 NO at 70¢ or better")
    expect(page.locator("[data-words-same]")).to_have_text("the same as: sell 10 YES at 30¢ or better")


def test_space_centres_the_ladder_and_nothing_else_moves_it(page: Page, running_desk: RunningDesk, ticker: str) -> None:
    open_market(page, running_desk, ticker)
    page.locator(".ladder-row.best-bid").wait_for()
    scroll = page.locator("[data-ladder-scroll]")
    centred = scroll.evaluate("(element) => element.scrollTop")
    assert centred > 0

    scroll.evaluate("(element) => { element.scrollTop = 0; }")
    expect(page.get_by_test_id("book-state")).to_have_attribute("data-state", "LIVE")
    page.get_by_role("heading", level=1).click()
    assert scroll.evaluate("(element) => element.scrollTop") == 0
    page.keyboard.press("Space")
    assert scroll.evaluate("(element) => element.scrollTop") > 0


def test_an_order_appears_on_every_open_page(page: Page, running_desk: RunningDesk) -> None:
    dashboard = page.context.new_page()
    dashboard.goto(f"{running_desk.url}/x/sandbox/")
    count = dashboard.locator("[data-working-count]")
    before = int(count.text_content() or "0")

    _, price = open_market_with_room(page, running_desk)
    place(page, price_cents=str(price // CENT - 4), count="7")

    shown = newest_row(dashboard)
    expect(shown).to_contain_text("7")
    expect(count).to_have_text(str(before + 1))
    newest_row(page).get_by_role("button", name="Cancel this order").click()
    expect(shown.get_by_test_id("order-state")).to_contain_text("cancel")
    expect(count).to_have_text(str(before))


def test_a_fill_reaches_the_ticket_and_every_page_without_a_reload(page: Page, running_desk: RunningDesk) -> None:
    dashboard = page.context.new_page()
    dashboard.goto(f"{running_desk.url}/x/sandbox/")
    held = dashboard.get_by_test_id("positions")

    ticker, price = open_market_with_room(page, running_desk)
    before = held.text_content()
    place(page, price_cents=str(price // CENT), count="7")
    expect(outcome(page)).to_contain_text("resting: 7 at")
    take(running_desk, ticker, price=price, count="7.00")

    expect(outcome(page)).to_contain_text("executed: 7 of 7 at")
    expect(page.locator("[data-held-words]")).to_contain_text("YES")
    expect(held).not_to_have_text(before or "", timeout=5000)


def test_a_price_off_the_grid_is_said_in_place(page: Page, running_desk: RunningDesk) -> None:
    _, price = open_market_with_room(page, running_desk)
    place_button = page.get_by_test_id("confirm")
    ticket = page.get_by_test_id("ticket")
    ticket.get_by_label("price").fill(f"{price // CENT}.5")
    ticket.get_by_role("button", name="Review").click()

    expect(ticket.get_by_role("alert")).to_contain_text("is not on this market's grid: the nearest is")
    expect(ticket.get_by_label("price")).to_have_attribute("aria-invalid", "true")
    expect(place_button).to_be_hidden()


@pytest.mark.parametrize("direction", ["Buy YES", "Buy NO", "Sell YES", "Sell NO"])
def test_the_sums_while_typing_are_those_of_the_confirmation(
    page: Page, running_desk: RunningDesk, ticker: str, direction: str
) -> None:
    open_market(page, running_desk, ticker)
    ticket = page.get_by_test_id("ticket")
    ticket.locator("label.side", has_text=direction).click()
    ticket.get_by_label("price").fill("57")
    ticket.get_by_label("Quantity").fill("12.34")
    sums = ticket.locator("[data-sums] dd")
    typed = sums.all_text_contents()

    ticket.get_by_role("button", name="Review").click()
    action, side = direction.split()
    expect(page.get_by_test_id("confirm")).to_have_text(f"Send: {action.lower()} 12.34 {side} at 57¢")
    assert sums.all_text_contents() == typed
    assert all(amount.startswith("$") for amount in typed)
