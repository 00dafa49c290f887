"""A team's browsers hear of every change of their orders, numbered without holes, and of nobody else's."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from channels.db import database_sync_to_async as in_thread
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from kalshiweb.asgi import application
from markets import sockets
from tests.trading.test_models import a_fill, an_order
from trading import consumers, events
from trading.models import Account, DeskEvent, Membership, Order, OrderState, Team, record

pytestmark = pytest.mark.django_db(transaction=True)

ORIGIN = b"http://localhost:8000"
Open = Callable[[Any], Any]


class Browser:
    """One page's socket."""

    first: dict[str, Any]  # the beat that greets it

    def __init__(self, cookie: str) -> None:
        headers = [(b"origin", ORIGIN), (b"cookie", cookie.encode())]
        self.socket = WebsocketCommunicator(application, "/ws/desk/", headers=headers)

    async def news(self, count: int = 1) -> list[dict[str, Any]]:
        """Return the next frames that are no beats."""
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(5):
            while len(found) < count:
                frames = json.loads(await self.socket.receive_from(timeout=5))
                found += [frame for frame in frames if frame["t"] != "beat"]
        return found

    async def beat(self) -> dict[str, Any]:
        """Return the next beat."""
        while True:
            for frame in json.loads(await self.socket.receive_from(timeout=5)):
                if frame["t"] == "beat":
                    return dict(frame)

    async def closed_with(self) -> int:
        """Return the code with which the server closes, whatever it says before."""
        while (output := await self.socket.receive_output(timeout=5))["type"] != "websocket.close":
            pass
        return int(output["code"])

    async def say(self, message: object) -> None:
        """Send a message."""
        await self.socket.send_to(json.dumps(message))


@pytest.fixture
async def connect() -> AsyncIterator[Open]:
    """Return a function that opens the socket of a person who is logged in."""
    opened: list[Browser] = []

    async def connect(user: User) -> Browser:
        client = Client()
        await in_thread(client.force_login)(user)
        browser = Browser(f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}")
        assert (await browser.socket.connect())[0]
        opened.append(browser)
        if await in_thread(Membership.objects.filter(user=user).exists)():
            browser.first = await browser.beat()
        return browser

    yield connect
    for browser in opened:
        await browser.socket.disconnect()
    await consumers.stop_desk()
    if keeper := sockets._doorkeepers.pop(asyncio.get_running_loop(), None):
        keeper._task.cancel()


def advance(order: Order, to: OrderState, **learnt: Any) -> None:
    """Change an order as another thread of the server does."""
    order.advance(to, **learnt)


async def test_a_change_is_told_to_everybody_in_the_team(
    connect: Open, account: Account, bob: User, vera: User
) -> None:
    order = await in_thread(an_order)(account, state="sending", placed_by=bob)
    browsers = [await connect(bob), await connect(vera)]

    await in_thread(advance)(order, OrderState.RESTING, exchange_order_id="3b23c1c7")

    for browser in browsers:
        (frame,) = await browser.news()
        assert (frame["t"], frame["n"], frame["id"], frame["state"]) == ("order", 1, str(order.pk), "resting")
        assert (frame["price"], frame["count"], frame["filled"]) == (4800, 1000, 0)
        assert (frame["side"], frame["wire_side"], frame["who"], frame["cancelable"]) == ("yes", "bid", "BO", True)


async def test_another_team_hears_nothing(connect: Open, account: Account, bob: User, mallory: User) -> None:
    order = await in_thread(an_order)(account, state="sending")
    inside, outside = await connect(bob), await connect(mallory)

    await in_thread(advance)(order, OrderState.RESTING)

    assert (await inside.news())[0]["id"] == str(order.pk)
    assert [(await outside.beat())["n"] for _ in range(2)] == [0, 0]


async def test_what_was_missed_is_asked_for_by_its_number(connect: Open, account: Account, bob: User) -> None:
    order = await in_thread(an_order)(account, state="queued")
    for state in (OrderState.SENDING, OrderState.RESTING, OrderState.CANCELED):
        await in_thread(advance)(order, state)
    browser = await connect(bob)
    assert browser.first["n"] == 3

    await browser.say({"op": "after", "n": 1})

    assert [(frame["n"], frame["state"]) for frame in await browser.news(2)] == [(2, "canceled"), (3, "canceled")]


async def test_news_that_the_layer_loses_arrives_all_the_same(
    connect: Open, account: Account, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "publish", lambda team_id: None)
    order = await in_thread(an_order)(account, state="sending")
    browser = await connect(bob)

    await in_thread(advance)(order, OrderState.RESTING)

    assert (await browser.news())[0]["n"] == 1


async def test_a_fill_is_told(connect: Open, account: Account, bob: User) -> None:
    def book() -> None:
        order = an_order(account)
        fill = a_fill(account, order=order)
        DeskEvent.append(DeskEvent.Kind.FILL, fill, team_id=account.team_id, environment=account.environment)

    browser = await connect(bob)
    await in_thread(book)()

    (frame,) = await browser.news()
    assert (frame["t"], frame["trade"], frame["price"], frame["count"]) == ("fill", "f4a42159", 4800, 400)


@pytest.mark.parametrize("message", ["hello", {"op": "before", "n": 1}, {"op": "after"}, {"op": "after", "n": "1"}])
async def test_anything_else_is_refused(connect: Open, account: Account, bob: User, message: object) -> None:
    browser = await connect(bob)

    await browser.say(message)

    assert (await browser.news())[0]["code"] == "BAD_MESSAGE"


async def test_who_is_not_logged_in_is_not_let_in() -> None:
    assert (await Browser("").socket.connect())[0] is False


async def test_who_has_no_team_is_sent_away(connect: Open) -> None:
    nobody = await in_thread(User.objects.create_user)("nobody")

    browser = await connect(nobody)

    assert await browser.closed_with() == consumers.NO_TEAM


async def test_who_leaves_the_team_hears_no_more(connect: Open, account: Account, bob: User, vera: User) -> None:
    leaves, stays = await connect(bob), await connect(vera)
    await in_thread(Membership.objects.filter(user=bob).update)(is_active=False)

    await sockets.doorkeeper().recheck()

    assert await leaves.closed_with() == sockets.LOGGED_OUT
    assert (await stays.beat())["n"] == 0


async def test_a_browser_that_takes_nothing_is_let_go(
    connect: Open, account: Account, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "WAITING_MOST", 2)
    browser = await connect(bob)
    (socket,) = next(iter(consumers.get_desk().sockets.values()))
    socket._writer.cancel()

    for _ in range(4):
        socket.put("[]")

    assert await browser.closed_with() == sockets.TOO_SLOW


# --- the numbers themselves ---------------------------------------------------------------------------------------


def test_too_much_to_tell_is_a_lost_frame(account: Account, team: Team) -> None:
    order = an_order(account)
    for number in range(1, 503):
        DeskEvent.objects.create(team=team, number=number, environment="sandbox", kind="order", subject=str(order.pk))
    Team.objects.update(number=502)

    assert events.frames_after(team.pk, 0) == [{"t": "lost", "n": 502}]
    assert [frame["n"] for frame in events.frames_after(team.pk, 500)] == [501, 502]
    assert events.frames_after(team.pk, 502) == []


def test_what_was_cleared_away_is_a_lost_frame(account: Account, team: Team) -> None:
    order = an_order(account)
    order.note("heard")
    order.note("heard")
    DeskEvent.objects.filter(number=1).delete()

    assert events.frames_after(team.pk, 0) == [{"t": "lost", "n": 2}]
    assert [frame["n"] for frame in events.frames_after(team.pk, 1)] == [2]


def test_a_number_from_the_future_is_a_lost_frame(account: Account, team: Team) -> None:
    assert events.frames_after(team.pk, 7) == [{"t": "lost", "n": 0}]


def test_every_number_is_given_once(account: Account, team: Team) -> None:
    first, second = an_order(account), an_order(account, exchange_order_id=str(uuid.uuid4()))
    for order in (first, second, first):
        order.note("heard")

    assert list(DeskEvent.objects.order_by("number").values_list("number", "subject")) == [
        (1, str(first.pk)),
        (2, str(second.pk)),
        (3, str(first.pk)),
    ]


def test_times_travel_in_milliseconds(account: Account) -> None:
    placed_at = timezone.now().replace(microsecond=250_000)
    order = an_order(account, created_at=placed_at, cancel_requested_at=placed_at + timedelta(seconds=1))

    frame = events.order_frame(order, 1)

    assert frame["at"] % 1000 == 250
    assert frame["cancel_at"] == frame["at"] + 1000
    assert frame["sent_at"] is None
