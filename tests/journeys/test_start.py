"""How long a person waits: from the command to a live ladder, on a first run and on a later one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.journeys import desk as desks
from tests.journeys.desk import RunningDesk
from tests.journeys.ticket import open_market

pytestmark = [pytest.mark.browser, pytest.mark.long]

# What a calm machine with two cores needs is half of it.
FIRST_SECONDS = 20.0
LATER_SECONDS = 12.0
ANY_MARKET = "main a[href*='/markets/KX']"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Return a page of a browser that is open already."""
    page = browser.new_context().new_page()
    page.goto("about:blank")
    yield page
    page.context.close()


def test_a_first_and_a_later_run_reach_a_live_ladder_soon(
    start_desk: Callable[..., RunningDesk], page: Page, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    began = time.monotonic()
    desk = start_desk(data_dir=tmp_path)
    ready = time.monotonic() - began
    desks.sign_in(page, desk)
    page.goto(f"{desk.url}/x/sandbox/markets/")
    ticker = str(page.locator(ANY_MARKET).first.get_attribute("href")).rstrip("/").rpartition("/")[2]
    open_market(page, desk, ticker)
    first = time.monotonic() - began
    desk.stop()

    began = time.monotonic()
    desk = start_desk(data_dir=tmp_path)
    ready_again = time.monotonic() - began
    open_market(page, desk, ticker)
    later = time.monotonic() - began

    for name, seconds in (("first", first), ("later", later), ("ready", ready), ("ready_again", ready_again)):
        record_property(name, round(seconds, 1))
    assert first <= FIRST_SECONDS
    assert later <= LATER_SECONDS
