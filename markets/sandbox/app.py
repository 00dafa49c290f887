"""The ASGI application: REST, the stream and the operator's control on one port.

A request passes in this order: faults that act before anything is accepted, signature, scope, bucket, handler, faults
that act after. Source: Kalshi trade API v2; a public endpoint ignores whatever signature it is sent.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

from markets.sandbox import (
    errors,
    rest_catalogue,
    rest_empty,
    rest_exchange,
    rest_groups,
    rest_keys,
    rest_market,
    rest_orders,
    rest_portfolio,
)
from markets.sandbox.auth import ApiKey
from markets.sandbox.control import Control
from markets.sandbox.faults import Gone
from markets.sandbox.params import Query
from markets.sandbox.refusals import Refusal
from markets.sandbox.routes import Call, Route, Table
from markets.sandbox.stream import Stream
from markets.sandbox.venue import Venue
from markets.sandbox.web import PREFIX, Answer, Request
from markets.sandbox.wire import EXTENSION

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

ROUTES = [
    *rest_exchange.ROUTES,
    *rest_market.ROUTES,
    *rest_catalogue.ROUTES,
    *rest_orders.ROUTES,
    *rest_portfolio.ROUTES,
    *rest_groups.ROUTES,
    *rest_keys.ROUTES,
    *rest_empty.ROUTES,
]
CONTROL = "/__sandbox__"

_logger = logging.getLogger(__name__)


class Application:
    """What Daphne calls for each request and each socket."""

    def __init__(self, venue: Venue, control: Control) -> None:
        self.venue = venue
        self.control = control
        self.table = Table(ROUTES)
        self.stream = Stream(venue)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request or one socket."""
        if scope["type"] == "websocket":
            await self.stream.serve(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(await _read(scope, receive), scope, send)

    async def _serve(self, request: Request, scope: dict[str, Any], send: Send) -> None:
        wire = scope.get("extensions", {}).get(EXTENSION)
        if request.path.startswith(f"{CONTROL}/"):
            await self._write(send, self.control.answer(request))
            return
        try:
            found = await self._with_faults(request, wire)
        except Gone:
            return
        await self._write(send, found)

    async def _write(self, send: Send, answer: Answer) -> None:
        date = formatdate(self.venue.signature_now_ms() / 1000, usegmt=True).encode()
        headers = [*answer.header_pairs(), (b"date", date)]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _with_faults(self, request: Request, wire: Any) -> Answer:
        struck = self.venue.faults.for_request(request, {"client_order_id": _client_order_id(request)})
        if not struck:
            return self._decide_and_record(request)
        names = [fault.name for fault in struck]
        decided: list[Answer] = []

        def decide() -> Answer:
            decided.append(self._decide_and_record(request, faults=names))
            return decided[0]

        try:
            return await self.venue.faults.run(struck, request, wire, decide)
        finally:
            if not decided:
                self._record(request, None, None, faults=names)

    def _decide_and_record(self, request: Request, **facts: Any) -> Answer:
        answer, key = self.decide(request)
        self._record(request, answer, key, **facts)
        return answer

    # --- deciding ----------------------------------------------------------------------------------

    def decide(self, request: Request) -> tuple[Answer, ApiKey | None]:
        """Return what the exchange answers, and the key that signed."""
        if not request.path.startswith(PREFIX):
            return errors.unknown_route(), None
        path = request.path.removeprefix(PREFIX)
        if len(path) > 1 and path.endswith("/"):
            return errors.moved(request.path.rstrip("/")), None
        found = self.table.find(request.method, path)
        if found is None:
            return errors.unknown_route(), None
        return self._call(request, *found)

    def _call(self, request: Request, route: Route, placeholders: dict[str, str]) -> tuple[Answer, ApiKey | None]:
        key = None
        try:
            if route.scope:
                key = self._authorize(request, route)
                allowance, now_ms = self.venue.allowance(key.member), self.venue.now_ms()
                if not allowance.take(route.buckets(request), route.cost(request), now_ms):
                    return errors.too_many_requests(), key
            query = Query(request, route.operation)
            return route.handle(Call(self.venue, request, query, placeholders, key)), key
        except Refusal as refusal:
            return errors.answer_of(refusal), key
        except Exception:
            _logger.exception("the handler of %s failed", route.operation)
            return errors.answer_of(Refusal(500, "internal_server_error")), key

    def _authorize(self, request: Request, route: Route) -> ApiKey:
        venue = self.venue
        key = venue.signatures.verify(request.headers, request.method, request.path, venue.signature_now_ms())
        if not key.allows(route.scope):
            raise errors.forbidden(code=venue.exchange.rules.scope_code)
        return key

    def _record(self, request: Request, answer: Answer | None, key: ApiKey | None, **facts: Any) -> None:
        self.venue.truth.record(
            "request",
            self.venue.now_ms(),
            method=request.method,
            path=request.path,
            query=request.query_string,
            status=None if answer is None else answer.status,
            member=self._name_of(key),
            key_id=None if key is None else key.key_id,
            client_order_id=_client_order_id(request),
            **facts,
        )

    def _name_of(self, key: ApiKey | None) -> str | None:
        member = None if key is None else self.venue.exchange.members.get(key.member)
        return None if member is None else member.name


def _client_order_id(request: Request) -> Any:
    """Return the client order id of a create, or those of a batch."""
    if request.method != "POST" or b"client_order_id" not in request.body:
        return None
    try:
        body = request.json()
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    if isinstance(body.get("orders"), list):
        return [item.get("client_order_id") for item in body["orders"] if isinstance(item, dict)]
    return body.get("client_order_id")


async def _read(scope: dict[str, Any], receive: Receive) -> Request:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    client = scope.get("client") or ("", 0)
    return Request(
        method=scope["method"],
        path=scope.get("raw_path", scope["path"].encode()).decode(),
        query_string=scope["query_string"].decode("latin-1"),
        headers=headers,
        body=b"".join(chunks),
        client=str(client[0]),
    )
