"""The operator's side, for loopback alone: the record, faults, the clock, markets, pauses, true books, recordings.

Nothing of this exists on the real exchange; it stands apart from the trade API under /__sandbox__/.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from markets.sandbox.faults import UnknownFault
from markets.sandbox.frames import micros_text
from markets.sandbox.intents import read_count, read_price
from markets.sandbox.numbers import SECOND, count_text, price_text
from markets.sandbox.refusals import Refusal
from markets.sandbox.replay import Player
from markets.sandbox.venue import Venue
from markets.sandbox.web import Answer, Request, answer, text

BASE = "/__sandbox__/"
LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
LINES = "application/x-ndjson"


class Control:
    """Answers the operator of one venue."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self.players: list[Player] = []
        self.on_clock: Callable[[], None] = lambda: None
        self._routes: dict[str, Callable[[Request, list[str]], Answer]] = {
            "truth": self._truth,
            "faults": self._faults,
            "clock": self._clock,
            "markets": self._markets,
            "trading": self._trading,
            "exchange": self._exchange,
            "books": self._books,
            "tape": self._tape,
            "members": self._members,
        }

    def answer(self, request: Request) -> Answer:
        """Answer one request; what comes from elsewhere than this machine learns nothing."""
        if request.client not in LOOPBACK:
            return text("404 page not found\n", 404)
        name, *rest = request.path.removeprefix(BASE).split("/")
        route = self._routes.get(name)
        if route is None:
            return text("404 page not found\n", 404)
        try:
            return route(request, rest)
        except Refusal as refusal:
            return answer({"error": refusal.message or refusal.code}, refusal.status)
        except (UnknownFault, ValueError, KeyError, TypeError) as exc:
            return answer({"error": str(exc)}, 400)

    # --- what happened -------------------------------------------------------------------------------

    def _truth(self, request: Request, rest: list[str]) -> Answer:
        since = int(request.value("since") or 0)
        return Answer(200, self._venue.truth.since(since), LINES)

    def _books(self, request: Request, rest: list[str]) -> Answer:
        ticker = "/".join(rest)
        self._venue.exchange.market(ticker)
        view = self._venue.view(ticker)
        bids, asks, clock = ({}, {}, 0) if view is None else (view.bids, view.asks, view.clock)
        return answer(
            {
                "ticker": ticker,
                "clock": clock,
                "bids": [[price_text(price), count_text(size)] for price, size in sorted(bids.items(), reverse=True)],
                "asks": [[price_text(price), count_text(size)] for price, size in sorted(asks.items())],
            }
        )

    def _tape(self, request: Request, rest: list[str]) -> Answer:
        """Show where the recordings are; POST `speed` lets them go on slower or faster from here."""
        if request.method == "POST":
            wanted = float(_body(request)["speed"])
            if not 0 < wanted < float("inf"):
                raise ValueError("a speed is above nought")
            for player in self.players:
                player.speed = wanted
        tapes = [
            {
                "file": player.tape.path.name,
                "done": player.is_done,
                "line": player.line,
                "lines": player.tape.lines,
                "speed": player.speed,
                "tickers": list(player.books),
            }
            for player in self.players
        ]
        done = bool(tapes) and all(tape["done"] for tape in tapes)
        line = max((player.line for player in self.players), default=0)
        speed = self.players[0].speed if self.players else None
        return answer({"done": done, "line": line, "speed": speed, "tapes": tapes})

    # --- faults and time -----------------------------------------------------------------------------

    def _faults(self, request: Request, rest: list[str]) -> Answer:
        faults = self._venue.faults
        if request.method == "POST":
            body = _body(request)
            count = body.get("count")
            if not isinstance(count, int | None):
                raise ValueError("count is a whole number, or null for ever")
            made = faults.add(body["fault"], body.get("match") or {}, body.get("params") or {}, count)
            return answer(made.describe(), 201)
        if request.method == "DELETE":
            given = (rest[0] if rest else "") or request.value("id")
            return answer({"removed": faults.remove(int(given) if given else None)})
        return answer({"faults": [fault.describe() for fault in faults.active], "known": faults.known()})

    def _clock(self, request: Request, rest: list[str]) -> Answer:
        """Show the clock; POST `advance_seconds`, `hold` or `release` moves it."""
        clock = self._venue.clock
        if request.method == "POST":
            body = _body(request)
            if body.get("hold"):
                clock.held_us = clock.now_us()
            if body.get("release") and clock.held_us is not None:
                clock.release()
            if "advance_seconds" in body:
                clock.advance(round(float(body["advance_seconds"]) * SECOND))
            self.on_clock()
        now = clock.now_us()
        return answer({"now_ms": now // 1000, "now": micros_text(now), "held": clock.held_us is not None})

    # --- markets -------------------------------------------------------------------------------------

    def _markets(self, request: Request, rest: list[str]) -> Answer:
        ticker, verb = rest[0], rest[1] if len(rest) > 1 else ""
        exchange = self._venue.exchange
        market = exchange.market(ticker)
        body = _body(request)
        now = self._venue.now_us()
        if verb == "pause":
            exchange.pause_market(ticker)
        elif verb == "activate":
            exchange.resume_market(ticker)
        elif verb == "close":
            exchange.move_close(ticker, now + round(float(body.get("in_seconds", 0)) * SECOND))
        elif verb == "reopen":
            exchange.move_close(ticker, now + round(float(body.get("seconds", 3600)) * SECOND))
        elif verb == "determine":
            self._determine(ticker, body)
        elif verb == "settle":
            if not market.result:
                self._determine(ticker, body)
            if market.settled_us is None:
                exchange.settle(ticker)
        elif verb == "grid":
            exchange.set_grid(ticker, str(body["structure"]))
        elif verb == "take":
            return self._take(ticker, body)
        else:
            return text("404 page not found\n", 404)
        self.on_clock()
        return answer({"ticker": ticker, "status": str(market.status)})

    def _determine(self, ticker: str, body: dict[str, Any]) -> None:
        value = read_price(str(body["value"])) if "value" in body else None
        self._venue.exchange.determine(ticker, str(body.get("result", "yes")), value)

    def _take(self, ticker: str, body: dict[str, Any]) -> Answer:
        filled = self._venue.take(
            ticker,
            is_bid=body["side"] == "bid",
            price=read_price(str(body["price"])),
            count=read_count(str(body["count"])),
        )
        return answer({"ticker": ticker, "filled": count_text(filled)})

    def _trading(self, request: Request, rest: list[str]) -> Answer:
        exchange, index = self._venue.exchange, self._pause(request)
        _either(rest, {"pause": exchange.pause_trading, "resume": exchange.resume_trading})(index)
        return answer({"trading_active": exchange.is_trading_active()})

    def _exchange(self, request: Request, rest: list[str]) -> Answer:
        """Pause or resume everything; POST `maintenance` announces `windows`, pairs of Unix seconds."""
        if rest == ["maintenance"]:
            windows = _body(request)["windows"]
            self._venue.maintenance = [(int(start) * SECOND, int(end) * SECOND) for start, end in windows]
            return answer({"windows": len(windows)})
        exchange, index = self._venue.exchange, self._pause(request)
        _either(rest, {"pause": exchange.pause_exchange, "resume": exchange.resume_exchange})(index)
        return answer({"exchange_active": exchange.is_exchange_active()})

    def _pause(self, request: Request) -> Any:
        """Note when a pause is thought to end (`resumes_in_seconds`) and return the shard that is meant, or None."""
        body = _body(request)
        after = body.get("resumes_in_seconds")
        self._venue.resumes_us = None if after is None else self._venue.now_us() + round(float(after) * SECOND)
        return body.get("exchange_index")

    def _members(self, request: Request, rest: list[str]) -> Answer:
        rows = [
            {
                "member": member.name,
                "member_id": member.member_id,
                "tier": self._venue.allowance(member.member_id).tier.name,
            }
            for member in self._venue.exchange.members.values()
            if not member.is_quiet
        ]
        return answer({"members": rows})


def _either(rest: list[str], verbs: dict[str, Callable[[Any], None]]) -> Callable[[Any], None]:
    if not rest or rest[0] not in verbs:
        raise ValueError(f"one of {', '.join(verbs)} is wanted")
    return verbs[rest[0]]


def _body(request: Request) -> dict[str, Any]:
    if not request.body:
        return {}
    try:
        found = msgspec.json.decode(request.body)
    except msgspec.DecodeError as exc:
        raise ValueError("the body is no JSON") from exc
    if not isinstance(found, dict):
        raise ValueError("the body is no JSON object")
    return found
