"""What may go wrong with a request: P1 to P30 of the fault knobs, each as a step around the decision.

`proceed` lets the exchange decide; a fault that never calls it has acted before anything was accepted.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from dataclasses import replace

import msgspec

from markets.sandbox import errors
from markets.sandbox.faults import Gone, Proceed, RequestFault, Struck
from markets.sandbox.intents import read_count, read_price
from markets.sandbox.refusals import Refusal, Shape
from markets.sandbox.web import Answer, answer, text, to_json

FOREVER = 10**6
HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
BOMB_BYTES = 64 * 1024 * 1024
REQUESTS: dict[str, RequestFault] = {}


def _request_fault(*names: str) -> Callable[[RequestFault], RequestFault]:
    def register(function: RequestFault) -> RequestFault:
        REQUESTS.update(dict.fromkeys(names, function))
        return function

    return register


# --- time -------------------------------------------------------------------------------------------------


@_request_fault("P1", "P21")
async def delay_before(struck: Struck, proceed: Proceed) -> Answer:
    """P1, P21: hold the request for `seconds`, then accept it."""
    await asyncio.sleep(struck.param("seconds", 1.0))
    return await proceed()


@_request_fault("P2")
async def delay_after(struck: Struck, proceed: Proceed) -> Answer:
    """P2: accept, then hold the answer for `seconds`."""
    found = await proceed()
    await asyncio.sleep(struck.param("seconds", 1.0))
    return found


# --- connections that end -----------------------------------------------------------------------------------


@_request_fault("P3")
async def accept_then_drop(struck: Struck, proceed: Proceed) -> Answer:
    """P3: accept, then close without an answer."""
    await proceed()
    struck.wire.close()
    raise Gone


@_request_fault("P4")
async def accept_then_reset(struck: Struck, proceed: Proceed) -> Answer:
    """P4: accept, then reset the connection."""
    await proceed()
    struck.wire.reset()
    raise Gone


@_request_fault("P5")
async def accept_then_hang(struck: Struck, proceed: Proceed) -> Answer:
    """P5: accept, then say nothing for `seconds` (for ever unless given)."""
    found = await proceed()
    await asyncio.sleep(struck.param("seconds", FOREVER))
    return found


@_request_fault("P6")
async def drop_before(struck: Struck, proceed: Proceed) -> Answer:
    """P6: close before anything is accepted."""
    if struck.param("reset", False):
        struck.wire.reset()
    else:
        struck.wire.close()
    raise Gone


@_request_fault("P20")
async def close_after(struck: Struck, proceed: Proceed) -> Answer:
    """P20: answer as if the connection stayed open, then close it before the next request."""
    found = await proceed()
    asyncio.get_running_loop().call_later(struck.param("seconds", 0.05), struck.wire.close)
    return found


# --- answers that are not the exchange's ----------------------------------------------------------------------


@_request_fault("P7")
async def fail_before(struck: Struck, proceed: Proceed) -> Answer:
    """P7: a gateway's or the exchange's own error before anything is accepted."""
    return _failure(struck.param("status", 503))


@_request_fault("P8")
async def fail_after(struck: Struck, proceed: Proceed) -> Answer:
    """P8: the same after the order was accepted."""
    await proceed()
    return _failure(struck.param("status", 502))


@_request_fault("P9")
async def time_out(struck: Struck, proceed: Proceed) -> Answer:
    """P9: 408, before or (`after`) once it was accepted."""
    if struck.param("after", False):
        await proceed()
    return text("Request Timeout\n", 408)


def _failure(status: int) -> Answer:
    if status == 503:
        return errors.answer_of(Refusal(503, "service_unavailable", message="service_unavailable"))
    if status == 500:
        return errors.answer_of(Refusal(500, "internal_server_error", shape=Shape.FLAT))
    return Answer(status, HTML.encode(), "text/html")


@_request_fault("P10")
async def truncate(struck: Struck, proceed: Proceed) -> Answer:
    """P10: accept, then cut the body short: a content length that lies, or (`kind` chunk) a chunk that never ends."""
    found = await proceed()
    half = found.body[: len(found.body) // 2]
    head = f"HTTP/1.1 {found.status} OK\r\ncontent-type: {found.content_type}\r\n"
    if struck.param("kind", "length") == "chunk":
        raw = f"{head}transfer-encoding: chunked\r\n\r\n{len(found.body):x}\r\n".encode() + half
    else:
        raw = f"{head}content-length: {len(found.body)}\r\n\r\n".encode() + half
    struck.wire.write(raw)
    struck.wire.close()
    raise Gone


@_request_fault("P11")
async def garble(struck: Struck, proceed: Proceed) -> Answer:
    """P11: accept, then answer 2xx with `kind` malformed JSON, html, an empty body, or a gzip bomb."""
    found = await proceed()
    kind = struck.param("kind", "malformed")
    if kind == "html":
        return replace(found, body=HTML.encode(), content_type="text/html")
    if kind == "empty":
        return replace(found, body=b"")
    if kind == "bomb":
        return replace(found, body=gzip.compress(bytes(BOMB_BYTES)), headers=(("content-encoding", "gzip"),))
    return replace(found, body=found.body[:-1] + b",,")


@_request_fault("P12")
async def succeed_without_order(struck: Struck, proceed: Proceed) -> Answer:
    """P12: 2xx with an error object, or (`kind` no_order) without an order; `accepts` says whether it happened."""
    status = 201 if struck.request.method == "POST" else 200
    if struck.param("accepts", False):
        status = (await proceed()).status
    if struck.param("kind", "error") == "no_order":
        return answer({}, status)
    return answer({"error": errors.error_object(errors.deprecated())}, status)


@_request_fault("P13")
async def claim_duplicate(struck: Struck, proceed: Proceed) -> Answer:
    """P13: 409 order_already_exists: `kind` own accepts the order first, foreign accepts nothing."""
    if struck.param("kind", "own") == "own":
        await proceed()
    return errors.answer_of(Refusal(409, "order_already_exists"))


@_request_fault("P14")
async def rate_limit(struck: Struck, proceed: Proceed) -> Answer:
    """P14: 429 with `retry_after` (any text; absent unless given), body `string` or `nested`."""
    if struck.param("body", "string") == "string":
        found = errors.too_many_requests()
    else:
        found = errors.answer_of(Refusal(429, "too_many_requests"))
    after = struck.param("retry_after", None)
    return found if after is None else replace(found, headers=(("retry-after", str(after)),))


@_request_fault("P15", "P23")
async def refuse(struck: Struck, proceed: Proceed) -> Answer:
    """P15, P23: refuse with `status` and `code` in one of the five shapes; nothing is accepted."""
    status, code = struck.param("status", 400), struck.param("code", "some_unknown_code")
    shape = struck.param("shape", 1)
    if shape == 4:
        return answer({"error": code}, status)
    if shape == 5:
        return text(f"{code}\n", status)
    message, details = struck.param("message", None), struck.param("details", None)
    return errors.answer_of(Refusal(status, code, message=message, details=details, shape=Shape(shape)))


@_request_fault("P16")
async def refuse_signature(struck: Struck, proceed: Proceed) -> Answer:
    """P16: 401 for `cause` missing, expired, unknown_key or bad_signature."""
    return errors.answer_of(errors.unauthenticated(struck.param("cause", "bad_signature")))


@_request_fault("P17")
async def refuse_scope(struck: Struck, proceed: Proceed) -> Answer:
    """P17: 403 for a missing scope."""
    return errors.answer_of(errors.forbidden())


@_request_fault("P18")
async def redirect(struck: Struck, proceed: Proceed) -> Answer:
    """P18: send the client to `location` (another path of this host unless given) with `status` 301 to 308."""
    location = struck.param("location", struck.request.path)
    return Answer(struck.param("status", 307), b"", headers=(("location", location),))


@_request_fault("P19")
async def answer_strangely(struck: Struck, proceed: Proceed) -> Answer:
    """P19: the true answer, oddly delivered: `kind` continue, early_hints, duplicate_headers or slow (by bytes)."""
    found = await proceed()
    kind = struck.param("kind", "slow")
    if kind == "duplicate_headers":
        return replace(found, headers=(("content-type", "text/plain"), ("x-twice", "1"), ("x-twice", "2")))
    if kind in {"continue", "early_hints"}:
        struck.wire.write(
            b"HTTP/1.1 100 Continue\r\n\r\n" if kind == "continue" else b"HTTP/1.1 103 Early Hints\r\n\r\n"
        )
        return found
    head = (
        f"HTTP/1.1 {found.status} OK\r\ncontent-type: {found.content_type}\r\ncontent-length: {len(found.body)}\r\n\r\n"
    )
    for byte in head.encode() + found.body:
        struck.wire.write(bytes([byte]))
        await asyncio.sleep(struck.param("seconds", 0.01))
    struck.wire.close()
    raise Gone


# --- answers that are nearly the exchange's ---------------------------------------------------------------------


@_request_fault("P22")
async def spoil_batch(struck: Struck, proceed: Proceed) -> Answer:
    """P22: the answer to a batch with its items `kind` reordered, one missing, or one extra."""
    found = await proceed()
    body = msgspec.json.decode(found.body)
    rows = body.get("orders", [])
    kind = struck.param("kind", "reordered")
    if kind == "missing":
        rows = rows[:-1]
    elif kind == "extra":
        rows = [*rows, {**rows[-1], "order_id": "00000000-0000-4000-8000-000000000000", "client_order_id": "nobody's"}]
    else:
        rows = rows[::-1]
    return replace(found, body=to_json({**body, "orders": rows}))


@_request_fault("P24")
async def fill_first(struck: Struck, proceed: Proceed) -> Answer:
    """P24: before this request is accepted somebody trades `count` at `price` on `side` of `ticker`."""
    params = struck.fault.params
    price, count = read_price(params["price"]), read_count(params["count"])
    struck.venue.take(params["ticker"], is_bid=params["side"] == "bid", price=price, count=count)
    return await proceed()


@_request_fault("P25")
async def rewrite(struck: Struck, proceed: Proceed) -> Answer:
    """P25: the true answer with `field` (dotted path, numbers for items) set to `value`, or without it (`remove`)."""
    found = await proceed()
    body = msgspec.json.decode(found.body)
    *way, last = str(struck.param("field", "")).split(".")
    where = body
    for name in way:
        where = where[int(name)] if isinstance(where, list) else where[name]
    if struck.param("remove", False):
        where.pop(last, None)
    else:
        where[int(last) if isinstance(where, list) else last] = struck.param("value", None)
    return replace(found, body=to_json(body))


@_request_fault("P27")
async def spoil_page(struck: Struck, proceed: Proceed) -> Answer:
    """P27: `kind` not_found (404), repeated (the same cursor for ever), or dropped (rows of the page left out)."""
    kind = struck.param("kind", "not_found")
    if kind == "not_found":
        return errors.answer_of(Refusal(404, "not_found"))
    found = await proceed()
    body = msgspec.json.decode(found.body)
    if kind == "repeated":
        return replace(found, body=to_json({**body, "cursor": struck.param("cursor", "c2FtZQ")}))
    rows = next(name for name, value in body.items() if isinstance(value, list))
    return replace(found, body=to_json({**body, rows: body[rows][struck.param("rows", 1) :]}))


@_request_fault("P30")
async def lie_about_status(struck: Struck, proceed: Proceed) -> Answer:
    """P30: the exchange's status under `status`, its flags overwritten by `flags`."""
    found = await proceed()
    flags = {name: value for name, value in struck.fault.params.items() if name.endswith("_active")}
    body = {**msgspec.json.decode(found.body), **flags}
    return replace(found, status=struck.param("status", found.status), body=to_json(body))
