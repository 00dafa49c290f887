"""A hub takes as many frames as it can afford, and no more."""

from __future__ import annotations

from markets.pace import CALM_LOOKS, Pace


def after(pace: Pace, *shares: float) -> int:
    for share in shares:
        pace.note(share)
    return pace.ms


def test_a_hub_begins_with_25_frames_a_second() -> None:
    assert Pace().ms == 40


def test_an_idle_hub_takes_40_frames_a_second_after_some_calm_seconds() -> None:
    pace = Pace()
    assert after(pace, *[0.05] * (CALM_LOOKS - 1)) == 40
    assert pace.note(0.05)
    assert pace.ms == 25
    assert after(pace, *[0.0] * 50) == 25


def test_one_busy_second_begins_the_calm_ones_anew() -> None:
    assert after(Pace(), 0.05, 0.05, 0.35, 0.05, 0.05) == 40


def test_one_burst_is_no_reason_to_slow_down() -> None:
    assert after(Pace(), 0.95, 0.50, 0.95, 0.50, 0.95) == 40


def test_a_hub_does_not_go_where_it_would_be_too_busy() -> None:
    # 16 % of the time at 25 frames a second would be 26 % at 40.
    assert after(Pace(), *[0.16] * 30) == 40
    assert after(Pace(), *[0.14] * 30) == 25


def test_a_busy_hub_slows_down_step_by_step_and_no_further_than_it_must() -> None:
    pace = Pace()
    assert after(pace, 0.95, 0.95) == 50
    assert after(pace, 0.80, 0.80) == 65
    assert after(pace, *[0.60] * 30) == 65


def test_a_hub_that_has_time_again_is_as_quick_as_before() -> None:
    pace = Pace()
    assert after(pace, *[0.95] * 8) == 150
    assert after(pace, *[0.30] * (4 * CALM_LOOKS)) == 40


def test_a_quick_hub_goes_back_to_the_usual_pace_sooner() -> None:
    pace = Pace()
    after(pace, *[0.01] * CALM_LOOKS)
    assert after(pace, 0.26, 0.26) == 40
    assert after(pace, 0.69, 0.69) == 40


def test_the_slowest_pace_has_no_slower_one() -> None:
    assert after(Pace(), *[1.2] * 20) == 150


def test_nothing_is_told_where_nothing_changes() -> None:
    assert not Pace().note(0.5)
    pace = Pace()
    assert [pace.note(0.71) for _ in range(2)] == [False, True]
