"""The browser's socket for books, through the real application: who may open it, what it takes, what it refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import import_module
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client

from kalshiweb.asgi import application
from markets import sockets
from markets.audience import Browser
from markets.consumers import BAD_TICKERS_TOLD, MARKETS_PER_SOCKET, BookConsumer
from markets.events import encode
from markets.hub import get_hub, stop_hub
from markets.sockets import BURST, LOGGED_OUT, MESSAGE_BYTES, TOO_MUCH, TOO_SLOW

# Committed for real: sockets ask the database from threads of their own.
pytestmark = pytest.mark.django_db(transaction=True)

ORIGIN = "http://localhost:8000"
Frames = list[dict[str, Any]]


class Socket(WebsocketCommunicator):  # type: ignore[misc]
    """A browser's end of the socket."""

    async def say(self, **message: Any) -> None:
        await self.send_to(text_data=json.dumps(message))

    async def hear(self, kind: str, seconds: float = 5) -> dict[str, Any]:
        """Return the next frame of this kind."""
        while True:
            for frame in json.loads(await self.receive_from(timeout=seconds)):
                if frame["t"] == kind:
                    found: dict[str, Any] = frame
                    return found

    async def closed_with(self, seconds: float = 5) -> int:
        """Return the code with which the server closes, whatever it says before."""
        async with asyncio.timeout(seconds):
            while (output := await self.receive_output(timeout=seconds))["type"] != "websocket.close":
                pass
        code: int = output["code"]
        return code


@pytest.fixture
async def cookie() -> str:
    """Alice's session, as a Cookie header's value."""
    return await sync_to_async(_log_in)("alice")


def _log_in(name: str) -> str:
    user, _ = User.objects.get_or_create(username=name)
    client = Client()
    client.force_login(user, backend=settings.AUTHENTICATION_BACKENDS[0])
    return f"{settings.SESSION_COOKIE_NAME}={client.session.session_key}"


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Awaitable[Socket]]]:
    """Return a function that opens a socket and expects it to be taken."""
    opened: list[Socket] = []

    async def run(cookie: str) -> Socket:
        socket = make(cookie)
        opened.append(socket)
        is_taken, _ = await socket.connect(timeout=5)
        assert is_taken
        return socket

    yield run
    for socket in opened:
        await socket.disconnect()
    await stop_hub()


def make(cookie: str = "", origin: str = ORIGIN) -> Socket:
    headers = [(b"origin", origin.encode()), (b"cookie", cookie.encode())]
    return Socket(application, "/ws/markets/", headers=headers)


async def refused(socket: Socket) -> bool:
    is_taken, _ = await socket.connect(timeout=5)
    await socket.disconnect()
    return not is_taken


async def turned_away(socket: Socket) -> int:
    """Return the code with which a socket is closed that is taken to be told so; it has heard nothing else."""
    is_taken, _ = await socket.connect(timeout=5)
    assert is_taken
    output = await socket.receive_output(timeout=5)
    await socket.say(op="watch", env="sandbox", books=["A"])
    assert await socket.receive_nothing(timeout=0.2)
    assert get_hub().audience.books == {}
    await socket.disconnect()
    code: int = output["code"]
    return code


@pytest.mark.parametrize("cookie", ["", f"{settings.SESSION_COOKIE_NAME}=made-up"])
async def test_nobody_without_a_log_in_hears_more_than_that(cookie: str) -> None:
    assert await turned_away(make(cookie)) == LOGGED_OUT
    await stop_hub()


async def test_a_log_in_that_ended_while_the_page_was_away_is_told_apart_from_a_lost_network(cookie: str) -> None:
    await Session.objects.all().adelete()

    assert await turned_away(make(cookie)) == LOGGED_OUT
    await stop_hub()


@pytest.mark.parametrize("origin", ["https://localhost:8000", "http://localhost:9000", "http://evil.example", "null"])
async def test_a_page_of_another_origin_gets_no_socket(cookie: str, origin: str) -> None:
    assert await refused(make(cookie, origin))


@pytest.mark.parametrize("origin", ["https://localhost:8000", "null"])
async def test_a_page_of_another_origin_is_not_even_told_that_nobody_is_logged_in(origin: str) -> None:
    assert await refused(make("", origin))


async def test_a_person_who_is_locked_out_hears_nothing(cookie: str) -> None:
    await User.objects.filter(username="alice").aupdate(is_active=False)

    assert await turned_away(make(cookie)) == LOGGED_OUT
    await stop_hub()


async def test_what_is_watched_arrives_and_what_is_taken_off_does_not(connect: Any, cookie: str) -> None:
    socket = await connect(cookie)
    await socket.say(op="watch", env="sandbox", books=["A", "B"])
    assert (await socket.hear("beat"))["feed"] == "down"

    tell("A", 1)
    assert (await socket.hear("book"))["m"] == "A"
    await socket.say(op="unwatch", env="sandbox", books=["A"])
    await socket.say(op="snapshot", env="sandbox", m="A")
    assert (await socket.hear("error"))["code"] == "NOT_WATCHED"
    tell("A", 2)
    tell("B", 1)
    assert (await socket.hear("book"))["m"] == "B"


def tell(ticker: str, number: int) -> None:
    frame = ("book", ticker, number, encode({"t": "book", "env": "sandbox", "m": ticker, "n": number}))
    message = {"env": "sandbox", "e": "e1", "fence": 1, "frames": [frame], "beat": None, "numbers": None}
    get_hub().receive(message)


async def test_a_socket_that_closes_watches_nothing_any_more(connect: Any, cookie: str) -> None:
    socket = await connect(cookie)
    await socket.say(op="watch", env="sandbox", books=["A"])
    await socket.hear("beat")
    assert get_hub().audience.wish("sandbox") == (["A"], [])

    await socket.disconnect()

    assert get_hub().audience.wish("sandbox") == ([], [])


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("{", "BAD_MESSAGE"),
        ('{"op":"dance"}', "BAD_MESSAGE"),
        ('{"op":"watch"}', "BAD_MESSAGE"),
        ('{"op":"watch","env":"sandbox","books":[1]}', "BAD_MESSAGE"),
        ('{"op":"watch","env":"moon","books":["A"]}', "UNKNOWN_ENVIRONMENT"),
        ('{"op":"watch","env":"sandbox","books":["../A"]}', "BAD_TICKER"),
        ('{"op":"watch","env":"sandbox","tops":["A B"]}', "BAD_TICKER"),
        ('{"op":"trades","env":"sandbox","m":"A"}', "NOT_WATCHED"),
        ('{"op":"snapshot","env":"sandbox","m":"A"}', "NOT_WATCHED"),
        ("x" * (MESSAGE_BYTES + 1), "TOO_LONG"),
    ],
)
async def test_a_message_that_makes_no_sense_is_refused_and_the_socket_stays(
    connect: Any, cookie: str, said: str, code: str
) -> None:
    socket = await connect(cookie)
    await socket.send_to(text_data=said)

    assert (await socket.hear("error"))["code"] == code
    await socket.say(op="watch", env="sandbox", books=["A"])
    assert (await socket.hear("beat"))["env"] == "sandbox"


async def errors(socket: Socket, count: int) -> Frames:
    """Return the next refusals, however many of them come in one text."""
    found: Frames = []
    while len(found) < count:
        found += [frame for frame in json.loads(await socket.receive_from(timeout=5)) if frame["t"] == "error"]
    return found


async def test_one_bad_ticker_of_a_watch_is_refused_and_the_rest_is_served(connect: Any, cookie: str) -> None:
    longest = "K" * 200
    socket = await connect(cookie)
    await socket.say(op="watch", env="sandbox", books=["A", "../B", longest], tops=["C", "D E", "K" * 201])

    refused = await errors(socket, 3)

    assert [(frame["code"], frame["env"], frame.get("m")) for frame in refused] == [
        ("BAD_TICKER", "sandbox", "../B"),
        ("BAD_TICKER", "sandbox", "D E"),
        ("BAD_TICKER", "sandbox", None),
    ]
    assert get_hub().audience.wish("sandbox") == (["A", longest], ["C"])


async def test_a_refused_ticker_is_named_in_ascii_so_that_bytes_are_counted_alike(connect: Any, cookie: str) -> None:
    socket = await connect(cookie)
    await socket.say(op="unwatch", env="sandbox", books=["Zürich"])

    assert (await socket.hear("error"))["m"] == "Z?rich"


async def test_a_message_of_nothing_but_bad_tickers_is_not_answered_without_end(connect: Any, cookie: str) -> None:
    socket = await connect(cookie)
    await socket.say(op="watch", env="sandbox", books=[f"!{number}" for number in range(BAD_TICKERS_TOLD + 50)])
    await socket.say(op="snapshot", env="sandbox", m="A")

    codes = [frame["code"] for frame in await errors(socket, BAD_TICKERS_TOLD + 1)]

    assert codes == ["BAD_TICKER"] * BAD_TICKERS_TOLD + ["NOT_WATCHED"]


async def test_bytes_are_no_message(connect: Any, cookie: str) -> None:
    socket = await connect(cookie)
    await socket.send_to(bytes_data=b'{"op":"ack","bytes":0}')

    assert (await socket.hear("error"))["code"] == "BAD_MESSAGE"


async def test_a_page_watches_so_many_markets_and_no_more(connect: Any, cookie: str) -> None:
    socket = await connect(cookie)
    await socket.say(op="watch", env="sandbox", books=[f"M{n}" for n in range(MARKETS_PER_SOCKET)])
    await socket.hear("beat")

    await socket.say(op="watch", env="sandbox", books=["ONE-MORE"])

    assert (await socket.hear("error"))["code"] == "TOO_MANY"
    assert len(get_hub().audience.wish("sandbox")[0]) == MARKETS_PER_SOCKET


async def test_who_talks_without_end_is_cut_off(connect: Any, cookie: str) -> None:
    socket = await connect(cookie)
    for _ in range(2 * BURST):
        await socket.say(op="ack", bytes=0)

    assert await socket.closed_with() == TOO_MUCH


async def test_who_counts_more_than_was_sent_is_closed_and_watches_nothing(connect: Any, cookie: str) -> None:
    socket = await connect(cookie)
    await socket.say(op="watch", env="sandbox", books=["A"])
    beat = await socket.receive_from(timeout=5)
    await socket.say(op="ack", bytes=len(beat))
    await socket.say(op="snapshot", env="sandbox", m="B")
    assert (await socket.hear("error"))["code"] == "NOT_WATCHED"

    await socket.say(op="ack", bytes=10**15)

    assert await socket.closed_with() == TOO_SLOW
    assert get_hub().audience.wish("sandbox") == ([], [])


async def test_a_person_has_so_many_sockets_and_no_more(
    connect: Any, cookie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "SOCKETS_PER_USER", 2)
    first = await connect(cookie)
    await connect(cookie)
    third = await connect(cookie)
    assert await third.closed_with() == TOO_MUCH

    await first.disconnect()
    fourth = await connect(cookie)
    await fourth.say(op="watch", env="sandbox", books=["A"])
    assert (await fourth.hear("beat"))["env"] == "sandbox"


async def log_out() -> None:
    await Session.objects.all().adelete()


async def lock_out() -> None:
    await User.objects.filter(username="alice").aupdate(is_active=False)


async def change_password() -> None:
    user = await User.objects.aget(username="alice")
    user.set_password("another long password")
    await user.asave()


@pytest.mark.parametrize("happens", [log_out, lock_out, change_password])
async def test_a_log_in_that_ends_closes_its_sockets(
    connect: Any, cookie: str, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Awaitable[None]]
) -> None:
    assert sockets.RECHECK_SECONDS <= 4.5, "within five seconds, the check itself included"
    monkeypatch.setattr(sockets, "RECHECK_SECONDS", 0.05)
    socket, other = await connect(cookie), await connect(await sync_to_async(_log_in)("bob"))

    await happens()
    if happens is log_out:
        assert await other.closed_with() == LOGGED_OUT
    else:
        await other.say(op="watch", env="sandbox", books=["A"])
        await other.hear("beat")

    assert await socket.closed_with() == LOGGED_OUT


async def test_a_browser_that_is_given_up_is_closed_with_its_own_code(connect: Any, cookie: str) -> None:
    socket = await connect(cookie)
    await socket.say(op="watch", env="sandbox", books=["A"])
    await socket.hear("beat")
    [browser] = get_hub().audience.browsers
    assert isinstance(browser, Browser)

    browser.give_up()

    assert await socket.closed_with() == TOO_SLOW


async def test_the_hub_of_a_process_is_one(connect: Any, cookie: str) -> None:
    await asyncio.gather(connect(cookie), connect(cookie))

    assert len(get_hub().audience.browsers) == 2


async def test_a_pages_word_goes_to_no_thread(
    cookie: str, connect: Callable[..., Awaitable[Socket]], monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = await connect(cookie)
    with monkeypatch.context() as patched:
        patched.setattr("channels.consumer.aclose_old_connections", _never)
        await socket.say(op="watch", env="nowhere", books=["A"])
        assert (await socket.hear("error"))["code"] == "UNKNOWN_ENVIRONMENT"


async def _never() -> None:
    raise AssertionError("a thread was asked for stale connections of the database")


async def test_daphne_colours_no_log_lines_of_frames() -> None:
    protocol = import_module("autobahn.websocket.protocol")
    get_hub()
    await stop_hub()

    assert protocol.hlval(7) == 7


async def test_a_socket_that_breaks_is_counted_no_longer(cookie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_(self: Any, text: str) -> None:
        raise OSError("the database is away")

    socket = make(cookie)
    assert (await socket.connect(timeout=5))[0]
    assert sum(sockets.LiveSocket._open_by_user.values()) == 1
    monkeypatch.setattr(BookConsumer, "heard", break_)

    await socket.send_to("{}")
    with pytest.raises(OSError):
        await socket.wait(timeout=5)

    assert sum(sockets.LiveSocket._open_by_user.values()) == 0
    assert sockets.doorkeeper().sockets == set()
    assert get_hub().audience.wish("sandbox") == ([], [])
    await stop_hub()
