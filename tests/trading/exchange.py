"""A tiny exchange that does what a test tells it, bad manners included: drops, half answers, wrong answers.

It keeps orders and fills as the real one lists them and records every request: the judge of what left the desk.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

PREFIX = "/trade-api/v2"
Answer = Literal["drop", "truncate"] | tuple[int, Any]


@dataclass(frozen=True)
class Turn:
    """What happens with one request: whether it takes effect, and what is answered (None: what is true)."""

    accept: bool = True
    answer: Answer | None = None
    fill: str = "0.00"  # contracts that trade at once
    rest: bool = True  # whether what does not trade stays in the book


class ScriptedExchange:
    """One account at one exchange. Use as a context manager."""

    def __init__(self) -> None:
        self.creates: deque[Turn] = deque()
        self.cancels: deque[Turn] = deque()
        self.reads: deque[tuple[str, Answer]] = deque()  # (part of a path, what is answered once instead)
        self.orders: dict[str, dict[str, Any]] = {}
        self.fills: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.is_trading = True
        self.on_create: Callable[[dict[str, Any]], object] = lambda body: None  # before the answer is made
        self.book: dict[str, list[list[str]]] = {
            "yes_dollars": [["0.4700", "100.00"]],
            "no_dollars": [["0.5100", "50.00"]],
        }
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    def __enter__(self) -> ScriptedExchange:
        """Listen."""
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def rest_url(self) -> str:
        """Address of the API."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{PREFIX}"

    @property
    def ws_url(self) -> str:
        """Address of a socket; nobody listens for one."""
        return f"ws://127.0.0.1:{self._server.server_address[1]}/trade-api/ws/v2"

    @property
    def sent(self) -> list[dict[str, Any]]:
        """Bodies of the create requests that arrived."""
        return [body for method, path, body in self.requests if method == "POST" and path == "/portfolio/events/orders"]

    @property
    def cancels_sent(self) -> int:
        """How many cancels arrived."""
        return sum(method == "DELETE" for method, _, _ in self.requests)

    def place(self, body: dict[str, Any], turn: Turn | None = None) -> dict[str, Any]:
        """Put an order into the lists, as a create or somebody at the exchange's own page does."""
        turn = turn or Turn()
        order_id = str(uuid.uuid4())
        no_price = f"{1 - float(body['price']):.4f}"
        is_bid = body["side"] == "bid"
        self.orders[order_id] = {
            "order_id": order_id,
            "client_order_id": body.get("client_order_id", ""),
            "ticker": body["ticker"],
            "status": "resting",
            "book_side": body["side"],
            "outcome_side": "yes" if is_bid else "no",
            "yes_price_dollars": body["price"],
            "no_price_dollars": no_price,
            "fill_count_fp": "0.00",
            "remaining_count_fp": body["count"],
            "initial_count_fp": body["count"],
            "taker_fill_cost_dollars": "0.000000",
            "maker_fill_cost_dollars": "0.000000",
            "taker_fees_dollars": "0.000000",
            "maker_fees_dollars": "0.000000",
            "created_time": "2026-11-22T14:00:00.5Z",
        }
        if float(turn.fill):
            self.fill(order_id, turn.fill, is_taker=True)
        if not turn.rest:
            self.end(order_id)
        return self.orders[order_id]

    def fill(self, order_id: str, count: str, *, fee: str = "0.010000", is_taker: bool = False) -> dict[str, Any]:
        """Trade some of an order at its own price."""
        order = self.orders[order_id]
        filled = float(order["fill_count_fp"]) + float(count)
        left = float(order["initial_count_fp"]) - filled
        own = order["yes_price_dollars"] if order["book_side"] == "bid" else order["no_price_dollars"]
        order["fill_count_fp"], order["remaining_count_fp"] = f"{filled:.2f}", f"{left:.2f}"
        order["maker_fill_cost_dollars"] = f"{filled * float(own):.6f}"
        order["maker_fees_dollars"] = f"{float(order['maker_fees_dollars']) + float(fee):.6f}"
        if left == 0:
            order["status"] = "executed"
        fill = {
            "fill_id": str(uuid.uuid4()),
            "order_id": order_id,
            "ticker": order["ticker"],
            "market_ticker": order["ticker"],
            "book_side": order["book_side"],
            "outcome_side": order["outcome_side"],
            "count_fp": f"{float(count):.2f}",
            "yes_price_dollars": order["yes_price_dollars"],
            "no_price_dollars": order["no_price_dollars"],
            "is_taker": is_taker,
            "fee_cost": fee,
            "created_time": f"2026-11-22T14:00:{len(self.fills) % 60:02d}Z",
        }
        fill["trade_id"] = fill["fill_id"]
        self.fills.append(fill)
        return fill

    def end(self, order_id: str) -> None:
        """Cancel what rests of an order."""
        self.orders[order_id]["status"] = "canceled"
        self.orders[order_id]["remaining_count_fp"] = "0.00"

    # --- answers -----------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        """Return what one request gets."""
        with self.lock:
            self.requests.append((method, path, body))
            if method == "POST":
                return self._create(body)
            if method == "DELETE":
                return self._cancel(path.rsplit("/", 1)[1])
            if self.reads and self.reads[0][0] in path:
                return self.reads.popleft()[1]
            return self._read(path, query)

    def _create(self, body: dict[str, Any]) -> Answer:
        turn = self.creates.popleft() if self.creates else Turn()
        if not turn.accept:
            self.on_create(body)
            return turn.answer or (400, {"error": {"code": "invalid_order", "message": "no"}})
        if any(order["client_order_id"] == body["client_order_id"] for order in self.orders.values()):
            return 409, {"error": {"code": "order_already_exists", "message": "order already exists"}}
        order = self.place(body, turn)
        ack: dict[str, Any] = {
            "order_id": order["order_id"],
            "client_order_id": order["client_order_id"],
            "fill_count": order["fill_count_fp"],
            "remaining_count": order["remaining_count_fp"],
            "ts_ms": 1_795_356_000_000,
        }
        if float(turn.fill):
            ack |= {"average_fill_price": order["yes_price_dollars"], "average_fee_paid": "0.0020"}
        return turn.answer or (201, ack)

    def _cancel(self, order_id: str) -> Answer:
        turn = self.cancels.popleft() if self.cancels else Turn()
        order = self.orders.get(order_id)
        if order is None or order["status"] != "resting":
            return 404, {"error": {"code": "not_found", "message": "not found"}}
        reduced = order["remaining_count_fp"]
        if turn.accept:
            self.end(order_id)
        return turn.answer or (200, {"order_id": order_id, "reduced_by": reduced, "ts_ms": 1_795_356_060_456})

    def _read(self, path: str, query: dict[str, str]) -> Answer:
        if path == "/exchange/status":
            return 200, {"exchange_active": True, "trading_active": self.is_trading}
        if path == "/portfolio/orders":
            wanted = query.get("status")
            listed = [order for order in self.orders.values() if wanted in (None, order["status"])]
            return 200, {"orders": listed, "cursor": ""}
        if path == "/portfolio/fills":
            return 200, {"fills": self.fills, "cursor": ""}
        if path.startswith("/portfolio/orders/"):
            order = self.orders.get(path.rsplit("/", 1)[1])
            return (200, {"order": order}) if order else (404, {"error": {"code": "not_found", "message": "not found"}})
        if path.endswith("/orderbook"):
            return 200, {"orderbook_fp": self.book}
        return 404, {"error": {"code": "not_found", "message": path}}


def _handler(exchange: ScriptedExchange) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or the body, a second write, waits 40 ms for the head's receipt

        def do_GET(self) -> None:
            self._serve("GET")

        def do_POST(self) -> None:
            self._serve("POST")

        def do_DELETE(self) -> None:
            self._serve("DELETE")

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

        def _serve(self, method: str) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            where = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(where.query).items()}
            self._give(exchange.answer(method, where.path.removeprefix(PREFIX), query, body))

        def _give(self, answer: Answer) -> None:
            if answer == "drop":
                self.close_connection = True
                return
            if answer == "truncate":
                self._write(200, b'{"order_id": "3b2', promised=500)
                self.close_connection = True
                return
            status, said = answer
            self._write(status, said if isinstance(said, bytes) else json.dumps(said).encode())

        def _write(self, status: int, body: bytes, *, promised: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(promised or len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
