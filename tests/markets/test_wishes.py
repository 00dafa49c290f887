"""A wish is a lease: who does not renew it wants nothing any more."""

from __future__ import annotations

from markets.wishes import LEASE_MS, LINGER_MS, TOPS_AGAIN_MS, Wishes


def test_everything_that_somebody_wants_is_wanted() -> None:
    wishes = Wishes()
    wishes.renew("one", ["A"], ["B"], 0)
    wishes.renew("two", ["A", "C"], [], 0)

    assert wishes.wanted() == {"A", "B", "C"}


def test_a_renewed_wish_replaces_the_one_before() -> None:
    wishes = Wishes()
    wishes.renew("one", ["A", "B"], [], 0)
    wishes.renew("one", ["B"], ["C"], 1)

    assert wishes.wanted() == {"B", "C"}


def tops_due(wishes: Wishes, hub: str, tops: list[str], now: int) -> frozenset[str]:
    wishes.renew(hub, ["A"], tops, now)
    return wishes.take_tops(hub, now)


def test_a_hub_is_told_the_tops_that_it_did_not_have() -> None:
    wishes = Wishes()

    assert tops_due(wishes, "one", ["B"], 0) == {"B"}
    assert tops_due(wishes, "one", ["A", "B", "C"], 1) == {"A", "C"}
    assert tops_due(wishes, "one", ["A", "B"], 2) == set()
    assert tops_due(wishes, "one", ["B", "C"], 3) == {"C"}, "left out meanwhile, it may have moved"
    assert tops_due(wishes, "two", ["A", "B"], 3) == {"A", "B"}, "another hub has been told nothing"


def test_now_and_then_a_hub_is_told_all_tops_however_often_it_wishes() -> None:
    wishes = Wishes()
    tops_due(wishes, "one", ["A", "B"], 0)
    assert tops_due(wishes, "one", ["A", "B"], TOPS_AGAIN_MS // 2) == set()
    assert tops_due(wishes, "one", ["A", "B"], TOPS_AGAIN_MS - 1) == set()

    assert tops_due(wishes, "one", ["A", "B"], TOPS_AGAIN_MS) == {"A", "B"}
    assert tops_due(wishes, "one", ["A", "B"], 2 * TOPS_AGAIN_MS - 1) == set()


def test_wishes_that_were_only_noted_leave_all_tops_to_be_told() -> None:
    wishes = Wishes()
    wishes.renew("one", [], ["A", "B"], 0)
    wishes.renew("one", [], ["A", "B"], 1)
    assert wishes.take_tops("one", 1) == {"A", "B"}

    wishes.renew("one", [], ["A"], 2)
    wishes.renew("one", [], ["A", "B"], 3)
    assert wishes.take_tops("one", 3) == {"B"}


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


def test_what_the_desk_itself_wants_is_kept_without_a_hub_and_let_go_like_the_rest() -> None:
    wishes = Wishes()
    wishes.standing = frozenset({"A"})

    assert wishes.wanted() == {"A"}
    assert wishes.hubs == {}, "nobody is sent its frames"
    assert wishes.let_go(["A", "B"], 0) == []
    assert wishes.let_go(["A", "B"], LINGER_MS) == ["B"]

    wishes.standing = frozenset()
    assert wishes.let_go(["A"], LINGER_MS) == []
    assert wishes.let_go(["A"], 2 * LINGER_MS) == ["A"]
