"""`static/js/feed.js` says how far a book may be believed: by the beats, and never further than the frames."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.markets.playedserver import PlayedServer

pytestmark = pytest.mark.browser


MOST_PATIENCE_MS = 20_000  # how long a page that lags behind waits before it dials again
BOOK_AGE = "(ticker) => feed.label(ticker, Date.now()).ageMs"
FEED_AGE = "() => feed.feedLabel(Date.now()).ageMs"


@pytest.fixture
def server(static_page: Page) -> Iterator[PlayedServer]:
    yield PlayedServer(static_page)
    static_page.evaluate("() => feed.stop()")
    static_page.unroute_all()


@pytest.fixture
def timed(timed_page: Page) -> PlayedServer:
    """Return the server of a page whose clock the test may set."""
    return PlayedServer(timed_page, "A", "B")


def test_a_book_is_live_only_when_it_is_whole_and_the_way_to_it_is(server: PlayedServer) -> None:
    assert server.label() == ["DOWN", "server lost"]
    server.send(server.beat())
    assert server.label() == ["RESYNC", "waiting for the first book"]
    server.send(server.book(4))
    assert server.label() == ["LIVE", ""]
    server.send(server.beat("stale", why="nothing has been heard for 12 s"))
    assert server.label() == ["STALE", "nothing has been heard for 12 s"]


def test_a_server_that_lost_its_way_to_the_feed_makes_the_page_wait_for_a_whole_book(server: PlayedServer) -> None:
    server.send(server.beat(), server.book(4))
    assert server.label() == ["LIVE", ""]

    server.send(server.beat("down", hub_ms=-1, why="the connection to the feed process is lost"))
    assert server.label() == ["DOWN", "the connection to the feed process is lost"]
    server.send(server.beat())
    assert server.label() == ["RESYNC", "asking for the whole book"]

    # A change that would have followed is no proof: another may have been lost before it.
    server.send(server.delta(5))
    assert server.label() == ["RESYNC", "asking for the whole book"]
    assert server.wait_for("snapshot")["m"] == "A"
    server.send(server.book(7))
    assert server.label() == ["LIVE", ""]


def test_a_relay_that_was_only_silent_costs_no_book(server: PlayedServer) -> None:
    server.send(server.beat(), server.book(4))

    server.send(server.beat("down", hub_ms=2_250, why="the feed process is silent"))
    assert server.label() == ["DOWN", "the feed process is silent"]
    server.send(server.beat(), server.delta(5))

    assert server.label() == ["LIVE", ""]


def test_another_epoch_than_the_books_is_not_live(server: PlayedServer) -> None:
    server.send(server.beat(), server.book(4))

    server.send(server.beat(epoch="e2"))

    assert server.label() == ["RESYNC", "asking for the whole book"]
    server.send(server.book(1, epoch="e2"))
    assert server.label() == ["LIVE", ""]


def test_a_hole_in_the_numbers_is_not_live_until_a_whole_book(server: PlayedServer) -> None:
    server.send(server.beat(), server.book(4))

    server.send(server.delta(6))

    assert server.label()[0] == "RESYNC"
    assert server.wait_for("snapshot") == {"op": "snapshot", "m": "A", "env": "sandbox"}
    server.send(server.book(6))
    assert server.label() == ["LIVE", ""]


# --- numbers that go back ----------------------------------------------------------------------------


def test_a_book_that_is_not_whole_takes_any_whole_book_of_the_epoch(server: PlayedServer) -> None:
    server.send(server.beat(), server.book(40))
    server.send(server.delta(42))
    assert server.label()[0] == "RESYNC"

    server.send(server.book(1, size=700))

    assert server.label() == ["LIVE", ""]
    assert server.held() == (1, [[4000, 700]])


def test_after_a_reconnect_numbers_may_begin_anew(server: PlayedServer) -> None:
    server.send(server.beat(), server.book(40))
    server.routes[-1].close(code=1011, reason="")
    server.wait_for("watch")

    server.send(server.beat(), server.book(2, size=700), server.delta(3, size=800))

    assert server.label() == ["LIVE", ""]
    assert server.held() == (3, [[4000, 800]])


def test_a_whole_book_under_an_earlier_number_is_asked_for_again_and_not_passed_over(server: PlayedServer) -> None:
    server.send(server.beat(), server.book(40))

    server.send(server.book(1, size=700))

    assert server.label() == ["RESYNC", "asking for the whole book"]
    assert server.wait_for("snapshot")["m"] == "A"
    server.send(server.book(2, size=700))
    assert server.label() == ["LIVE", ""]
    assert server.held() == (2, [[4000, 700]])


def test_a_change_under_an_earlier_number_is_no_reason_to_go_on_believing(server: PlayedServer) -> None:
    server.send(server.beat(), server.book(40))

    server.send(server.delta(2, size=700))

    assert server.label() == ["RESYNC", "asking for the whole book"]
    assert server.wait_for("snapshot")["m"] == "A"


def test_a_frame_that_comes_twice_costs_nothing(server: PlayedServer) -> None:
    server.send(server.beat(), server.book(40), server.book(40), server.delta(41), server.delta(41))

    assert server.label() == ["LIVE", ""]
    assert server.held() == (41, [[4000, 50]])


def test_trades_whose_numbers_begin_anew_are_asked_for_from_the_first(server: PlayedServer) -> None:
    server.send(server.beat(), server.book(40), *(server.trade(number) for number in range(1, 6)))
    server.send(server.delta(42))

    server.send(server.book(1) | {"k": 2})

    assert server.wait_for("trades") == {"op": "trades", "m": "A", "after": 0, "env": "sandbox"}
    server.send(server.trade(1), server.trade(2), server.trade(3))
    assert server.page.evaluate("() => feed.trades('A').map(({k}) => k)") == [1, 2, 3]


def test_a_live_trade_that_overtakes_the_answer_loses_none_of_it(server: PlayedServer) -> None:
    server.send(server.beat(), server.book(40) | {"k": 3})
    assert server.wait_for("trades") == {"op": "trades", "m": "A", "after": 0, "env": "sandbox"}

    server.send(server.trade(4))
    server.send(*(server.trade(number) for number in range(1, 5)))

    assert server.page.evaluate("() => feed.trades('A').map(({k}) => k)") == [1, 2, 3, 4]


def test_a_trade_waits_for_no_answer_when_the_server_says_that_there_is_none(timed: PlayedServer) -> None:
    timed.send(timed.beat(), timed.book(40) | {"k": 3}, timed.trade(4))
    assert timed.page.evaluate("() => feed.trades('A')") == []

    timed.send(timed.error("NO_TRADES", "Nobody remembers those trades.", env="production", m="A"))
    timed.send(timed.error("NO_TRADES", "Nobody remembers those trades.", env="sandbox", m="B"))
    assert timed.page.evaluate("() => feed.trades('A')") == []
    timed.send(timed.error("NO_TRADES", "Nobody remembers those trades.", env="sandbox", m="A"))

    assert timed.page.evaluate("() => feed.trades('A').map(({k}) => k)") == [4]
    assert timed.label() == ["LIVE", ""]


# --- what the server says against a book ---------------------------------------------------------------


def test_a_market_that_was_not_known_is_shown_when_its_book_comes(server: PlayedServer) -> None:
    server.send(server.beat(), server.book(40))
    server.send(server.error("UNKNOWN_MARKET", "There is no such market.", env="sandbox", m="A"))
    assert server.label() == ["DOWN", "There is no such market."]

    server.send(server.delta(41))
    assert server.label() == ["DOWN", "There is no such market."]
    server.send(server.book(1))

    assert server.label() == ["LIVE", ""]


def test_a_market_whose_name_cannot_be_a_ticker_says_so(server: PlayedServer) -> None:
    server.send(server.beat())

    server.send(server.error("BAD_TICKER", "That is not a market's ticker.", env="sandbox", m="A"))

    assert server.label() == ["DOWN", "That is not a market's ticker."]


def test_an_error_of_another_environment_says_nothing_of_this_book(server: PlayedServer) -> None:
    server.send(server.beat(), server.book(40))

    server.send(server.error("UNKNOWN_MARKET", "There is no such market.", env="production", m="A"))

    assert server.label() == ["LIVE", ""]


def test_a_page_that_was_too_slow_believes_each_book_again_when_it_comes_whole(timed: PlayedServer) -> None:
    timed.send(timed.beat(), timed.book(40), timed.book(7, ticker="B"))
    timed.send(timed.error("SLOW", "This browser has fallen behind."))
    assert timed.label("A") == timed.label("B") == ["STALE", "this browser has fallen behind"]

    timed.send(timed.book(41))

    assert timed.label("A") == ["LIVE", ""]
    assert timed.label("B") == ["STALE", "this browser has fallen behind"]


def test_what_stays_doubted_is_asked_for_again(timed: PlayedServer) -> None:
    timed.send(timed.beat(), timed.book(40), timed.book(7, ticker="B"))
    # B was quiet while the page was too slow: the server has left nothing out, and sends nothing by itself.
    timed.send(timed.error("SLOW", "This browser has fallen behind."), timed.book(41))

    for _ in range(5):
        timed.page.clock.run_for(1_000)
        timed.send(timed.beat())

    assert timed.wait_for("snapshot") == {"op": "snapshot", "m": "B", "env": "sandbox"}
    timed.send(timed.book(7, ticker="B"))
    assert timed.label("B") == ["LIVE", ""]


def test_an_unknown_market_is_asked_for_again(timed: PlayedServer) -> None:
    timed.send(timed.beat(), timed.book(7, ticker="B"))
    timed.send(timed.error("UNKNOWN_MARKET", "There is no such market.", env="sandbox", m="A"))

    for _ in range(5):
        timed.page.clock.run_for(1_000)
        timed.send(timed.beat())

    assert timed.wait_for("snapshot")["m"] == "A"


def test_nothing_is_asked_for_again_while_nobody_could_answer(timed: PlayedServer) -> None:
    for _ in range(5):
        timed.page.clock.run_for(1_000)
        timed.send(timed.beat("down", why="the feed process is silent"))

    assert {message["op"] for message in timed.said} == {"ack"}


def test_hundreds_of_doubted_books_are_asked_for_a_few_at_a_time(static_page: Page) -> None:
    server = PlayedServer(static_page, *(f"M{number}" for number in range(100)))
    for _ in range(4):
        server.send(server.beat())

    asked = [message["m"] for message in server.said if message["op"] == "snapshot"]
    assert asked == [f"M{number}" for number in range(10)]
    static_page.evaluate("() => feed.stop()")
    static_page.unroute_all()


def test_a_page_that_is_told_that_nobody_is_logged_in_says_so_and_dials_no_more(timed: PlayedServer) -> None:
    timed.send(timed.beat(), timed.book(40))

    timed.said.clear()
    timed.routes[0].close(code=4401, reason="")
    timed.page.clock.run_for(1_000)
    timed.wait_for("watch")
    timed.routes[1].close(code=4401, reason="")
    timed.page.clock.run_for(60_000)

    assert timed.label() == ["DOWN", "signed out"]
    assert len(timed.routes) == 2


def test_a_page_of_another_team_says_so_and_dials_no_more(timed: PlayedServer) -> None:
    timed.send(timed.beat(), timed.book(40))

    timed.page.evaluate("() => feed.end('this page is of another team or role: load it anew')")
    timed.page.clock.run_for(60_000)

    assert timed.label() == ["DOWN", "this page is of another team or role: load it anew"]
    assert len(timed.routes) == 1


# --- clocks ------------------------------------------------------------------------------------------


def test_a_page_that_lags_behind_says_so(timed: PlayedServer) -> None:
    timed.send(timed.beat(), timed.book(40))

    timed.send(timed.beat(behind_ms=2_600))

    assert timed.label() == ["STALE", "this browser has fallen behind"]
    timed.send(timed.beat(behind_ms=200))
    assert timed.label() == ["LIVE", ""]


def test_a_step_back_of_the_servers_clock_heals_by_a_new_connection(timed: PlayedServer) -> None:
    timed.send(timed.beat(), timed.book(40))
    timed.send(timed.beat(behind_ms=60_000))
    assert timed.label() == ["STALE", "this browser has fallen behind"]

    for _ in range(MOST_PATIENCE_MS // 1_000 + 1):
        timed.page.clock.run_for(1_000)
        timed.send(timed.beat(behind_ms=60_000))
        if timed.label() != ["STALE", "this browser has fallen behind"]:
            break

    assert timed.label() == ["DOWN", "server lost"]
    timed.wait_for("watch")
    assert len(timed.routes) == 2
    timed.send(timed.beat(behind_ms=60_000), timed.book(40))
    assert timed.label() == ["LIVE", ""]


def test_what_came_together_with_the_last_word_of_a_given_up_connection_is_not_believed(timed: PlayedServer) -> None:
    timed.send(timed.beat(), timed.book(40))
    for _ in range(MOST_PATIENCE_MS // 1_000 + 2):
        timed.page.clock.run_for(1_000)
        timed.send(timed.beat(behind_ms=60_000), timed.book(40))
        if timed.label() == ["DOWN", "server lost"]:
            break
    assert timed.label() == ["DOWN", "server lost"]

    timed.wait_for("watch")
    timed.send(timed.beat())

    assert timed.label() == ["RESYNC", "asking for the whole book"]  # whatever came in between was missed
    timed.send(timed.book(41))
    assert timed.label() == ["LIVE", ""]


def test_a_moments_lag_makes_no_new_connection(timed: PlayedServer) -> None:
    timed.send(timed.beat(), timed.book(40))
    for second in range(30):
        timed.page.clock.run_for(1_000)
        timed.send(timed.beat(behind_ms=3_000 if second % 5 else 0))

    assert len(timed.routes) == 1


def test_a_step_of_the_browsers_own_clock_makes_nothing_old(timed: PlayedServer) -> None:
    timed.send(timed.beat(), timed.book(40))

    timed.page.clock.set_system_time(timed.now_ms() + 3_600_000)
    timed.send(timed.beat(behind_ms=3_600_000))

    assert timed.label() == ["LIVE", ""]


def test_a_step_back_of_the_browsers_clock_keeps_no_question_from_being_asked(timed: PlayedServer) -> None:
    timed.send(timed.beat(), timed.book(40), timed.delta(42))
    timed.wait_for("snapshot")

    timed.page.clock.set_system_time(timed.now_ms() - 3_600_000)
    timed.send(timed.beat(), timed.delta(43))

    assert timed.wait_for("snapshot")["m"] == "A"


# --- ages --------------------------------------------------------------------------------------------


def test_a_stalled_feed_is_as_old_as_its_data_whatever_pings_arrive(server: PlayedServer) -> None:
    server.send(server.beat("stale", why="nothing has been heard from the exchange", age=3, heard=41_000))

    assert 41_000 <= server.page.evaluate(FEED_AGE) < 60_000
    server.send(server.beat("live", age=3, heard=41_000))
    assert 3 <= server.page.evaluate(FEED_AGE) < 20_000


def test_a_trade_does_not_make_a_book_younger(server: PlayedServer) -> None:
    server.send(server.beat(), server.book(40, quiet=60_000))

    server.send(server.trade(1))

    assert 60_000 <= server.page.evaluate(BOOK_AGE, "A") < 80_000
    server.send(server.delta(41))
    assert server.page.evaluate(BOOK_AGE, "A") < 20_000
