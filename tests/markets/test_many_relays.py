"""Three relays and two web processes' hubs on a real Valkey: one relay speaks at a time, whoever is frozen or killed.

Real processes, really stopped: what a frozen relay says when it wakes is the hardest thing to be right about.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redis

from markets.audience import Browser
from markets.hub import Hub
from markets.outbox import Outbox
from tests.kalshiweb.valkeys import RunningValkey
from tests.markets.conftest import layer_on
from tests.markets.pagebook import PageBook
from tests.markets.relayprocess import LEADER, TICKER, book_at, step_now

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parent.parent.parent
RIGHT_AGAIN_SECONDS = 5.0
FRESH_STEPS = 25  # half a second
PAGE_SILENT_SECONDS = 2.5


class Web:
    """A web process's hub with one page, and everything that came over the layer."""

    def __init__(self, layer: Any) -> None:
        self.hub = Hub(layer)
        self.book = PageBook()
        self.wrongs: list[str] = []
        self.heard: list[tuple[float, int, str]] = []  # when, fence, epoch of every message with frames
        self.taken: list[tuple[str, int]] = []  # epoch and number of every frame that reached the page
        self.beaten_at = 0.0
        self.feed = "down"
        self.shown_live = 0
        right = self.hub.receive

        def receive(message: dict[str, Any]) -> None:
            if message.get("frames"):
                self.heard.append((time.monotonic(), message["fence"], message["e"]))
            right(message)

        self.hub.line._receive = receive
        self.browser = Browser(Outbox(self._take), lambda: None)

    def begin(self) -> None:
        self.hub.start()
        self.hub.join(self.browser)
        self.hub.watch(self.browser, "sandbox", [TICKER], ())

    async def _take(self, text: str) -> None:
        for frame in json.loads(text):
            if frame["t"] == "beat":
                self.beaten_at, self.feed = time.monotonic(), frame["feed"]
            elif frame["t"] in {"book", "delta", "state"}:
                self.taken.append((frame["e"], frame["n"]))
                if self.book.apply(frame) == "hole":
                    self.hub.snapshot(self.browser, "sandbox", TICKER)
                self._judge()
        self.hub.ack(self.browser, self.browser.outbox.sent)

    def _judge(self) -> None:
        if self.book.shown != "LIVE" or self.book.up is None:
            return
        self.shown_live += 1
        step = self.book.up[3]
        if step is None or self.book.bids != book_at(step):
            self.wrongs.append(f"at step {step}: {self.book.bids}")

    @property
    def is_live(self) -> bool:
        """Say whether the page shows LIVE, by its own clock too."""
        is_heard = self.feed == "live" and time.monotonic() - self.beaten_at < PAGE_SILENT_SECONDS
        return is_heard and self.book.shown == "LIVE"

    @property
    def is_right(self) -> bool:
        """Say whether it shows the newest book as LIVE."""
        step = self.book.up[3] if self.book.up else None
        return self.is_live and step is not None and step_now() - step <= FRESH_STEPS


class Floor:
    """The processes, the hubs and the store."""

    def __init__(self, valkey: RunningValkey, webs: list[Web], relays: dict[int, subprocess.Popen[bytes]]) -> None:
        self.valkey = valkey
        self.webs = webs
        self.relays = relays
        self.took: list[float] = []

    def leader(self) -> int:
        with redis.Redis.from_url(self.valkey.url) as store:
            return int(store.get(LEADER) or 0)

    async def until(self, condition: Callable[[], bool], *, seconds: float) -> float:
        """Wait for something and return how long it took."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > seconds:
                raise AssertionError(f"not within {seconds} s")
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def doubted(self, *, seconds: float = 3.5) -> None:
        """Wait until every page shows something else than LIVE, or has a book of a new reign by then.

        A lease may lapse two seconds after its holder froze, as soon as its silence is noticed.
        """
        epochs = [web.book.epoch for web in self.webs]
        seen: set[int] = set()

        def is_seen() -> bool:
            for number, web in enumerate(self.webs):
                if not web.is_live or web.book.epoch != epochs[number]:
                    seen.add(number)
            return len(seen) == len(self.webs)

        await self.until(is_seen, seconds=seconds)

    async def right_again(self, since: float) -> float:
        """Wait until both pages are right, and return the seconds that it took since something happened."""
        await self.until(lambda: all(web.is_right for web in self.webs), seconds=30)
        took = time.monotonic() - since
        self.took.append(took)
        assert took <= RIGHT_AGAIN_SECONDS
        return took

    def fences_since(self, moment: float) -> set[int]:
        """Return the fences of every message that came over the layer since."""
        return {fence for web in self.webs for at, fence, _ in web.heard if at >= moment}

    def assert_one_speaks(self, woken_at: float) -> None:
        """One relay speaks since another was woken, but for the message that it was handing over when it was frozen.

        Nothing can call that one back; hubs pass over it, and before the next one a relay looks at its lease.
        """
        newest = max(self.fences_since(0))
        late = [fence for web in self.webs for at, fence, _ in web.heard if at >= woken_at and fence < newest]
        assert newest in self.fences_since(woken_at)
        assert len(late) <= 1, "a deposed relay has spoken"

    def assert_true(self) -> None:
        """Nothing wrong was LIVE, and no number of an epoch was told twice with another after it."""
        for web in self.webs:
            assert web.wrongs[:3] == []
            assert web.shown_live > 20
            epochs = [epoch for epoch, _ in web.taken]
            assert len(dict.fromkeys(epochs)) == 1 + sum(a != b for a, b in pairwise(epochs)), (
                "an epoch that has ended does not come back"
            )


@pytest.fixture
async def floor(own_valkey: RunningValkey) -> AsyncIterator[Floor]:
    """Three relays and two hubs, at rest with one leader."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "kalshiweb.settings_test"}
    command = [sys.executable, "-m", "tests.markets.relayprocess", own_valkey.url]
    processes = [subprocess.Popen(command, cwd=ROOT, env=environment) for _ in range(3)]
    webs = [Web(layer_on(own_valkey)) for _ in range(2)]
    for web in webs:
        web.begin()
    floor = Floor(own_valkey, webs, {process.pid: process for process in processes})
    await floor.until(lambda: all(web.is_right for web in webs), seconds=60)
    await asyncio.sleep(3)  # until the slowest of the three stands by
    yield floor
    if floor.took:
        sys.stdout.write(f"right again after {', '.join(f'{took:.2f}' for took in floor.took)} s\n")
    for web in webs:
        await web.hub.stop()
    for process in processes:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


async def test_one_of_three_speaks(floor: Floor) -> None:
    began = time.monotonic()
    await asyncio.sleep(3)

    assert floor.leader() in floor.relays
    assert len(floor.fences_since(began)) == 1
    floor.assert_true()


async def test_a_frozen_leader_is_replaced_and_says_nothing_when_it_wakes(floor: Floor) -> None:
    frozen = floor.leader()
    before = max(floor.fences_since(0))
    os.kill(frozen, signal.SIGSTOP)
    frozen_at = time.monotonic()
    await floor.doubted(seconds=3.0)
    await floor.right_again(frozen_at)

    assert floor.leader() != frozen
    after = floor.fences_since(frozen_at + 0.2)  # what it had said was still on its way
    assert min(after) > before

    os.kill(frozen, signal.SIGCONT)
    woken_at = time.monotonic()
    await asyncio.sleep(4)
    floor.assert_one_speaks(woken_at)
    assert max(floor.fences_since(woken_at)) == max(after)
    assert floor.leader() != frozen
    assert all(web.is_right for web in floor.webs)
    floor.assert_true()


async def test_a_leader_that_is_killed_is_replaced(floor: Floor) -> None:
    killed = floor.leader()
    floor.relays[killed].kill()
    killed_at = time.monotonic()

    await floor.until(lambda: not all(web.is_right for web in floor.webs), seconds=3.0)
    await floor.right_again(killed_at)

    assert floor.leader() != killed
    floor.assert_true()


async def test_a_store_that_comes_back_empty_is_right_again_within_five_seconds(floor: Floor) -> None:
    before = max(floor.fences_since(0))
    floor.valkey.kill()
    await floor.doubted()
    floor.valkey.start()
    restarted_at = time.monotonic()

    took = await floor.right_again(restarted_at)

    await asyncio.sleep(3)
    fences = floor.fences_since(restarted_at + took)
    assert len(fences) == 1
    assert min(fences) >= before, "no fence is handed out again"
    assert all(web.is_right for web in floor.webs)
    floor.assert_true()


async def test_three_frozen_and_woken_in_turn_never_speak_at_once(floor: Floor) -> None:
    for _ in range(3):
        frozen = floor.leader()
        os.kill(frozen, signal.SIGSTOP)
        frozen_at = time.monotonic()
        await floor.doubted()
        await floor.right_again(frozen_at)
        os.kill(frozen, signal.SIGCONT)
        woken_at = time.monotonic()
        await asyncio.sleep(1)
        floor.assert_one_speaks(woken_at)
    floor.assert_true()
