"""Who watches what, and who still waits for a whole book."""

from __future__ import annotations

from markets.audience import ASK_AGAIN_MS, Audience, BookWatch, Browser
from markets.outbox import Outbox

A, B = ("sandbox", "A"), ("sandbox", "B")
ELSEWHERE = ("production", "A")


async def _send(text: str) -> None:
    return


def viewer(audience: Audience, *environments: str) -> Browser:
    browser = Browser(Outbox(_send), lambda: None)
    browser.environments.update(environments or ("sandbox",))
    audience.browsers.add(browser)
    return browser


def test_the_wish_of_an_environment_names_each_market_once() -> None:
    audience = Audience()
    one, two = viewer(audience), viewer(audience)
    for browser in (one, two):
        audience.watch_book(browser, A)
    audience.watch_book(two, ELSEWHERE)
    audience.watch_top(one, B)

    assert audience.wish("sandbox") == (["A"], ["B"])
    assert audience.wish("production") == (["A"], [])


def test_a_market_without_viewers_is_wished_no_longer() -> None:
    audience = Audience()
    one, two = viewer(audience), viewer(audience)
    audience.watch_book(one, A)
    audience.watch_book(two, A)

    audience.unwatch_book(one, A)
    assert audience.wish("sandbox") == (["A"], [])
    audience.unwatch_book(two, A)
    assert audience.wish("sandbox") == ([], [])


def test_taking_off_what_was_never_watched_changes_nothing() -> None:
    audience = Audience()
    one = viewer(audience)

    audience.unwatch_book(one, A)
    audience.unwatch_top(one, A)

    assert audience.wish("sandbox") == ([], [])


def test_a_browser_that_leaves_takes_everything_with_it() -> None:
    audience = Audience()
    one = viewer(audience)
    audience.watch_book(one, A)
    audience.watch_top(one, B)
    assert one.markets == 2

    audience.leave(one)

    assert (audience.browsers, audience.books, one.markets) == (set(), {}, 0)
    assert audience.wish("sandbox") == ([], [])


def test_a_top_is_remembered_after_its_last_viewer_until_the_relay_is_told() -> None:
    audience = Audience()
    one, two = viewer(audience), viewer(audience)
    for key in (A, B, ELSEWHERE):
        audience.watch_top(one, key)
        audience.tops[key].last = "told"
    audience.watch_top(two, B)
    audience.leave(one)

    assert audience.wish("sandbox") == ([], ["B"])
    assert audience.watch_top(two, A) == "told"
    audience.unwatch_top(two, A)
    audience.forget_unwatched_tops("sandbox")
    assert audience.tops.keys() == {B, ELSEWHERE}


def test_a_newcomer_waits_until_a_whole_book_admits_it() -> None:
    audience = Audience()
    one = viewer(audience)
    watch = audience.watch_book(one, A)
    assert (watch.active, watch.waiting) == (set(), {one})

    assert watch.admit() == {one}
    assert (watch.active, watch.waiting) == ({one}, set())


def test_a_newcomer_is_told_the_last_top() -> None:
    audience = Audience()
    one, two = viewer(audience), viewer(audience)
    assert audience.watch_top(one, A) is None
    audience.tops[A].last = "told"

    assert audience.watch_top(two, A) == "told"


def test_the_relay_is_asked_at_once_and_again_after_a_while() -> None:
    audience = Audience()
    watch = audience.watch_book(viewer(audience), A)

    assert [ticker for ticker, _ in audience.due("sandbox", 1000)] == ["A"]
    watch.asked_at = 1000
    assert list(audience.due("sandbox", 1000 + ASK_AGAIN_MS - 1)) == []
    assert [ticker for ticker, _ in audience.due("sandbox", 1000 + ASK_AGAIN_MS)] == ["A"]
    assert list(audience.due("production", 1000 + ASK_AGAIN_MS)) == []


def test_nobody_who_waits_is_nobody_to_ask_for() -> None:
    audience = Audience()
    audience.watch_book(viewer(audience), A).admit()

    assert list(audience.due("sandbox", 1000)) == []


def test_numbers_must_count_up_within_an_epoch() -> None:
    watch = BookWatch()

    assert watch.note_number("e1", "book", 7)
    assert watch.note_number("e1", "delta", 8)
    assert watch.note_number("e1", "state", 9)
    assert not watch.note_number("e1", "delta", 11), "a hole"
    assert watch.note_number("e1", "delta", 12)
    assert not watch.note_number("e2", "delta", 13), "another epoch"
    assert watch.note_number("e3", "book", 1), "a whole book begins anew"


def test_environments_are_those_somebody_looks_at() -> None:
    audience = Audience()
    viewer(audience, "sandbox", "demo")
    viewer(audience, "sandbox")

    assert audience.environments() == {"sandbox", "demo"}
