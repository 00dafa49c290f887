"""What a hub has around it: the layer, browsers and a clock, in memory, and what the relay says."""

from __future__ import annotations

import json
from typing import Any

from markets.audience import Browser
from markets.events import encode
from markets.hub import Hub
from markets.outbox import Outbox


class Said:
    """The layer as the hub sees it: what it was told to carry, in memory."""

    channel = "hub!1"
    is_up = True

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.is_working = True

    async def send_group(self, group: str, message: dict[str, Any]) -> bool:
        assert group == "relay.sandbox"
        if self.is_working:
            self.messages.append(message)
        return self.is_working

    def take(self, kind: str) -> list[dict[str, Any]]:
        found = [message for message in self.messages if message["type"] == kind]
        self.messages = [message for message in self.messages if message["type"] != kind]
        return found


class Viewer(Browser):
    """A browser that keeps what it is sent and acknowledges all of it, unless it is stuck."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(Outbox(self._take), self._give_up)
        self.hub = hub
        self.texts: list[str] = []
        self.is_stuck = False
        self.is_given_up = False
        hub.join(self)

    async def _take(self, text: str) -> None:
        self.texts.append(text)
        if not self.is_stuck:
            self.outbox.ack(self.outbox.sent)

    def _give_up(self) -> None:
        self.is_given_up = True

    def frames(self, *kinds: str) -> list[dict[str, Any]]:
        """Return what came since the last call; all kinds but beats unless they are named."""
        found = [frame for text in self.texts for frame in json.loads(text)]
        self.texts = []
        return [frame for frame in found if (frame["t"] in kinds if kinds else frame["t"] != "beat")]


class Time:
    """The hub's clock."""

    def __init__(self) -> None:
        self.now = 100_000

    def __call__(self) -> int:
        return self.now


def frame(kind: str, number: int, *, epoch: str = "e1", market: str = "A", more: str = "") -> tuple[str, str, int, str]:
    encoded = encode({"t": "book" if kind == "snap" else kind, "env": "sandbox", "m": market, "n": number, "x": more})
    return kind, market, number, encoded


def tick(
    *frames: Any,
    epoch: str = "e1",
    fence: int = 1,
    feed: str | None = None,
    numbers: dict[str, int] | None = None,
) -> dict[str, Any]:
    """Return what a relay sends for one tick; `feed` adds a beat."""
    beat = {
        "t": "beat",
        "env": "sandbox",
        "e": epoch,
        "at": 5,
        "feed": feed,
        "why": "",
        "age": 3,
        "heard": 4,
        "hub_ms": 0,
    }
    return {
        "type": "hub.frames",
        "env": "sandbox",
        "e": epoch,
        "fence": fence,
        "frames": frames,
        "beat": beat if feed else None,
        "numbers": numbers,
    }


def watching(hub: Hub, *markets: str) -> Viewer:
    viewer = Viewer(hub)
    hub.watch(viewer, "sandbox", markets or ("A",), ())
    viewer.frames()
    return viewer


def kinds(viewer: Viewer) -> list[tuple[str, int]]:
    return [(frame["t"], frame["n"]) for frame in viewer.frames()]
