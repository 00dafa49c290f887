"""Who listens to what: every live subscription of the exchange, found by channel and market.

Messages are encoded once for each distinct form and handed to each subscription, which puts its own sid and seq around.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from markets.sandbox import frames
from markets.sandbox.numbers import DOLLAR
from markets.sandbox.sessions import Session, Subscription


@dataclass(frozen=True, slots=True)
class WholeBook:
    """A whole book at one moment, both sides at YES prices; `clock` names the newest change in it."""

    ticker: str
    market_id: str
    clock: int
    bids: Mapping[int, int]
    asks: Mapping[int, int]
    keeps_no_order: bool = False  # of the NO side, also where it is shown in YES prices

    def body(self, *, use_yes_price: bool) -> str:
        """Return the message of a snapshot."""
        return frames.snapshot_body(
            self.ticker,
            self.market_id,
            clock=self.clock,
            bids=self.bids,
            asks=self.asks,
            use_yes_price=use_yes_price,
            keeps_no_order=self.keeps_no_order,
        )


@dataclass(frozen=True, slots=True)
class Change:
    """One level of one book changed, at its YES price; `owner` is the member whose order it was."""

    ticker: str
    market_id: str
    clock: int
    is_bid: bool
    price: int
    change: int
    ts_ms: int
    owner: str = ""
    client_order_id: str = ""
    subaccount: int = 0

    def body(self, *, use_yes_price: bool, is_own: bool = False) -> str:
        """Return the message in one of its forms."""
        return frames.delta_body(
            self.ticker,
            self.market_id,
            clock=self.clock,
            price=self.price if self.is_bid or use_yes_price else DOLLAR - self.price,
            change=self.change,
            is_bid=self.is_bid,
            ts_ms=self.ts_ms,
            own=self._mark() if is_own else "",
        )

    def _mark(self) -> str:
        named = f',"client_order_id":{frames.to_text(self.client_order_id)}' if self.client_order_id else ""
        return f'{named},"subaccount":{self.subaccount}'


def _is_own(session: Session, change: Change) -> bool:
    """Say whether a change may be marked as the member's own; the orders of sibling sub-accounts are withheld."""
    if not change.owner or session.member != change.owner:
        return False
    return session.subaccount in {None, change.subaccount}


@dataclass(slots=True)
class Audience:
    """All sessions, and an index of their subscriptions."""

    sessions: set[Session] = field(default_factory=set)
    by_market: dict[str, dict[str, set[Subscription]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(set))
    )
    everything: dict[str, set[Subscription]] = field(default_factory=lambda: defaultdict(set))
    on_watch: list[Callable[[str], None]] = field(default_factory=list)

    # --- who ---------------------------------------------------------------------------------------

    def join(self, subscription: Subscription, tickers: Iterable[str] | None) -> None:
        """Add markets to a subscription; None means all of them, and who hears all cannot hear more."""
        if tickers is None:
            self.leave(subscription)
            subscription.tickers = None
            self.everything[subscription.channel].add(subscription)
            return
        if subscription in self.everything[subscription.channel]:
            return
        wanted = subscription.tickers if subscription.tickers is not None else set()
        for ticker in tickers:
            wanted.add(ticker)
            self.by_market[subscription.channel][ticker].add(subscription)
        subscription.tickers = wanted

    def leave(self, subscription: Subscription, tickers: Iterable[str] | None = None) -> None:
        """Take markets, or everything, from a subscription."""
        gone = list(subscription.tickers or ()) if tickers is None else list(tickers)
        index = self.by_market[subscription.channel]
        for ticker in gone:
            listeners = index.get(ticker)
            if listeners is not None:
                listeners.discard(subscription)
                if not listeners:
                    del index[ticker]
            if subscription.tickers is not None:
                subscription.tickers.discard(ticker)
        if tickers is None:
            self.everything[subscription.channel].discard(subscription)

    def forget(self, session: Session) -> None:
        """Drop a connection that has ended."""
        session.is_closed = True
        for subscription in session.by_channel.values():
            self.leave(subscription)
        self.sessions.discard(session)

    def listeners(self, channel: str, ticker: str) -> Iterator[Subscription]:
        """Yield who hears a market's messages of a channel."""
        yield from tuple(self.by_market[channel].get(ticker, ()))
        yield from tuple(self.everything[channel])

    def has_listeners(self, channel: str, ticker: str) -> bool:
        """Say whether anybody hears a market's messages of a channel."""
        return ticker in self.by_market[channel] or bool(self.everything[channel])

    def watchers(self, ticker: str) -> set[Session]:
        """Return the connections that follow a market's book or trades."""
        found = self.by_market
        return {heard.session for name in ("orderbook_delta", "trade") for heard in found[name].get(ticker, ())}

    def watched(self, ticker: str) -> None:
        """Tell who waits for it that somebody follows a market's book."""
        for heard in self.on_watch:
            heard(ticker)

    # --- what --------------------------------------------------------------------------------------

    def book_changed(self, change: Change) -> None:
        """Send a change of a book, own orders marked for their owner alone."""
        encoded: dict[tuple[bool, bool], str] = {}
        for listener in tuple(self.by_market["orderbook_delta"].get(change.ticker, ())):
            form = (listener.use_yes_price, _is_own(listener.session, change))
            body = encoded.get(form)
            if body is None:
                body = encoded[form] = change.body(use_yes_price=form[0], is_own=form[1])
            listener.send("orderbook_delta", body)

    def book_replaced(self, view: WholeBook) -> None:
        """Send a whole book unasked, as the exchange does at the close."""
        encoded: dict[bool, str] = {}
        for listener in tuple(self.by_market["orderbook_delta"].get(view.ticker, ())):
            form = listener.use_yes_price
            if form not in encoded:
                encoded[form] = view.body(use_yes_price=form)
            listener.send("orderbook_snapshot", encoded[form])

    def tell(self, channel: str, kind: str, ticker: str, body: str) -> None:
        """Send a public message about a market."""
        for listener in self.listeners(channel, ticker):
            listener.send(kind, body)
