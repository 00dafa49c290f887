"""Whatever the exchange calls a market or answers to an order stands on our pages as text, and does nothing."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from playwright.sync_api import Locator, Page, Route, ViewportSize, expect

from tests.journeys import desk as desks
from tests.journeys.conftest import end_and_judge
from tests.journeys.desk import ROOT, RunningDesk
from tests.journeys.hostile import CORPUS, LISTED, Judge, Verdict, list_hostile_markets
from tests.journeys.ticket import (
    CENT,
    PATIENCE_SECONDS,
    new_row,
    newest_row,
    open_market_with_room,
    order_ids,
    outcome,
    place,
)

pytestmark = pytest.mark.browser

FINE = Verdict({}, [])
SAID = " ".join(CORPUS[:4]), " ".join(CORPUS[4:7]), " ".join(CORPUS[7:11])  # an error's text is cut at 300 letters
DESKTOP, PHONE = ViewportSize(width=1440, height=900), ViewportSize(width=390, height=844)
ORDERS = "*/portfolio/events/orders*"
NAMES_SHOWN = '() => [...document.querySelectorAll("main tr[data-top]")].map((row) => row.dataset.top)'
KEEP_WHY = """() => {
  const why = document.querySelector("[data-state-why]");
  globalThis.seenWhy = [];
  new MutationObserver(() => globalThis.seenWhy.push(why.textContent)).observe(why, {childList: true, subtree: true});
}"""

# In the desk's own environment: a pass over the catalogue, and the owner becomes the installation's superuser.
OPERATE = """
import django; django.setup()
from django.contrib.auth.models import User
from markets.tasks import sync_catalogue
User.objects.update(is_staff=True, is_superuser=True)
sync_catalogue("sandbox")
"""


@pytest.fixture(scope="module")
def running_desk(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[RunningDesk]:
    """Return a desk whose exchange has listed nothing but hostile markets from its first moment on."""
    folder = tmp_path_factory.mktemp("desk")
    list_hostile_markets(folder / "sandbox" / "state.sqlite3")
    desk = desks.start(folder)
    yield desk
    end_and_judge(desk, pytestconfig)


@pytest.fixture
def judge(owner_page: Page) -> Iterator[Judge]:
    """Return a watched tab of the owner."""
    page = owner_page.context.new_page()
    yield Judge(page)
    page.close()


@pytest.fixture(scope="module")
def can_trade(owner_page: Page, running_desk: RunningDesk) -> None:
    """Wait until the desk has compared its account with the exchange once, before which it denies every order."""
    _, bid = open_market_with_room(owner_page, running_desk)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        place(owner_page, price_cents=str(bid // CENT - 4), count="1")
        expect(outcome(owner_page)).to_contain_text(re.compile("resting|denied"))
        if "resting" in (outcome(owner_page).text_content() or ""):
            return
        owner_page.wait_for_timeout(500)
    raise AssertionError(outcome(owner_page).text_content())


@pytest.fixture
def fault(can_trade: None, running_desk: RunningDesk) -> Iterator[Callable[..., None]]:
    """Return a function that lets the exchange go wrong; it is well again after the test."""
    door = f"{running_desk.sandbox_url}/__sandbox__/faults"

    def add(name: str, match: dict[str, Any], count: int | None = None, **params: Any) -> None:
        asked = {"fault": name, "match": match, "params": params, "count": count}
        requests.post(door, json=asked, timeout=5).raise_for_status()

    yield add
    requests.delete(door, timeout=5).raise_for_status()


@pytest.fixture(scope="module")
def listed(running_desk: RunningDesk) -> dict[str, dict[str, Any]]:
    """Return what the exchange says of every market, by ticker, as the desk keeps it."""
    base = f"{running_desk.sandbox_url}/trade-api/v2/markets"
    rows = requests.get(base, params={"limit": "200"}, timeout=5).json()["markets"]
    return {row["ticker"]: json.loads(json.dumps(row).replace("\\u0000", "")) for row in rows}


def visit(judge: Judge, desk: RunningDesk, url: str) -> Page:
    """Open a page of the desk and wait until its scripts have drawn."""
    judge.page.goto(f"{desk.url}/{url}")
    if judge.page.locator("body[data-market-socket]").count():
        expect(judge.page.locator("[data-feed-word]")).to_have_text("live", timeout=15_000)
    return judge.page


def names_on(page: Page, listed: dict[str, dict[str, Any]]) -> list[str]:
    """Return what the markets are called whose rows the page shows."""
    return [listed[ticker]["yes_sub_title"] for ticker in page.evaluate(NAMES_SHOWN)]


def operate(desk: RunningDesk) -> None:
    """Do as the operator what no page does."""
    address = f"127.0.0.1:{desk.sandbox_port}/trade-api"
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "kalshiweb.settings",
        "KALSHIWEB_DATA_DIR": str(desk.data_dir),
        "KALSHI_REST_URL": f"http://{address}/v2",
        "KALSHI_WS_URL": f"ws://{address}/ws/v2",
    }
    subprocess.run([sys.executable, "-c", OPERATE], env=env, cwd=ROOT, check=True, timeout=60)


def last_said(row: Locator) -> Locator:
    """Return the cell of an order's row that says what was last heard of it."""
    return row.locator('[data-cell="last"]')


# --- what the exchange lists -----------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["", "markets/", "markets/?q=pwned", "markets/?sort=closes"])
def test_lists_show_every_name_as_it_is(
    judge: Judge, running_desk: RunningDesk, listed: dict[str, dict[str, Any]], url: str
) -> None:
    page = visit(judge, running_desk, f"x/sandbox/{url}")

    names = names_on(page, listed)

    assert len(names) >= 5
    assert judge.look(*names) == FINE
    page.set_viewport_size(PHONE)
    assert judge.look() == FINE


def test_a_markets_page_shows_name_question_rules_and_strikes_as_they_are(
    judge: Judge, running_desk: RunningDesk, listed: dict[str, dict[str, Any]]
) -> None:
    events: dict[str, list[str]] = {}
    for ticker, row in listed.items():
        events.setdefault(row["event_ticker"], []).append(ticker)
    mirrored = next(ticker for ticker, row in listed.items() if row["yes_sub_title"].startswith("\u202e"))
    longest = next(ticker for ticker, row in listed.items() if row["yes_sub_title"].startswith("WWWW"))
    for ticker in [max(events.values(), key=len)[0], mirrored, longest]:
        page = visit(judge, running_desk, f"x/sandbox/markets/{ticker}/")
        row = listed[ticker]
        strikes = names_on(page, listed)
        shown = [row["yes_sub_title"], row["title"], row["rules_primary"], row["rules_secondary"], *strikes]
        assert len(strikes) == len(events[row["event_ticker"]])
        assert judge.look(*shown) == FINE, ticker
        page.set_viewport_size(PHONE)
        assert judge.look() == FINE, ticker
        page.set_viewport_size(DESKTOP)


@pytest.mark.parametrize(("url", "name"), [("markets/", "q"), ("audit/", "text")])
def test_what_is_looked_for_is_repeated_as_it_is(judge: Judge, running_desk: RunningDesk, url: str, name: str) -> None:
    for text in (LISTED[0], LISTED[4], LISTED[7]):
        judge.page.goto(f"{running_desk.url}/x/sandbox/{url}?{urlencode({name: text})}")

        assert judge.look() == FINE
        expect(judge.page.locator(f'main input[name="{name}"]')).to_have_value(text)


@pytest.mark.parametrize("text", ["pwned", *LISTED[:2]])
def test_the_fragment_of_a_search_is_text_too(judge: Judge, running_desk: RunningDesk, text: str) -> None:
    judge.page.goto(f"{running_desk.url}/x/sandbox/search/?{urlencode({'q': text})}")

    found = judge.look(*([LISTED[0], LISTED[1]] if text == "pwned" else [text]))

    is_unstyled = {"wider", "mirrored"}  # it has no style of its own
    assert (found.harm.keys() - is_unstyled, found.missing) == (set(), [])


# --- what it answers -------------------------------------------------------------------------------------------


def test_the_reasons_of_rejected_orders_are_shown_as_they_are(
    judge: Judge, running_desk: RunningDesk, fault: Callable[..., None]
) -> None:
    page = judge.page
    ticker, bid = open_market_with_room(page, running_desk)
    for said in SAID:
        fault("P15", {"method": "POST", "path": ORDERS}, 1, code="some_code", details=said)
        known = order_ids(page)
        place(page, price_cents=str(bid // CENT - 4), count="3")
        expect(outcome(page)).to_contain_text("The exchange refused:")
        new_row(page, known)
        assert judge.look(f"The exchange refused: {said}.") == FINE

    for url in (f"markets/{ticker}/", "orders/", "audit/?text=some_code"):
        visit(judge, running_desk, f"x/sandbox/{url}")
        assert judge.look(*[f"The exchange refused: {said}." for said in SAID]) == FINE, url


def test_why_a_cancel_was_refused_is_shown_as_it_is(
    judge: Judge, running_desk: RunningDesk, fault: Callable[..., None]
) -> None:
    page = judge.page
    _, bid = open_market_with_room(page, running_desk)
    known = order_ids(page)
    place(page, price_cents=str(bid // CENT - 4), count="3")
    row = new_row(page, known)
    expect(row.get_by_test_id("order-state")).to_contain_text("resting")
    fault("P15", {"method": "DELETE", "path": ORDERS}, 1, code="some_code", details=SAID[0])

    row.get_by_role("button", name="Cancel this order").click()

    expect(last_said(row)).to_contain_text(SAID[0])
    assert judge.look(SAID[0]) == FINE


def test_an_order_of_unknown_outcome_is_described_as_it_is(
    judge: Judge, running_desk: RunningDesk, fault: Callable[..., None], listed: dict[str, dict[str, Any]]
) -> None:
    page = judge.page
    ticker, bid = open_market_with_room(page, running_desk)
    fault("P7", {"method": "GET", "path": "*/portfolio/*"}, status=502)
    fault("P6", {"method": "POST", "path": ORDERS}, 1)
    place(page, price_cents=str(bid // CENT - 4), count="3")
    expect(newest_row(page)).to_have_attribute("data-order-state", "unknown", timeout=15_000)

    visit(judge, running_desk, "x/sandbox/")

    name = listed[ticker]["yes_sub_title"]
    expect(page.locator(".attention-item").first).to_contain_text("at the exchange? We do not know yet")
    assert judge.look(name) == FINE
    assert name in (page.locator("[data-attention]").text_content() or "")


def test_why_a_key_does_not_work_is_said_in_our_words(
    judge: Judge, running_desk: RunningDesk, fault: Callable[..., None]
) -> None:
    described = json.loads((running_desk.data_dir / "sandbox" / "credentials" / "rival.json").read_text())
    fault("P15", {"method": "GET"}, status=401, code=SAID[1], message=SAID[0], details=SAID[2])
    page = judge.page
    page.goto(f"{running_desk.url}/x/sandbox/keys/add/")
    page.get_by_label("Name", exact=True).fill(CORPUS[0])
    page.get_by_label("Key id").fill(str(described["key_id"]))
    page.get_by_label("or its file").set_input_files(Path(described["private_key_file"]))
    page.get_by_role("button", name="Try it and keep it").click()

    expect(page.get_by_role("alert")).to_contain_text("The exchange")
    assert judge.look() == FINE
    expect(page.get_by_label("Name", exact=True)).to_have_value(CORPUS[0])


def test_what_the_stream_says_of_its_errors_is_shown_as_it_is(
    judge: Judge, running_desk: RunningDesk, fault: Callable[..., None]
) -> None:
    page = judge.page
    open_market_with_room(page, running_desk)
    page.evaluate(KEEP_WHY)

    fault("S8", {"channel": "orderbook_delta"}, 1, kind="error", code=10, msg=SAID[0])

    page.wait_for_function("(said) => globalThis.seenWhy.some((why) => why.includes(said))", arg=SAID[0])
    assert judge.look() == FINE
    expect(page.get_by_test_id("book-state")).to_have_attribute("data-state", "LIVE", timeout=15_000)


def test_the_catalogue_and_the_admin_show_texts_as_they_are(
    judge: Judge, running_desk: RunningDesk, fault: Callable[..., None]
) -> None:
    fault("P15", {"path": "*/markets*"}, code="some_code", details=SAID[0])
    operate(running_desk)

    page = judge.page
    with page.expect_response(re.compile("/catalogue/progress/")):  # drawn again from a fragment
        visit(judge, running_desk, "x/sandbox/catalogue/")
    assert judge.look(SAID[0]) == FINE
    for url in ("market", "event", "series", "cataloguerun"):
        page.goto(f"{running_desk.url}/admin/markets/{url}/")
        wanted = SAID[:1] if url == "cataloguerun" else LISTED[:3]
        assert judge.look(*wanted) == FINE, url
        page.locator("#result_list th a").first.click()
        assert judge.look() == FINE, url


# --- the judge sees ----------------------------------------------------------------------------------------------


def test_the_judge_sees_a_page_that_is_not_escaped(judge: Judge, running_desk: RunningDesk) -> None:
    def unescape(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=html.unescape(answer.text()))

    judge.page.route("**/x/sandbox/markets/", unescape)
    judge.page.goto(f"{running_desk.url}/x/sandbox/markets/")

    found = judge.look()

    assert [one for one in found.harm["injected"] if one.startswith("<script")] != []
    assert [one for one in found.harm["violations"] if one.startswith("script-src")] != []
    assert "harm" in found.harm


def test_the_judge_sees_one_script_that_writes_markup(
    judge: Judge, running_desk: RunningDesk, fault: Callable[..., None]
) -> None:
    def careless(route: Route) -> None:
        answer = route.fetch()
        assert "element.textContent = text" in answer.text()
        route.fulfill(
            response=answer, body=answer.text().replace("element.textContent = text", "element.innerHTML = text")
        )

    judge.page.route(re.compile(r"/static/js/dom\.\w+\.js"), careless)
    _, bid = open_market_with_room(judge.page, running_desk)
    assert judge.look().harm == {}
    fault("P15", {"method": "POST", "path": ORDERS}, 1, code="some_code", details=SAID[0])
    place(judge.page, price_cents=str(bid // CENT - 4), count="3")
    expect(outcome(judge.page)).to_contain_text("The exchange refused:")

    found = judge.look(SAID[0])

    assert [one for one in found.harm["injected"] if one.startswith("<img")] != []
    assert found.harm["violations"] != []
    assert SAID[0] not in (outcome(judge.page).text_content() or "")


def test_the_judge_sees_neighbours_that_are_mirrored(judge: Judge, running_desk: RunningDesk) -> None:
    page = visit(judge, running_desk, "about/")
    page.evaluate("() => document.querySelector('main h1').prepend('\\u202e')")

    assert page.locator("main h1").text_content() != ""
    assert judge.look().harm.keys() == {"mirrored"}
