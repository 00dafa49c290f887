"""The commands of the WebSocket: subscribe, unsubscribe, update_subscription, list_subscriptions, and their errors.

Source: Kalshi trade API v2, AsyncAPI document of October 2026 and error table; where a reply is not documented
(an unknown ticker) the choice is one of the rules. What a connection may still do once its key is
gone is not documented either: it keeps what it subscribed to and gets nothing more (error 9).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec

from markets.sandbox import frames
from markets.sandbox.audience import Audience, WholeBook
from markets.sandbox.sessions import Session, Subscription

ERRORS = {
    1: "Unable to process message",
    2: "Params required",
    3: "Channels required",
    4: "Subscription IDs required",
    5: "Unknown command",
    7: "Unknown subscription ID",
    8: "Unknown channel name",
    9: "Authentication required",
    10: "Channel error",
    11: "Invalid parameter",
    12: "Exactly one subscription ID is required",
    13: "Unsupported action",
    14: "Market Ticker required",
    15: "Action required",
    18: "Command timeout",
    24: "Index IDs required",
    25: "Subscription buffer overflow",
    26: "Subscription market limit exceeded",
    27: "Too many requests",
    28: "Underlying tickers required",
}
NOBODYS_ID = "00000000-0000-0000-0000-000000000000"
MARKET_LIMIT = 500_000
COMMANDS_A_SECOND = 10_000

FILTERED = frozenset({"orderbook_delta", "ticker", "trade", "fill", "market_positions", "user_orders"})
UNFILTERED = frozenset(
    {"market_lifecycle_v2", "multivariate_market_lifecycle", "communications", "order_group_updates"}
)
INDEXED = {"cfbenchmarks_value": 24, "cfbenchmarks_value_5hz": 24, "pyth_value": 28}
CHANNELS = FILTERED | UNFILTERED | INDEXED.keys()


class Source(Protocol):
    """What commands need to know of the markets."""

    @property
    def unknown_ticker(self) -> Literal["error", "ack", "empty"]:
        """Say what a subscribe to a market that does not exist hears."""

    def is_listed(self, ticker: str) -> bool:
        """Say whether a market exists."""

    def view(self, ticker: str) -> WholeBook | None:
        """Return a market's book now; None while a recording has not yet said what it is."""

    def ticker_body(self, ticker: str) -> str:
        """Return a market's ticker message now."""

    def ticker_of_id(self, market_id: str) -> str | None:
        """Return the market of a market id."""

    def id_of_ticker(self, ticker: str) -> str:
        """Return the market id of a listed market."""


class CommandError(Exception):
    """A command that is answered with an error message."""

    def __init__(
        self, code: int, *, sid: int | None = None, tickers: list[str] | None = None, is_single: bool = False
    ) -> None:
        super().__init__(ERRORS[code])
        self.is_single = is_single  # the command named one market, not a list
        self.code = code
        self.sid = sid
        self.tickers = tickers


@dataclass(slots=True)
class Commands:
    """Answers the commands of one connection."""

    session: Session
    audience: Audience
    source: Source
    _recent: deque[int] = field(default_factory=lambda: deque(maxlen=COMMANDS_A_SECOND))

    def receive(self, text: str) -> None:
        """Obey one text frame, or answer it with the error of what is wrong."""
        command = 0
        try:
            message = _decode(text)
            command = message["id"] if isinstance(message.get("id"), int) else 0
            self._limit_rate()
            self._verb(message)(message, command)
        except CommandError as exc:
            self._refuse(exc, command)

    def _verb(self, message: dict[str, Any]) -> Callable[[dict[str, Any], int], None]:
        verbs = {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "update_subscription": self._update,
            "list_subscriptions": self._list,
        }
        found = verbs.get(str(message.get("cmd")))
        if found is None:
            raise CommandError(5)
        return found

    def _limit_rate(self) -> None:
        now = self.session.now_ms()
        if len(self._recent) == COMMANDS_A_SECOND and now - self._recent[0] < 1000:
            raise CommandError(27)
        self._recent.append(now)

    # --- subscribe ---------------------------------------------------------------------------------

    def _subscribe(self, message: dict[str, Any], command: int) -> None:
        params = _params(message)
        channels = params.get("channels")
        if not isinstance(channels, list) or not channels:
            raise CommandError(3)
        if any(not isinstance(channel, str) or channel not in CHANNELS for channel in channels):
            raise CommandError(8)
        if not self.session.is_signed():
            raise CommandError(9)
        for channel in channels:
            self._check_filter(channel, params)
        for channel in channels:
            self._open(channel, params, command)

    def _check_filter(self, channel: str, params: dict[str, Any]) -> None:
        named = self._named(params, channel) if channel in FILTERED else []
        if channel == "orderbook_delta" and not named:
            raise CommandError(14)
        if channel in INDEXED and not (params.get("index_ids") or params.get("underlying_tickers")):
            raise CommandError(INDEXED[channel])

    def _open(self, channel: str, params: dict[str, Any], command: int) -> None:
        named = self._named(params, channel) if channel in FILTERED else []
        known = [ticker for ticker in named if self.source.is_listed(ticker)]
        found = self.session.by_channel.get(channel)
        new = known if found is None else [ticker for ticker in known if not found.wants(ticker)]
        is_first = found is None
        if found is None:
            found = self.session.open_subscription(channel)
            found.use_yes_price = bool(params.get("use_yes_price"))
        found.is_ack_short |= bool(params.get("skip_ticker_ack"))
        if is_first:
            self._check_room(found, new)
            self.audience.join(found, new if named else None)
            self._say("subscribed", command, about=found, msg={"channel": channel, "sid": found.sid})
        else:
            self._check_room(found, new)
            if found.tickers is not None or named:
                self.audience.join(found, new if named else None)
            self._acknowledge(found, params, command)
        self._show(found, new, params)
        self._answer_unknown(found, [ticker for ticker in named if ticker not in known], params, command)

    def _check_room(self, subscription: Subscription, new: list[str]) -> None:
        if len(subscription.tickers or ()) + len(new) > MARKET_LIMIT:
            raise CommandError(26, sid=subscription.sid)

    def _show(self, subscription: Subscription, tickers: list[str], params: dict[str, Any]) -> None:
        if subscription.channel == "orderbook_delta":
            for ticker in tickers:
                self._snapshot(subscription, ticker)
        elif subscription.channel == "ticker" and params.get("send_initial_snapshot"):
            for ticker in tickers:
                subscription.send("ticker", self.source.ticker_body(ticker))
        if subscription.channel in {"orderbook_delta", "trade"}:
            for ticker in tickers:
                self.audience.watched(ticker)

    def _snapshot(self, subscription: Subscription, ticker: str, command: int = 0) -> None:
        view = self.source.view(ticker)
        if view is not None:
            body = view.body(use_yes_price=subscription.use_yes_price)
            subscription.send("orderbook_snapshot", body, command=command)

    # --- the other commands ------------------------------------------------------------------------

    def _unsubscribe(self, message: dict[str, Any], command: int) -> None:
        sids = _params(message).get("sids")
        if not isinstance(sids, list) or not sids:
            raise CommandError(4)
        for sid in sids:
            found = self.session.find(sid) if isinstance(sid, int) else None
            if found is None:
                self._refuse(CommandError(7), command)
                continue
            self.audience.leave(found)
            del self.session.by_channel[found.channel]
            self._say("unsubscribed", command, about=found, sid=found.sid, seq=found.next_seq())

    def _update(self, message: dict[str, Any], command: int) -> None:
        params = _params(message)
        found = self._one_subscription(params)
        action = params.get("action")
        if not action:
            raise CommandError(15, sid=found.sid)
        actions = {
            "add_markets": self._add,
            "delete_markets": self._delete,
            "get_snapshot": self._get_snapshots,
        }
        if not isinstance(action, str) or action not in actions:
            raise CommandError(13, sid=found.sid)
        named = self._named(params, found.channel)
        if not named:
            raise CommandError(14, sid=found.sid)
        actions[action](found, named, params, command)

    def _one_subscription(self, params: dict[str, Any]) -> Subscription:
        given = params.get("sids") or []
        sids = given if isinstance(given, list) else [given]
        if "sid" in params:
            sids = [*sids, params["sid"]]
        if len(sids) != 1 or not isinstance(sids[0], int):
            raise CommandError(12)
        found = self.session.find(sids[0])
        if found is None:
            raise CommandError(7)
        return found

    def _add(self, found: Subscription, named: list[str], params: dict[str, Any], command: int) -> None:
        known = [ticker for ticker in named if self.source.is_listed(ticker)]
        new = [ticker for ticker in known if not found.wants(ticker)]
        self._check_room(found, new)
        if found.tickers is not None:
            self.audience.join(found, new)
        self._acknowledge(found, params, command)
        self._show(found, new, params)
        self._answer_unknown(found, [ticker for ticker in named if ticker not in known], params, command)

    def _delete(self, found: Subscription, named: list[str], params: dict[str, Any], command: int) -> None:
        self.audience.leave(found, named)
        self._acknowledge(found, params, command)

    def _get_snapshots(self, found: Subscription, named: list[str], params: dict[str, Any], command: int) -> None:
        if found.channel != "orderbook_delta":
            raise CommandError(13, sid=found.sid)
        held = [ticker for ticker in named if found.wants(ticker)]
        for ticker in held:
            self._snapshot(found, ticker, command)
        self._name_unknown(found, [ticker for ticker in named if ticker not in held], params, command)

    def _list(self, message: dict[str, Any], command: int) -> None:
        held = sorted(self.session.by_channel.values(), key=lambda found: found.sid)
        self._say("ok", command, msg=[{"channel": found.channel, "sid": found.sid} for found in held])

    # --- replies -----------------------------------------------------------------------------------

    def _named(self, params: dict[str, Any], channel: str) -> list[str]:
        """Return the markets a command names, each once, in order; market ids are for the ticker channel only."""
        one, many = params.get("market_ticker"), params.get("market_tickers")
        if one and many:
            raise CommandError(11)
        named = [one] if one else many or []
        if not isinstance(named, list) or not all(isinstance(ticker, str) for ticker in named):
            raise CommandError(11)
        ids = _market_ids(params)
        if ids and channel != "ticker":
            raise CommandError(11) if not named else CommandError(14)
        found = [self.source.ticker_of_id(market_id) or market_id for market_id in ids]
        return list(dict.fromkeys([*named, *found]))

    def _acknowledge(self, found: Subscription, params: dict[str, Any], command: int) -> None:
        """Name every market of the subscription, by id too where the command did."""
        held = sorted(found.tickers or ())
        named = {} if found.is_ack_short or found.tickers is None else {"market_tickers": held}
        if named and ("market_id" in params or "market_ids" in params):
            named["market_ids"] = [self.source.id_of_ticker(ticker) for ticker in held]
        seq = found.next_seq() if found.counts else None
        self._say("ok", command, about=found, sid=found.sid, seq=seq, msg=named)

    def _answer_unknown(self, found: Subscription, tickers: list[str], params: dict[str, Any], command: int) -> None:
        """Answer for markets that do not exist, in the way that the rules have chosen."""
        if self.source.unknown_ticker == "error":
            self._name_unknown(found, tickers, params, command)
        elif self.source.unknown_ticker == "empty" and found.channel == "orderbook_delta":
            for ticker in tickers:
                empty = WholeBook(ticker, NOBODYS_ID, 0, {}, {})
                found.send("orderbook_snapshot", empty.body(use_yes_price=found.use_yes_price))

    def _name_unknown(self, found: Subscription, tickers: list[str], params: dict[str, Any], command: int) -> None:
        if tickers:
            is_single = "market_ticker" in params
            self._refuse(CommandError(11, sid=found.sid, tickers=tickers, is_single=is_single), command)

    def _refuse(self, refused: CommandError, command: int) -> None:
        msg: dict[str, Any] = {"code": refused.code, "msg": ERRORS[refused.code]}
        if refused.tickers and refused.is_single:
            msg["market_ticker"] = refused.tickers[0]
        elif refused.tickers:
            msg["market_tickers"] = refused.tickers
        found = self.session.find(refused.sid) if refused.sid is not None else None
        seq = found.next_seq() if found is not None and found.counts else None
        self._say("error", command, about=found, sid=refused.sid, seq=seq, msg=msg)

    def _say(self, kind: str, command: int, *, about: Subscription | None = None, **fields: Any) -> None:
        text = frames.reply(kind, self.session.now_ms(), command=command, **fields)
        self.session.push(about, kind, text)


def _decode(text: str) -> dict[str, Any]:
    try:
        message = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise CommandError(1) from exc
    if not isinstance(message, dict):
        raise CommandError(1)
    return message


def _market_ids(params: dict[str, Any]) -> list[str]:
    one, many = params.get("market_id"), params.get("market_ids")
    ids = [one] if one else many or []
    if (one and many) or not isinstance(ids, list) or not all(isinstance(market_id, str) for market_id in ids):
        raise CommandError(11)
    return ids


def _params(message: dict[str, Any]) -> dict[str, Any]:
    params = message.get("params")
    if not isinstance(params, dict) or not params:
        raise CommandError(2)
    return params
