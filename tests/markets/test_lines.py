"""A member of the channel layer that notices when it has gone deaf, on a real Valkey."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from markets import lines
from markets.lines import Line, supervise
from tests.kalshiweb.valkeys import RunningValkey
from tests.markets.conftest import layer_on


class Heard:
    """What a line received, to be waited for."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "test.bad":
            raise ValueError("not understood")
        self.messages.put_nowait(message)

    async def next(self, seconds: float = 5.0) -> dict[str, Any]:
        return await asyncio.wait_for(self.messages.get(), seconds)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a line notice within two tenths of a second."""
    monkeypatch.setattr(lines, "ECHO_SECONDS", 0.03)
    monkeypatch.setattr(lines, "DEAF_SECONDS", 0.2)
    monkeypatch.setattr(lines, "RETRY_SECONDS", 0.02)


@pytest.fixture
async def running() -> AsyncIterator[Any]:
    """Return a function that runs a line until the test ends."""
    tasks: list[asyncio.Task[None]] = []

    async def run(line: Line) -> Line:
        tasks.append(asyncio.create_task(line.run()))
        await asyncio.wait_for(line.joined.wait(), 5)
        return line

    yield run
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_line_hears_what_is_sent_to_it_and_to_its_group(shared_valkey: RunningValkey, running: Any) -> None:
    layer, heard = layer_on(shared_valkey), Heard()
    line = await running(Line(layer, "relay", heard, group="relay.sandbox"))
    other = layer_on(shared_valkey)

    assert line.channel is not None
    await other.send(line.channel, {"type": "test.one"})
    assert await heard.next() == {"type": "test.one"}
    await other.group_send("relay.sandbox", {"type": "test.two"})
    assert await heard.next() == {"type": "test.two"}


async def test_a_message_that_is_not_understood_ends_nothing(running: Any) -> None:
    layer, heard = InMemoryChannelLayer(), Heard()
    line = await running(Line(layer, "hub", heard))

    await line.send(line.channel, {"type": "test.bad"})
    await line.send(line.channel, {"type": "test.good"})

    assert await heard.next() == {"type": "test.good"}


async def test_its_own_echo_says_that_it_is_up(running: Any) -> None:
    line = Line(InMemoryChannelLayer(), "hub", Heard())
    assert not line.is_up

    await running(line)
    async with asyncio.timeout(5):
        while not line.is_up:
            await asyncio.sleep(0)


class DeafLayer(InMemoryChannelLayer):  # type: ignore[misc]
    """A layer that forgets the first channel it gave out: what is sent to it arrives nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[str] = []

    async def new_channel(self, prefix: str = "specific.") -> str:
        name: str = await super().new_channel(prefix)
        self.given.append(name)
        return name

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        if channel != self.given[0]:
            await super().send(channel, message)


class DyingLayer(InMemoryChannelLayer):  # type: ignore[misc]
    """A layer whose store dies once, swallows what is sent after that, and then gives an old message back."""

    def __init__(self) -> None:
        super().__init__()
        self.dies = asyncio.Event()
        self.is_deaf = False
        self._first: tuple[str, dict[str, Any]] | None = None

    async def until_lost(self) -> None:
        await self.dies.wait()
        self.dies.clear()
        self.is_deaf = True

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        if self._first is None:
            self._first = (channel, message)
        if not self.is_deaf:
            await super().send(channel, message)

    async def given_back(self) -> None:
        """Deliver the first message a second time, and return when it has been taken."""
        assert self._first is not None
        channel, message = self._first
        await super().send(channel, message)
        while not self.channels[channel].empty():
            await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_a_line_that_hears_nothing_takes_a_new_channel(quick: None, running: Any) -> None:
    layer, heard = DeafLayer(), Heard()
    line = await running(Line(layer, "hub", heard))
    async with asyncio.timeout(5):
        while len(layer.given) < 2 or not line.is_up:
            await asyncio.sleep(0)

    async with asyncio.timeout(10):
        while heard.messages.empty():
            await line.send(line.channel, {"type": "test.again"})
            await asyncio.sleep(0.02)
    assert await heard.next() == {"type": "test.again"}


async def test_a_valkey_that_comes_back_empty_is_joined_again(
    quick: None, own_valkey: RunningValkey, running: Any
) -> None:
    layer, heard = layer_on(own_valkey), Heard()
    line = await running(Line(layer, "relay", heard, group="relay.sandbox"))

    await asyncio.to_thread(own_valkey.kill)
    async with asyncio.timeout(10):
        while line.is_up:
            await asyncio.sleep(0.01)
    await asyncio.to_thread(own_valkey.start)
    async with asyncio.timeout(10):
        while not line.is_up:
            await asyncio.sleep(0.01)

    # Quick as it is here, it may join once more at any moment: said again until it is heard.
    other = layer_on(own_valkey)
    async with asyncio.timeout(10):
        while heard.messages.empty():
            await other.group_send("relay.sandbox", {"type": "test.back"})
            await asyncio.sleep(0.02)
    assert await heard.next() == {"type": "test.back"}


async def test_a_store_that_dies_is_told_of_though_it_is_back_before_anybody_misses_a_message(
    own_valkey: RunningValkey, running: Any
) -> None:
    heard, lost = Heard(), asyncio.Event()
    line = await running(Line(layer_on(own_valkey), "hub", heard, lost=lost.set))
    async with asyncio.timeout(5):
        while not line.is_up:
            await asyncio.sleep(0.01)

    await asyncio.to_thread(own_valkey.kill)
    await asyncio.wait_for(lost.wait(), 1)
    assert not line.is_up

    await asyncio.to_thread(own_valkey.start)
    async with asyncio.timeout(10):
        while not line.is_up:
            await asyncio.sleep(0.01)


async def test_an_echo_from_before_the_store_died_proves_nothing(running: Any) -> None:
    layer = DyingLayer()
    line = await running(Line(layer, "hub", Heard()))
    async with asyncio.timeout(5):
        while not line.is_up:
            await asyncio.sleep(0)

    layer.dies.set()
    async with asyncio.timeout(5):
        while line.is_up:
            await asyncio.sleep(0)
    await layer.given_back()
    assert not line.is_up

    layer.is_deaf = False
    async with asyncio.timeout(5):
        while not line.is_up:
            await asyncio.sleep(0.01)


async def test_a_message_that_cannot_be_handed_over_is_counted(own_valkey: RunningValkey) -> None:
    line = Line(layer_on(own_valkey), "hub", Heard())
    own_valkey.kill()

    assert not await line.send("somebody", {"type": "test.lost"})
    assert not await line.send_group("somebodies", {"type": "test.lost"})
    assert line.lost_sends == 2


class Hanging:
    """The desk's layer on a store that hangs from the first join on, before it or between its two steps."""

    def __init__(self, server: RunningValkey, *, after_channel: bool) -> None:
        self.layer = layer_on(server)
        self.server = server
        self.after_channel = after_channel
        self.joins = 0
        self._hanging: asyncio.Task[None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.layer, name)

    async def new_channel(self, prefix: str) -> str:
        self.joins += 1
        if not self.after_channel:
            await self._hang()
        channel: str = await self.layer.new_channel(prefix)
        await self._hang()
        return channel

    async def _hang(self) -> None:
        """Freeze the store, and have a message wait for it, as the next ones then do."""
        if self._hanging is None:
            await self.layer.send("somebody", {"type": "test.before"})
            assert self.server.process is not None
            self.server.process.send_signal(signal.SIGSTOP)
            self._hanging = asyncio.create_task(self.layer.send("somebody", {"type": "test.hanging"}))
            await asyncio.sleep(0)

    async def wake(self) -> None:
        assert self._hanging is not None
        assert self.server.process is not None
        self.server.process.send_signal(signal.SIGCONT)
        await self._hanging

    def kept(self) -> tuple[set[str], dict[str, set[str]]]:
        """Return the channels whose messages are kept, and the members of each group."""
        layer = self.layer._get_layer()
        return set(layer.channels), dict(layer.groups)


@pytest.mark.parametrize("after_channel", [False, True], ids=["before there is a channel", "before the group has it"])
async def test_joins_that_a_hanging_store_lets_fail_leave_nothing_that_keeps_messages(
    quick: None, own_valkey: RunningValkey, monkeypatch: pytest.MonkeyPatch, after_channel: bool
) -> None:
    monkeypatch.setattr(lines, "SEND_SECONDS", 0.05)
    layer = Hanging(own_valkey, after_channel=after_channel)
    heard = Heard()
    line = Line(layer, "relay", heard, group="relay.sandbox")
    task = asyncio.create_task(line.run())
    async with asyncio.timeout(10):
        while layer.joins < 4:
            await asyncio.sleep(0.01)
    channels, groups = layer.kept()
    assert len(channels) <= 1, "the one of the join under way"
    assert set().union(*groups.values()) <= channels
    assert not line.joined.is_set()

    await layer.wake()
    monkeypatch.setattr(lines, "SEND_SECONDS", 2.0)
    await asyncio.wait_for(line.joined.wait(), 5)
    async with asyncio.timeout(10):
        while heard.messages.empty():
            await line.send_group("relay.sandbox", {"type": "test.again"})
            await asyncio.sleep(0.02)
    channels, groups = layer.kept()
    assert (channels, list(groups.values())) == ({line.channel}, [{line.channel}])

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert layer.kept() == (set(), {})


async def test_what_ought_never_to_end_is_started_again() -> None:
    runs: list[int] = []
    is_third = asyncio.Event()

    async def work() -> None:
        runs.append(len(runs))
        if len(runs) == 2:
            raise ValueError("died")
        if len(runs) == 3:
            is_third.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(supervise("work", work, retry_seconds=0))
    await asyncio.wait_for(is_third.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert runs == [0, 1, 2]
