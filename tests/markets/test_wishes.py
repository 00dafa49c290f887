"""A wish is a lease: who does not renew it wants nothing any more."""

from __future__ import annotations

from markets.wishes import LEASE_MS, LINGER_MS, Wishes


def test_everything_that_somebody_wants_is_wanted() -> None:
    wishes = Wishes()
    wishes.renew("one", ["A"], ["B"], 0)
    wishes.renew("two", ["A", "C"], [], 0)

    assert wishes.wanted() == {"A", "B", "C"}


def test_a_renewed_wish_replaces_the_one_before_and_tells_what_is_new() -> None:
    wishes = Wishes()
    wishes.renew("one", ["A", "B"], [], 0)

    assert wishes.renew("one", ["B"], ["C"], 1) == {"C"}
    assert wishes.wanted() == {"B", "C"}


def test_frames_go_to_hubs_that_watch_books_and_tops_to_those_that_watch_tops() -> None:
    wishes = Wishes()
    wishes.renew("one", ["A"], ["B"], 0)
    wish = wishes.hubs["one"]

    assert wish.wants("delta", "A")
    assert not wish.wants("delta", "B")
    assert wish.wants("top", "B")
    assert not wish.wants("top", "A")


def test_a_hub_that_is_silent_for_a_lease_is_dropped() -> None:
    wishes = Wishes()
    wishes.renew("one", ["A"], [], 0)
    wishes.renew("two", ["B"], [], 1)

    wishes.expire(LEASE_MS)

    assert set(wishes.hubs) == {"two"}


def test_a_forgotten_hub_wants_nothing() -> None:
    wishes = Wishes()
    wishes.renew("one", ["A"], [], 0)

    wishes.forget("one")
    wishes.forget("nobody")

    assert wishes.wanted() == frozenset()


def test_a_market_is_kept_for_a_while_after_its_last_viewer_and_let_go_then() -> None:
    wishes = Wishes()

    assert wishes.let_go(["A"], 0) == []
    assert wishes.let_go(["A"], LINGER_MS - 1) == []
    assert wishes.let_go(["A"], LINGER_MS) == ["A"]


def test_a_viewer_who_comes_back_in_time_starts_the_wait_anew() -> None:
    wishes = Wishes()
    wishes.let_go(["A"], 0)
    wishes.renew("one", ["A"], [], 5_000)
    assert wishes.let_go(["A"], LINGER_MS) == []
    wishes.forget("one")

    assert wishes.let_go(["A"], LINGER_MS + 1) == []
    assert wishes.let_go(["A"], 2 * LINGER_MS + 1) == ["A"]
