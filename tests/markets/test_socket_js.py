"""`static/js/socket.js` comes back by itself: also from a connection that is dead and has never said so."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocketRoute

pytestmark = pytest.mark.browser

OPEN = """async () => {
  const {LiveSocket} = await import("/js/socket.js");
  globalThis.seen = [];
  globalThis.socket = new LiveSocket("/ws/any/", {
    onOpen: () => seen.push("open"),
    onFrames: (frames) => seen.push(...frames),
    onDown: (code) => seen.push(code),
  });
}"""
BEATS = 20


class PlayedEnd:
    """The other end: takes connections, and says what the test says on any of them."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.routes: list[WebSocketRoute] = []
        page.route_web_socket("**/ws/any/", self._open)
        page.reload()
        page.evaluate(OPEN)
        self.wait(lambda: self.seen == ["open"])

    def _open(self, route: WebSocketRoute) -> None:
        self.routes.append(route)
        route.on_message(lambda _text: None)

    @property
    def seen(self) -> list[Any]:
        """What the socket's owner has been told."""
        found: list[Any] = self.page.evaluate("() => seen")
        return found

    def say(self, frame: str, *, on: int = -1) -> None:
        self.routes[on].send(json.dumps([frame]))
        self.page.evaluate("() => 0")

    def wait(self, is_so: Callable[[], bool]) -> None:
        for _ in range(200):
            if is_so():
                return
            self.page.wait_for_timeout(10)
        raise AssertionError(f"it did not come to that: {self.seen}")


@pytest.fixture
def end(timed_page: Page) -> PlayedEnd:
    return PlayedEnd(timed_page)


def test_a_connection_that_says_nothing_for_eight_seconds_is_given_up_and_dialled_again(end: PlayedEnd) -> None:
    end.say("beat")
    end.page.clock.run_for(7_000)
    assert end.seen == ["open", "beat"]

    end.page.clock.run_for(3_500)

    end.wait(lambda: len(end.routes) == 2)
    end.wait(lambda: end.seen == ["open", "beat", 1006, "open"])


def test_a_connection_that_beats_is_kept(end: PlayedEnd) -> None:
    for _ in range(BEATS):
        end.page.clock.run_for(1_000)
        end.say("beat")

    assert end.seen == ["open", *["beat"] * BEATS]
    assert len(end.routes) == 1


def test_what_came_while_the_page_slept_is_read_before_the_connection_is_judged(end: PlayedEnd) -> None:
    end.say("beat")

    end.page.clock.fast_forward(60_000)
    end.say("beat")
    end.page.clock.run_for(2_000)

    assert end.seen == ["open", "beat", "beat"]
    assert len(end.routes) == 1


def test_what_a_connection_says_that_was_given_up_is_not_heard(end: PlayedEnd) -> None:
    end.page.clock.run_for(12_000)
    end.wait(lambda: end.seen == ["open", 1006, "open"])

    end.say("late", on=0)
    end.say("beat", on=1)

    assert end.seen == ["open", 1006, "open", "beat"]


def test_a_server_that_takes_connections_and_says_nothing_is_asked_ever_more_seldom(end: PlayedEnd) -> None:
    for _ in range(120):
        end.page.clock.run_for(1_000)

    # At every eight or nine seconds it would be a dozen: the pauses between them grow to ten seconds.
    assert 5 <= len(end.routes) <= 11


@pytest.mark.parametrize("code", [4401, 4403])
def test_a_page_that_may_not_come_back_does_not_try(end: PlayedEnd, code: int) -> None:
    end.routes[0].close(code=code, reason="")
    end.wait(lambda: end.seen == ["open", code])

    end.page.clock.run_for(60_000)

    assert len(end.routes) == 1
    assert end.seen == ["open", code]


def test_a_page_whose_session_has_got_another_key_comes_back_with_it(end: PlayedEnd) -> None:
    end.say("beat")

    end.routes[0].close(code=4401, reason="")
    end.page.clock.run_for(1_000)
    end.wait(lambda: end.seen == ["open", "beat", 1006, "open"])
    end.say("beat")

    assert end.seen == ["open", "beat", 1006, "open", "beat"]


def test_a_page_that_is_signed_out_asks_once_more_and_is_told_so(end: PlayedEnd) -> None:
    end.say("beat")
    end.routes[0].close(code=4401, reason="")
    end.page.clock.run_for(1_000)
    end.wait(lambda: len(end.routes) == 2)

    end.routes[1].close(code=4401, reason="")
    end.page.clock.run_for(60_000)

    assert end.seen == ["open", "beat", 1006, "open", 4401]
    assert len(end.routes) == 2


def test_a_socket_that_was_stopped_stays_closed(end: PlayedEnd) -> None:
    end.page.evaluate("() => socket.stop()")

    end.page.clock.run_for(60_000)

    assert len(end.routes) == 1
