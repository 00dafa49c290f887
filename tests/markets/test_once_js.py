"""`static/js/once.js`: a form is sent once, and again when its page comes back out of the browser's memory."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

pytestmark = pytest.mark.browser

OPEN = """async () => {
  document.body.innerHTML = `<form id="first"><button>Go</button></form><form id="second"><button>Go</button></form>`;
  await import("/js/once.js");
  globalThis.sent = [];
  addEventListener("submit", (event) => {
    if (!event.defaultPrevented) sent.push(event.target.id);
    event.preventDefault();
  });
}"""


def click(page: Page, form: str) -> None:
    page.evaluate("(id) => document.querySelector(`#${id} button`).click()", form)


def test_a_second_click_sends_nothing_and_another_form_is_another_matter(static_page: Page) -> None:
    static_page.reload()
    static_page.evaluate(OPEN)
    for form in ("first", "first", "second", "first"):
        click(static_page, form)

    assert static_page.evaluate("() => sent") == ["first", "second"]


def test_a_page_that_comes_back_may_be_sent_again(static_page: Page) -> None:
    static_page.reload()
    static_page.evaluate(OPEN)
    click(static_page, "first")

    static_page.evaluate("() => dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    click(static_page, "first")

    assert static_page.evaluate("() => sent") == ["first", "first"]
