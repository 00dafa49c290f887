"""One look at a book through the hub, by somebody who keeps no socket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from markets.events import encode
from markets.glance import Glance, NothingSeen
from markets.hub import Hub


class Deaf:
    """A line that carries nothing: the test plays the relay."""

    channel = "hub!1"
    is_up = True


@pytest.fixture
async def hub() -> Hub:
    hub = Hub(None)
    hub.line = Deaf()  # type: ignore[assignment]
    return hub


def tell(hub: Hub, *entries: tuple[str, str, int, str]) -> None:
    message = {"env": "sandbox", "e": "e1", "fence": 1, "frames": entries, "beat": None, "numbers": None}
    hub.receive(message)


def book(number: int, trades: int = 0) -> tuple[str, str, int, str]:
    return "snap", "A", number, encode({"t": "book", "m": "A", "n": number, "k": trades, "bids": [[4800, 100]]})


def trade(number: int) -> str:
    return encode({"t": "trade", "m": "A", "k": number})


async def ask(work: Any) -> asyncio.Task[Any]:
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    return task


async def test_it_is_the_first_whole_book_that_comes(hub: Hub) -> None:
    with Glance(hub, "sandbox", "A") as glance:
        seen = await ask(glance.book())
        tell(hub, ("delta", "A", 6, encode({"t": "delta", "m": "A"})), book(7))

        assert (await seen)["n"] == 7


async def test_who_has_looked_watches_no_longer(hub: Hub) -> None:
    with Glance(hub, "sandbox", "A"):
        assert hub.audience.wish("sandbox") == (["A"], [])

    assert hub.audience.wish("sandbox") == ([], [])
    assert hub.audience.browsers == set()


async def test_trades_come_oldest_first_and_once_each(hub: Hub) -> None:
    with Glance(hub, "sandbox", "A") as glance:
        seen = await ask(glance.trades())
        tell(hub, book(7, trades=3))
        await asyncio.sleep(0)
        tell(hub, ("trade", "A", 4, trade(4)), ("past", "A", 0, ",".join([trade(1), trade(2), trade(3)])))

        assert [frame["k"] for frame in await seen] == [1, 2, 3, 4]


async def test_a_market_without_trades_has_none(hub: Hub) -> None:
    with Glance(hub, "sandbox", "A") as glance:
        seen = await ask(glance.trades())
        tell(hub, book(7))

        assert await seen == []


async def test_a_market_whose_trades_nobody_remembers_has_none_to_show(hub: Hub) -> None:
    with Glance(hub, "sandbox", "A") as glance:
        seen = await ask(glance.trades())
        tell(hub, book(7, trades=3))
        await asyncio.sleep(0)
        tell(hub, ("past", "A", 0, ""))

        assert await seen == []


async def test_a_refusal_is_passed_on(hub: Hub) -> None:
    with Glance(hub, "sandbox", "A") as glance:
        seen = await ask(glance.book())
        tell(hub, ("error", "A", 0, encode({"t": "error", "text": "The exchange has no market of this ticker."})))

        with pytest.raises(NothingSeen, match="no market of this ticker"):
            await seen


async def test_patience_has_an_end(hub: Hub) -> None:
    with Glance(hub, "sandbox", "A", patience_seconds=0.01) as glance, pytest.raises(NothingSeen, match="try again"):
        await glance.book()


@pytest.mark.parametrize("ticker", ["A,B", "A B", "../A", "K" * 201])
async def test_what_is_no_ticker_is_not_watched(hub: Hub, ticker: str) -> None:
    with pytest.raises(NothingSeen, match="not a market's ticker"):
        Glance(hub, "sandbox", ticker)

    assert hub.audience.browsers == set()
