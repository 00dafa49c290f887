"""A team's browsers hear of every change of their orders, numbered without holes, and of nobody else's."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import TOTP
from channels.db import database_sync_to_async as in_thread
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.fixtures import Settings

from kalshiweb.asgi import application
from markets import sockets
from tests.trading.test_models import a_fill, an_order
from trading import consumers, events
from trading.models import Account, DeskEvent, Membership, Order, OrderState, Team, record

pytestmark = pytest.mark.django_db(transaction=True)

ORIGIN = b"http://localhost:8000"
Open = Callable[..., Any]


class Browser:
    """One page's socket."""

    first: dict[str, Any]  # the beat that greets it

    def __init__(self, cookie: str, named: str = "") -> None:
        headers = [(b"origin", ORIGIN), (b"cookie", cookie.encode())]
        self.socket = WebsocketCommunicator(application, f"/ws/desk/{named}", headers=headers)

    async def news(self, count: int = 1) -> list[dict[str, Any]]:
        """Return the next frames that are neither beats nor pulses."""
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(5):
            while len(found) < count:
                frames = json.loads(await self.socket.receive_from(timeout=5))
                found += [frame for frame in frames if frame["t"] not in {"beat", "pulse"}]
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


@pytest.fixture(autouse=True)
def quick_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beat ten times a second instead of once: many of these tests wait for the next beat."""
    monkeypatch.setattr(consumers, "BEAT_SECONDS", 0.1)


@pytest.fixture
async def connect() -> AsyncIterator[Open]:
    """Return a function that opens the socket of a person who is logged in."""
    opened: list[Browser] = []

    async def connect(user: User, named: str = "", *, is_welcome: bool = True) -> Browser:
        client = Client()
        await in_thread(client.force_login)(user)
        cookie = f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
        browser = Browser(cookie, named)
        assert (await browser.socket.connect())[0]
        opened.append(browser)
        if is_welcome and await in_thread(Membership.objects.filter(user=user).exists)():
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


@pytest.mark.parametrize(
    "message",
    [
        *("hello", {"op": "before", "n": 1}, {"op": "after"}, {"op": "after", "n": "1"}),
        *({"op": "after", "n": -1}, {"op": "after", "n": 10**30}, {"op": "ack"}, {"op": "ack", "bytes": "1"}),
    ],
)
async def test_anything_else_is_refused(connect: Open, account: Account, bob: User, message: object) -> None:
    browser = await connect(bob)

    await browser.say(message)

    assert (await browser.news())[0]["code"] == "BAD_MESSAGE"


async def test_who_is_not_logged_in_is_told_so_and_nothing_else(account: Account) -> None:
    await in_thread(an_order)(account, state="queued")
    browser = Browser("")
    await browser.socket.connect()
    first = await browser.socket.receive_output(timeout=5)
    assert (first["type"], first["code"]) == ("websocket.close", 4401)

    await browser.say({"op": "after", "n": 0})

    assert await browser.socket.receive_nothing(timeout=0.3)
    await browser.socket.disconnect()


async def test_who_has_no_team_is_sent_away(connect: Open) -> None:
    nobody = await in_thread(User.objects.create_user)("nobody")

    browser = await connect(nobody)

    assert await browser.closed_with() == consumers.NO_TEAM


@pytest.mark.parametrize(
    ("named", "is_welcome"),
    [
        ("", True),
        ("?team={team}&role=trader", True),
        ("?team={team}&role=viewer", False),
        ("?team=00000000-0000-0000-0000-000000000000&role=trader", False),
        ("?team=%ff&role=trader", False),
    ],
)
async def test_a_page_of_another_team_or_role_is_turned_away(
    connect: Open, team: Team, bob: User, named: str, is_welcome: bool
) -> None:
    browser = await connect(bob, named.format(team=team.pk), is_welcome=is_welcome)

    if is_welcome:
        assert browser.first["n"] == 0
    else:
        assert await browser.closed_with() == consumers.NO_TEAM


async def test_who_leaves_the_team_hears_no_more(connect: Open, account: Account, bob: User, vera: User) -> None:
    leaves, stays = await connect(bob), await connect(vera)
    await in_thread(Membership.objects.filter(user=bob).update)(is_active=False)

    await sockets.doorkeeper().recheck()

    assert await leaves.closed_with() == sockets.LOGGED_OUT
    assert (await stays.beat())["n"] == 0


# --- browsers that do not keep up, and those that ask too much -----------------------------------------------------


def much_to_tell(account: Account, numbers: int) -> None:
    """Let one order have changed so many times."""
    order = an_order(account)
    start = DeskEvent.objects.filter(team=account.team).count()
    DeskEvent.objects.bulk_create(
        DeskEvent(team_id=account.team_id, number=number, environment="sandbox", kind="order", subject=str(order.pk))
        for number in range(start + 1, start + numbers + 1)
    )
    Team.objects.filter(pk=account.team_id).update(number=start + numbers)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a page ask twenty times at once, so that what a deaf one is sent needs no time to add up."""
    monkeypatch.setattr(consumers, "ASKS_AT_ONCE", 20)


async def test_a_browser_that_acknowledges_nothing_is_let_go_before_it_is_sent_a_mebibyte(
    connect: Open, account: Account, bob: User, hasty: None
) -> None:
    await in_thread(much_to_tell)(account, 500)
    browser = await connect(bob)
    for _ in range(20):
        await browser.say({"op": "after", "n": 0})

    texts = []
    while (output := await browser.socket.receive_output(timeout=5))["type"] != "websocket.close":
        texts.append(output["text"])

    assert output["code"] == sockets.TOO_SLOW
    assert 400_000 < sum(map(len, texts)) < 1_048_576


async def test_a_browser_that_acknowledges_gets_as_much_as_it_asks_for(
    connect: Open, account: Account, bob: User, hasty: None
) -> None:
    await in_thread(much_to_tell)(account, 500)
    browser = await connect(bob)
    arrived = 0
    for _ in range(20):
        await browser.say({"op": "after", "n": 0})
        while '"order"' not in (text := await browser.socket.receive_from(timeout=5)):
            arrived += len(text)
        arrived += len(text)
        await browser.say({"op": "ack", "bytes": arrived})

    assert arrived > 524_288
    assert (await browser.beat())["n"] == 500


async def test_a_browser_that_was_given_up_is_not_heard_any_more(
    connect: Open, account: Account, bob: User, hasty: None
) -> None:
    await in_thread(much_to_tell)(account, 500)
    browser = await connect(bob)
    for _ in range(20):
        await browser.say({"op": "after", "n": 0})
    assert await browser.closed_with() == sockets.TOO_SLOW

    await browser.say("hello")

    assert await browser.socket.receive_nothing(timeout=0.1)


async def test_an_answer_is_one_page_and_the_next_is_asked_for(connect: Open, account: Account, bob: User) -> None:
    await in_thread(much_to_tell)(account, 130)
    browser = await connect(bob)

    await browser.say({"op": "after", "n": 0})
    assert [frame["n"] for frame in await browser.news()] == list(range(1, 101))
    await browser.say({"op": "after", "n": 100})
    assert [frame["n"] for frame in await browser.news()] == list(range(101, 131))


async def test_a_burst_is_told_in_pages(connect: Open, account: Account, bob: User) -> None:
    browser = await connect(bob)

    await in_thread(much_to_tell)(account, 130)

    assert [frame["n"] for frame in await browser.news()] == list(range(1, 101))
    assert [frame["n"] for frame in await browser.news()] == list(range(101, 131))


async def test_whoever_asks_all_the_time_is_answered_ten_times_and_then_twice_a_second(
    connect: Open, account: Account, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert consumers.ASKS_PER_SECOND == 2
    monkeypatch.setattr(consumers, "ASKS_PER_SECOND", 0)  # so that the clock plays no part
    await in_thread(much_to_tell)(account, 1)
    browser = await connect(bob)
    for _ in range(11):
        await browser.say({"op": "after", "n": 0})

    assert [frame["t"] for frame in await browser.news(10)] == ["order"] * 10
    assert (await browser.news())[0]["code"] == "TOO_OFTEN"
    await browser.say({"op": "ack", "bytes": 0})
    assert (await browser.beat())["n"] == 1


async def test_a_name_in_any_script_is_counted_as_the_browser_counts_it() -> None:
    frame: Any = {"t": "order", "who": "Zoë 😀", "reason": "limit 5¢"}

    assert consumers.encode([frame, frame]).isascii()
    assert json.loads(f"[{consumers.encode([frame, frame])}]") == [frame, frame]


# --- the desk itself -----------------------------------------------------------------------------------------------


async def test_a_row_that_cannot_be_told_keeps_no_other_team_waiting(connect: Open, db: None) -> None:
    def team(number: int, name: str) -> Account:
        team = Team.objects.create(pk=uuid.UUID(int=number), name=name, slug=name)
        Membership.objects.create(team=team, user=User.objects.create_user(name), role="viewer")
        return Account.objects.create(environment="sandbox", team=team, name="Main")

    broken, whole = await in_thread(team)(1, "broken"), await in_thread(team)(2**127, "whole")
    await connect(await User.objects.aget(username="broken"))
    browser = await connect(await User.objects.aget(username="whole"))

    await in_thread(much_to_tell)(broken, 1)
    await in_thread(DeskEvent.objects.update)(subject=str(uuid.uuid4()))
    await in_thread(much_to_tell)(whole, 1)

    assert [frame["n"] for frame in await browser.news()] == [1]


async def test_while_the_database_is_away_the_socket_is_alive_and_no_beat_says_that_orders_are_current(
    connect: Open, account: Account, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "BEAT_SECONDS", 0.05)
    browser = await connect(bob)
    await browser.beat()
    with monkeypatch.context() as away:
        away.setattr(events, "numbers", _away)
        said: list[str] = []
        async with asyncio.timeout(5):
            while said[-6:] != ["pulse"] * 6:  # a beat or two may have been on their way
                said += [frame["t"] for frame in json.loads(await browser.socket.receive_from(timeout=5))]
        assert said.count("beat") <= 2

    assert (await browser.beat())["n"] == 0


def _away(team_ids: object) -> dict[uuid.UUID, int]:
    raise OperationalError("the database is away")


async def test_a_team_whose_last_page_leaves_while_its_news_is_read_is_forgotten(
    connect: Open, account: Account, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connect(bob)
    desk = consumers.get_desk()
    ((team_id, inside),) = desk.sockets.items()
    real, asked, answered = events.frames_after, asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(team_id: uuid.UUID, number: int) -> list[events.Frame]:
        loop.call_soon_threadsafe(asked.set)
        answered.wait(5)
        return real(team_id, number)

    monkeypatch.setattr(events, "frames_after", slow)
    await in_thread(much_to_tell)(account, 1)
    await asyncio.wait_for(asked.wait(), 5)
    desk.leave(next(iter(inside)), team_id)
    answered.set()
    await desk.tell()  # the database's thread takes one after the other

    assert (desk.sockets, desk.told) == ({}, {})


async def test_all_sockets_are_asked_about_in_three_questions(
    connect: Open, account: Account, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "RECHECK_SECONDS", 3600)
    await connect(bob)
    one = await _asked_in_a_recheck()

    for _ in range(49):
        await connect(bob)

    assert len(one) == 3, one
    assert len(await _asked_in_a_recheck()) == 3


async def _asked_in_a_recheck() -> list[str]:
    """Return what the database is asked about those inside."""
    await consumers.stop_desk()  # whose beats have questions of their own for the same thread
    await in_thread(_queries)()
    await sockets.doorkeeper().recheck()
    asked: list[str] = await in_thread(_queries)()
    return asked


def _queries() -> list[str]:
    """Return what the database thread was asked since the last time, and listen on."""
    connection.force_debug_cursor = True
    asked = [entry["sql"] for entry in connection.queries_log]
    connection.queries_log.clear()
    return asked


def test_beside_real_money_only_those_with_a_second_factor_keep_their_seats(
    team: Team, other_team: Team, alice: User, bob: User, mallory: User, settings: Settings, store_key: Any
) -> None:
    settings.ENVIRONMENT = "production"
    store_key(Account.objects.create(environment="production", team=team, name="Main"), alice)
    TOTP.activate(alice, "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")
    kept = {consumers.Seat(alice.pk, team.pk, "owner"), consumers.Seat(mallory.pk, other_team.pk, "owner")}
    lost = {
        consumers.Seat(bob.pk, team.pk, "trader"),  # has no second factor
        consumers.Seat(alice.pk, team.pk, "viewer"),  # is no viewer any more
        consumers.Seat(alice.pk, other_team.pk, "owner"),  # mallory is, alice is not
    }

    with CaptureQueriesContext(connection) as asked:
        assert consumers.kept_seats(kept | lost) == kept
    assert len(asked) == 3


async def test_one_socket_that_cannot_be_told_spares_no_other(connect: Open, account: Account, bob: User) -> None:
    browsers = [await connect(bob) for _ in range(6)]
    await in_thread(Membership.objects.filter(user=bob).update)(role="viewer")
    inside = list(sockets.doorkeeper().sockets)

    async def gone(message: object) -> None:
        raise OSError("the connection is gone")

    for socket in inside[:5]:
        socket.base_send = gone
    await sockets.doorkeeper().recheck()

    closed = 0
    for browser in browsers:
        while not browser.socket.output_queue.empty():
            closed += (await browser.socket.receive_output())["type"] == "websocket.close"
    assert closed == 1


# --- the numbers themselves ---------------------------------------------------------------------------------------


def test_too_much_to_tell_is_a_lost_frame(account: Account, team: Team) -> None:
    order = an_order(account)
    for number in range(1, 503):
        DeskEvent.objects.create(team=team, number=number, environment="sandbox", kind="order", subject=str(order.pk))
    Team.objects.update(number=502)

    assert events.frames_after(team.pk, 0) == [{"t": "lost", "n": 502}]
    assert [frame["n"] for frame in events.frames_after(team.pk, 2)] == list(range(3, 103))
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
