"""A browser that falls behind gets less, is caught up with whole books, and is given up in the end."""

from __future__ import annotations

import asyncio
import json

import pytest

from markets.outbox import GRACE_MS, HARD_LIMIT_BYTES, LIMIT_BYTES, Outbox, drive

KEY = ("sandbox", "A")
OTHER = ("sandbox", "B")
DELTA = json.dumps({"t": "delta", "x": "y" * 100})


class Wire:
    """Where frames arrive; closed, it makes whoever sends wait."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.is_open = asyncio.Event()
        self.is_open.set()

    async def send(self, text: str) -> None:
        await self.is_open.wait()
        self.texts.append(text)


@pytest.fixture
async def wire() -> Wire:
    return Wire()


@pytest.fixture
async def outbox(wire: Wire) -> Outbox:
    return Outbox(wire.send)


def fill(outbox: Outbox) -> None:
    """Put frames until the browser counts as slow."""
    while outbox.put(KEY, "x" * 10_000, is_whole=False, now=0):
        outbox.flush()


async def test_one_tick_is_one_text_message(outbox: Outbox, wire: Wire) -> None:
    outbox.put(KEY, '{"t":1}', is_whole=False, now=0)
    outbox.put(OTHER, '{"t":2}', is_whole=False, now=0)
    outbox.flush()

    assert wire.texts == ['[{"t":1},{"t":2}]']


async def test_nothing_waiting_sends_nothing(outbox: Outbox, wire: Wire) -> None:
    outbox.flush()

    assert wire.texts == []


async def test_a_send_that_waits_holds_nobody_up_and_the_rest_follows(outbox: Outbox, wire: Wire) -> None:
    wire.is_open.clear()
    outbox.put(KEY, "1", is_whole=False, now=0)
    outbox.flush()
    outbox.put(KEY, "2", is_whole=False, now=0)
    outbox.put(KEY, "3", is_whole=False, now=0)
    outbox.flush()
    assert wire.texts == []

    wire.is_open.set()
    async with asyncio.timeout(1):
        while len(wire.texts) < 2:
            await asyncio.sleep(0)
    assert wire.texts == ["[1]", "[2,3]"]


async def test_a_browser_that_acknowledges_nothing_gets_no_more_than_the_limit(outbox: Outbox, wire: Wire) -> None:
    fill(outbox)
    for _ in range(100):
        outbox.put(OTHER, DELTA, is_whole=True, now=1)
    outbox.flush()

    assert sum(map(len, wire.texts)) <= LIMIT_BYTES + 10_000
    assert outbox.missed == {KEY, OTHER}


async def test_one_that_has_caught_up_gets_nothing_of_a_missed_market_before_a_whole_book(outbox: Outbox) -> None:
    fill(outbox)
    assert outbox.ack(outbox.sent)

    assert not outbox.put(KEY, DELTA, is_whole=False, now=1)
    assert outbox.put(OTHER, DELTA, is_whole=False, now=1)
    assert outbox.put(KEY, DELTA, is_whole=True, now=1)
    assert outbox.put(KEY, DELTA, is_whole=False, now=1)
    assert outbox.missed == set()


async def test_catching_up_a_little_is_not_enough(outbox: Outbox) -> None:
    fill(outbox)

    assert not outbox.ack(10_000)
    assert outbox.slow_since is not None


async def test_an_acknowledgement_of_more_than_was_sent_counts_for_nothing(outbox: Outbox) -> None:
    fill(outbox)

    assert not outbox.ack(outbox.sent + 1)
    assert not outbox.ack(10**15)
    assert outbox.acked == 0

    assert outbox.ack(outbox.sent)
    assert outbox.outstanding == 0


async def test_what_has_arrived_does_not_go_back(outbox: Outbox) -> None:
    outbox.put(KEY, DELTA, is_whole=False, now=0)
    outbox.flush()
    outbox.ack(outbox.sent)

    outbox.ack(0)
    assert outbox.outstanding == 0


async def test_tops_fill_the_same_measure_as_books(outbox: Outbox, wire: Wire) -> None:
    top = "x" * (LIMIT_BYTES // 2)
    assert outbox.put_top(top, now=0)
    assert outbox.put_top(top, now=1)
    assert outbox.slow_since is None
    assert not outbox.put_top("1", now=2)
    outbox.flush()

    assert not outbox.put_top("1", now=3)
    assert not outbox.put(KEY, DELTA, is_whole=True, now=3)
    assert outbox.slow_since == 2
    assert outbox.ack(outbox.sent)
    assert outbox.put_top("1", now=4)


async def test_half_a_minute_behind_is_hopeless(outbox: Outbox) -> None:
    fill(outbox)

    assert not outbox.is_hopeless(GRACE_MS)
    assert outbox.is_hopeless(GRACE_MS + 1)


async def test_who_takes_not_even_words_is_hopeless(outbox: Outbox, wire: Wire) -> None:
    word = "x" * (HARD_LIMIT_BYTES // 4)
    for _ in range(4):
        outbox.put_word(word)
    assert not outbox.is_hopeless(0)

    for _ in range(4):
        outbox.put_word("12345")

    assert outbox.is_hopeless(0)
    assert outbox.outstanding == HARD_LIMIT_BYTES + 5, "one word over, and no more"


async def test_words_reach_a_slow_browser_too(outbox: Outbox, wire: Wire) -> None:
    fill(outbox)
    outbox.put_word('{"t":"beat"}')
    outbox.flush()

    assert wire.texts[-1] == '[{"t":"beat"}]'


async def test_a_connection_that_broke_is_sent_nothing_more(outbox: Outbox, wire: Wire) -> None:
    outbox.close()
    outbox.put(KEY, DELTA, is_whole=False, now=0)
    outbox.flush()

    assert wire.texts == []


async def test_driving_passes_results_and_errors_of_what_is_awaited_on() -> None:
    seen: list[str] = []
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    trouble: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        seen.append(await answer)
        try:
            await trouble
        except ValueError:
            seen.append("trouble")

    task = drive(work())
    assert task is not None and seen == []
    answer.set_result("answer")
    trouble.set_exception(ValueError())
    await task
    assert seen == ["answer", "trouble"]


async def test_driving_what_never_waits_needs_no_task() -> None:
    async def work() -> None:
        pass

    assert drive(work()) is None
