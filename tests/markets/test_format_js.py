"""`static/js/format.js` reads numbers as the server does: a comma groups thousands, and is refused anywhere else."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from trading.forms import COMMA

pytestmark = pytest.mark.browser

READ = """async (texts) => {
  const {parse, COMMA} = await import("/js/format.js");
  return {read: texts.map((text) => parse(text, 2)), sentence: COMMA};
}"""

# In hundredths; None is refused.
NUMBERS = {
    "57.5": 5_750,
    "1,000": 100_000,
    "12,000.25": 1_200_025,
    "1,234,567": 123_456_700,
    "1000": 100_000,
    ".5": 50,
    "57¢": 5_700,
    " $2.5 ": 250,
    "2,5": None,
    "0,48": None,
    "57,5": None,
    "1,,0": None,
    "1,0000": None,
    "1000,000": None,
    ",500": None,
    "1,000,": None,
    "1.5,000": None,
    "5$7": None,
    "5¢7": None,
    "1.005": None,
    "ten": None,
}


def test_a_comma_is_read_as_a_thousand_or_not_at_all(static_page: Page) -> None:
    found = static_page.evaluate(READ, list(NUMBERS))

    assert dict(zip(NUMBERS, found["read"], strict=True)) == NUMBERS


def test_page_and_server_say_the_same_of_a_comma(static_page: Page) -> None:
    assert static_page.evaluate(READ, [])["sentence"] == COMMA
