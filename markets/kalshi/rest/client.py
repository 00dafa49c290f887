"""The REST API as methods: reads return messages and are repeated where that is safe, writes are sent once.

What a write's failure means is decided here and follows the exchange's page on order errors: a refusal is final, and
whatever leaves open whether it happened (a timeout, a drop, 408, 5xx, a 2xx that names no order) raises OutcomeUnknown.
Source: Kalshi trade API v2, OpenAPI 3.34.0.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from markets.kalshi import errors, messages
from markets.kalshi.clock import wall_ms
from markets.kalshi.errors import BadMessage, OutcomeUnknown, RateLimited, RefusedByUs, Unavailable
from markets.kalshi.limits import CANCEL_COST, DEFAULT_COST, ORDER_READ_COST, Budget, LocalBudget, TokenBucket, backoff
from markets.kalshi.messages import CreateOrder, Page, read_body
from markets.kalshi.prices import NotRepresentable, WireSide, wire_count, wire_price
from markets.kalshi.rest.transport import Answer, Lost, NeverLeft, Transport
from markets.kalshi.signing import Signer

T = TypeVar("T")
Query = Sequence[tuple[str, str | int | None]]

TIMEOUT_SECONDS = (3.0, 10.0)  # to connect, between two pieces of an answer
READ_ATTEMPTS = 3
RETRY_BASE_SECONDS = 0.25
RETRY_MOST_SECONDS = 5.0
RETRIED_STATUSES = frozenset({408, 500, 502, 503, 504})
BALANCE_RATE = 1.0  # the lowest tier's own bucket of one call
BOOKS_MOST = 100
TICKERS_MOST = 1_000


def _nothing() -> None:
    """Ask for nothing."""


class RestClient:
    """One exchange over REST, with a key or without. Use as a context manager; safe to use from several threads."""

    def __init__(
        self,
        base_url: str,
        *,
        signer: Signer | None = None,
        budget: Budget | None = None,
        hosts: Collection[str] | None = None,
        timeout: tuple[float, float] = TIMEOUT_SECONDS,
        now_ms: Callable[[], int] = wall_ms,
        read_attempts: int = READ_ATTEMPTS,
        pause: Callable[[float], object] = time.sleep,
        rng: random.Random | None = None,
    ) -> None:
        """Raises RefusedByUs for an address that signed requests may not go to."""
        self._transport = Transport(base_url, signer=signer, hosts=hosts, timeout=timeout, now_ms=now_ms)
        self._budget = LocalBudget() if budget is None else budget
        self._balance_bucket = TokenBucket(BALANCE_RATE, 1.0)
        self._read_attempts = max(1, read_attempts)
        self._pause = pause
        self._rng = rng or random.Random()  # noqa: S311 - it only spreads retries

    def __enter__(self) -> RestClient:
        """Begin to use it."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Let go of the connections."""
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._transport.close()

    @property
    def skew_ms(self) -> int:
        """The exchange's clock minus ours, as of the last answer; 0 before the first."""
        return self._transport.clock.skew_ms

    @property
    def clock_age_seconds(self) -> float:
        """Seconds since an answer last told the exchange's clock; infinite before the first."""
        return time.monotonic() - self._transport.clock.told_at

    def seconds_there(self, moment: datetime) -> int:
        """Return a moment of ours for `min_ts`: earlier where the exchange's clock, as it last told, is behind."""
        return int((moment + timedelta(milliseconds=min(0, self.skew_ms))).timestamp())

    # --- what the exchange lists -----------------------------------------------------------------

    def exchange_status(self) -> messages.ExchangeStatus:
        """Return whether the exchange works and trades."""
        return self._read("/exchange/status", messages.ExchangeStatus)

    def series(self, *, min_updated_ts: int | None = None) -> tuple[messages.SeriesBody, ...]:
        """Return all series; `min_updated_ts` in Unix seconds."""
        return self._read("/series", messages.SeriesList, [("min_updated_ts", min_updated_ts)]).series

    def events(
        self, cursor: str = "", *, limit: int = 200, status: str | None = None, min_updated_ts: int | None = None
    ) -> Page[messages.EventBody]:
        """Return a page of events; at most 200."""
        query: Query = [("cursor", cursor), ("limit", limit), ("status", status), ("min_updated_ts", min_updated_ts)]
        page = self._read("/events", messages.EventsPage, query)
        return Page(page.events, page.cursor)

    def markets(
        self,
        cursor: str = "",
        *,
        limit: int = 1_000,
        status: str | None = None,
        tickers: Sequence[str] = (),
        min_updated_ts: int | None = None,
        mve_filter: Literal["exclude", "only"] | None = None,
    ) -> Page[messages.MarketBody]:
        """Return a page of markets; at most 1,000. `status` is a filter's word (`open`), not a market's (`active`)."""
        query: Query = [
            ("cursor", cursor),
            ("limit", limit),
            ("status", status),
            ("tickers", ",".join(tickers)),
            ("min_updated_ts", min_updated_ts),
            ("mve_filter", mve_filter),
        ]
        page = self._read("/markets", messages.MarketsPage, query)
        return Page(page.markets, page.cursor)

    def market(self, ticker: str) -> messages.MarketBody:
        """Return one market. Raises Rejected (404) where there is none."""
        return self._read(f"/markets/{_segment(ticker)}", messages.MarketAnswer).market

    def orderbook(self, ticker: str, *, depth: int = 0) -> messages.OrderBookBody:
        """Return a book, the `depth` best levels of each side (0: all)."""
        path = f"/markets/{_segment(ticker)}/orderbook"
        answer = self._read(path, messages.OrderBookAnswer, [("depth", depth)])
        return _book(ticker, answer.sides)

    def orderbooks(self, tickers: Sequence[str]) -> tuple[messages.OrderBookBody, ...]:
        """Return the books of at most 100 markets."""
        if not 0 < len(tickers) <= BOOKS_MOST:
            raise ValueError(f"1 to {BOOKS_MOST} books a call")
        query: Query = [("tickers", ticker) for ticker in tickers]
        answer = self._read("/markets/orderbooks", messages.OrderBooksAnswer, query)
        return tuple(_book(book.ticker, book.sides) for book in answer.orderbooks)

    def trades(self, ticker: str, cursor: str = "", *, limit: int = 100) -> Page[messages.TradeBody]:
        """Return a page of a market's trades, newest first."""
        query: Query = [("ticker", ticker), ("cursor", cursor), ("limit", limit)]
        page = self._read("/markets/trades", messages.TradesPage, query)
        return Page(page.trades, page.cursor)

    # --- what belongs to the account -------------------------------------------------------------

    def balance(self) -> messages.Balance:
        """Return the account's money. Has a bucket of its own at the exchange: once a second. Raises RateLimited."""
        if wait := self._balance_bucket.take(1.0):
            raise RateLimited("the balance is asked for once a second", retry_after_seconds=wait)
        return self._read("/portfolio/balance", messages.Balance, tokens=0)

    def positions(
        self, cursor: str = "", *, ticker: str | None = None, limit: int = 1_000, only_open: bool = True
    ) -> Page[messages.Position]:
        """Return a page of positions of the primary sub-account."""
        count_filter = "position" if only_open else None
        query: Query = [("cursor", cursor), ("ticker", ticker), ("limit", limit), ("count_filter", count_filter)]
        page = self._read("/portfolio/positions", messages.PositionsPage, query)
        return Page(page.market_positions, page.cursor)

    def fills(
        self,
        *,
        ticker: str | None = None,
        order_id: str | None = None,
        min_ts: int | None = None,
        cursor: str = "",
        limit: int = 1_000,
    ) -> Page[messages.FillBody]:
        """Return a page of fills, of all sub-accounts; `min_ts` in Unix seconds."""
        query: Query = [
            ("ticker", ticker),
            ("order_id", order_id),
            ("min_ts", min_ts),
            ("cursor", cursor),
            ("limit", limit),
        ]
        page = self._read("/portfolio/fills", messages.FillsPage, query)
        return Page(page.fills, page.cursor)

    def orders(
        self,
        *,
        ticker: str | None = None,
        status: str | None = None,
        min_ts: int | None = None,
        cursor: str = "",
        limit: int = 1_000,
    ) -> Page[messages.OrderBody]:
        """Return a page of orders, of all sub-accounts; finished ones of the last two weeks only."""
        query: Query = [
            ("ticker", ticker),
            ("status", status),
            ("min_ts", min_ts),
            ("cursor", cursor),
            ("limit", limit),
        ]
        page = self._read("/portfolio/orders", messages.OrdersPage, query)
        return Page(page.orders, page.cursor)

    def order(self, order_id: str, *, ticker: str | None = None) -> messages.OrderBody:
        """Return one order; may lag a write by half a second. The ticker finds it on shards other than 0."""
        path = f"/portfolio/orders/{_segment(order_id)}"
        query: Query = [("market_ticker", ticker)]
        return self._read(path, messages.OrderAnswer, query, tokens=ORDER_READ_COST).order

    def api_keys(self) -> tuple[messages.ApiKeyBody, ...]:
        """Return the account's keys."""
        return self._read("/api_keys", messages.ApiKeysAnswer).api_keys

    def account_limits(self) -> messages.AccountLimits:
        """Return how fast the account may go."""
        return self._read("/account/limits", messages.AccountLimits)

    # --- writes: sent once -----------------------------------------------------------------------

    def create_order(self, order: CreateOrder, *, before_signing: Callable[[], object] = _nothing) -> messages.OrderAck:
        """Send an order. Raises Rejected, RateLimited, Unavailable (it never left) or OutcomeUnknown.

        `before_signing` is called when the tokens are there and may raise: then nothing leaves.
        """
        self._budget.acquire("write", DEFAULT_COST)
        before_signing()
        ack = self._write("POST", "/portfolio/events/orders", messages.OrderAck, body=order.body(), tokens=0)
        if ack.client_order_id not in (None, "", order.client_order_id):
            raise OutcomeUnknown("the exchange acknowledged another order than the one sent")
        return ack

    def cancel_order(self, order_id: str, *, ticker: str) -> messages.CancelAck:
        """Cancel what still rests. A 404 says only that nothing rests: it may be canceled, filled or unknown."""
        path = f"/portfolio/events/orders/{_segment(order_id)}"
        params = [("market_ticker", ticker)]
        return self._write("DELETE", path, messages.CancelAck, params=params, tokens=CANCEL_COST)

    def amend_order(
        self,
        order_id: str,
        *,
        ticker: str,
        side: WireSide,
        price: Decimal,
        count: Decimal,
        client_order_id: str | None = None,
        updated_client_order_id: str | None = None,
    ) -> messages.AmendAck:
        """Change price or size; `count` is what was filled already plus what shall rest."""
        wanted = {"ticker": ticker, "side": side, "price": wire_price(price), "count": wire_count(count)}
        ids = {"client_order_id": client_order_id, "updated_client_order_id": updated_client_order_id}
        body = wanted | {name: value for name, value in ids.items() if value is not None}
        return self._write("POST", f"/portfolio/events/orders/{_segment(order_id)}/amend", messages.AmendAck, body=body)

    def decrease_order(self, order_id: str, *, ticker: str, reduce_to: Decimal) -> messages.DecreaseAck:
        """Leave `reduce_to` contracts resting; the place in the queue is kept."""
        body = {"reduce_to": "0.00" if reduce_to == 0 else wire_count(reduce_to), "market_ticker": ticker}
        path = f"/portfolio/events/orders/{_segment(order_id)}/decrease"
        return self._write("POST", path, messages.DecreaseAck, body=body)

    def cancel_all(self) -> None:
        """Cancel every resting order of the account, on all shards; may catch orders of the following minute."""
        self._write_empty("DELETE", "/portfolio/events/orders", tokens=CANCEL_COST)

    def generate_api_key(
        self, *, name: str, key_type: Literal["ed25519", "rsa"] = "ed25519", scopes: Iterable[str]
    ) -> messages.GeneratedKey:
        """Have the exchange make a key pair; its private key is in this answer and nowhere else."""
        body = {"name": name, "key_type": key_type, "scopes": list(scopes)}
        return self._write("POST", "/api_keys/generate", messages.GeneratedKey, body=body)

    def delete_api_key(self, api_key_id: str) -> None:
        """Delete a key."""
        self._write_empty("DELETE", f"/api_keys/{_segment(api_key_id)}")

    # --- how reads and writes differ -------------------------------------------------------------

    def _read(
        self,
        path: str,
        kind: type[T],
        query: Query = (),
        *,
        tokens: int = DEFAULT_COST,
    ) -> T:
        """Ask until there is an answer or the attempts are used up."""
        params = [(name, str(value)) for name, value in query if value not in (None, "")]
        attempt = 0
        while True:
            if tokens:
                self._budget.acquire("read", tokens)
            outcome = self._try_read(path, params)
            if isinstance(outcome, Answer):
                return read_body(kind, outcome.body)
            attempt += 1
            if attempt >= self._read_attempts or not isinstance(outcome, RateLimited | Unavailable):
                raise outcome
            self._pause(self._retry_wait(attempt, outcome))

    def _try_read(self, path: str, params: list[tuple[str, str]]) -> Answer | errors.KalshiError:
        """Ask once; return the answer, or the error that another attempt may spare the caller."""
        try:
            answer = self._transport.send("GET", path, params=params)
        except (NeverLeft, Lost) as exc:
            return Unavailable(str(exc))
        if answer.status == 200:
            return answer
        if answer.status in RETRIED_STATUSES or answer.status > 504:
            return Unavailable(f"the exchange answered with HTTP {answer.status}")
        if answer.status < 400:
            return RefusedByUs(f"The exchange answered with HTTP {answer.status}, which is not followed.")
        return errors.refusal(answer.status, answer.body, retry_after_seconds=answer.retry_after_seconds)

    def _retry_wait(self, attempt: int, failure: errors.KalshiError) -> float:
        wait = backoff(attempt, self._rng, base_seconds=RETRY_BASE_SECONDS, most_seconds=RETRY_MOST_SECONDS)
        asked = failure.retry_after_seconds if isinstance(failure, RateLimited) else None
        return wait if asked is None else asked + wait

    def _write(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        params: Sequence[tuple[str, str]] = (),
        body: dict[str, Any] | None = None,
        tokens: int = DEFAULT_COST,
    ) -> T:
        """Send once and read what the exchange acknowledges."""
        answer = self._send_once(method, path, params=params, body=body, tokens=tokens)
        try:
            return read_body(kind, answer.body)
        except BadMessage:
            pass
        raise OutcomeUnknown(f"the exchange answered with HTTP {answer.status} and nothing that can be read")

    def _write_empty(self, method: str, path: str, *, tokens: int = DEFAULT_COST) -> None:
        self._send_once(method, path, tokens=tokens)

    def _send_once(
        self,
        method: str,
        path: str,
        *,
        params: Sequence[tuple[str, str]] = (),
        body: dict[str, Any] | None = None,
        tokens: int,
    ) -> Answer:
        if tokens:
            self._budget.acquire("write", tokens)
        failure: errors.KalshiError
        try:
            answer = self._transport.send(method, path, params=params, body=body)
        except NeverLeft as exc:
            failure = Unavailable(str(exc))
        except Lost as exc:
            failure = OutcomeUnknown(str(exc))
        else:
            if 200 <= answer.status < 300:
                return answer
            failure = _refused_write(answer)
        raise failure


def _refused_write(answer: Answer) -> errors.KalshiError:
    """Return what a status other than 2xx says of a write."""
    if answer.status in errors.FINAL_STATUSES or answer.status == 429:
        return errors.refusal(answer.status, answer.body, retry_after_seconds=answer.retry_after_seconds)
    return OutcomeUnknown(f"the exchange answered with HTTP {answer.status}")


def _segment(text: str) -> str:
    """Return a ticker or an id as one segment of a path. Raises ValueError where it cannot be one."""
    if not text or text in (".", "..") or len(text) > 200:
        raise ValueError("not an id of the exchange")
    return quote(text, safe="")


def _book(ticker: str, sides: Any) -> messages.OrderBookBody:
    try:
        return messages.OrderBookBody.from_sides(ticker, sides)
    except NotRepresentable as exc:
        reason = f"order book: {exc}"
    raise BadMessage(reason, ticker=ticker)
