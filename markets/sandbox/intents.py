"""Bodies of order requests become what the engine takes; what does not fit is refused as the exchange's decoder does.

Source: Kalshi trade API v2, CreateOrderV2Request and its siblings; refusals of numbers sent where text is wanted and of
prices finer than four decimals as recorded.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, TypeVar

import msgspec

from markets.sandbox.errors import missing_content_type, undecodable
from markets.sandbox.numbers import SECOND, parse_fixed
from markets.sandbox.orders import Amendment, NewOrder, SelfTrade, TimeInForce
from markets.sandbox.refusals import Refusal, invalid_order
from markets.sandbox.web import Request

Choice = TypeVar("Choice", bound=Enum)
GO_KINDS = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
PRICE_DECIMALS = 4
COUNT_DECIMALS = 2
MOST_SUBACCOUNT = 63
INT64 = range(-(2**63), 2**63)
# What the decoder looks at before any rule of an order does: one wrong type, and nothing of the body counts.
CREATE_TEXTS = (
    *("ticker", "side", "count", "price", "time_in_force", "self_trade_prevention_type"),
    *("client_order_id", "order_group_id"),
)
CREATE_NUMBERS = ("expiration_time", "subaccount", "exchange_index")
CREATE_FLAGS = ("post_only", "reduce_only", "cancel_order_on_pause")
AMEND_TEXTS = ("ticker", "side", "count", "price", "client_order_id", "updated_client_order_id")
AMEND_NUMBERS = ("expiration_time", "exchange_index")


class Body:
    """One decoded JSON object, read field by field under the name of the exchange's structure."""

    def __init__(self, values: dict[str, Any], structure: str) -> None:
        self.values = values
        self._structure = structure

    def text(self, name: str) -> str:
        """Return a text field; absent and null are empty."""
        return str(self._typed(name, str, "string") or "")

    def maybe_text(self, name: str) -> str | None:
        """Return a text field, or None where it is absent or null."""
        found = self._typed(name, str, "string")
        return None if found is None else str(found)

    def number(self, name: str) -> int | None:
        """Return a whole number of 64 bits, or None where it is absent or null."""
        found = self._typed(name, int, "int64")
        if found is not None and found not in INT64:
            raise self._mismatch(name, found, "int64")
        return None if found is None else int(found)

    def subaccount(self, name: str = "subaccount") -> int | None:
        """Return the number of a sub-account, 0 to 63, or None where it is absent or null."""
        found = self.number(name)
        if found is not None and not 0 <= found <= MOST_SUBACCOUNT:
            raise invalid_parameters(f"{name} is not valid")
        return found

    def flag(self, name: str) -> bool:
        """Return a boolean; absent and null are false."""
        return bool(self._typed(name, bool, "bool"))

    def decode(
        self, *, texts: tuple[str, ...] = (), numbers: tuple[str, ...] = (), flags: tuple[str, ...] = ()
    ) -> None:
        """Refuse the body if one of these fields has a wrong type."""
        for name in texts:
            self.maybe_text(name)
        for name in numbers:
            self.number(name)
        for name in flags:
            self.flag(name)

    def choice(self, name: str, kind: type[Choice]) -> Choice:
        """Return a member of a closed set that must be there."""
        found = self.needed(name)
        try:
            return kind(found)
        except ValueError as exc:
            raise invalid_parameters(f"{name} is not valid") from exc

    def needed(self, name: str) -> str:
        """Return a text field that must be there."""
        found = self.text(name)
        if not found:
            raise invalid_parameters(f"{name} is required")
        return found

    def items(self, name: str, structure: str) -> list[Body]:
        """Return a list of objects that must be there."""
        found = self._typed(name, list, f"[]{structure}")
        if not found:
            raise invalid_parameters(f"{name} is required")
        for item in found:
            if item is not None and not isinstance(item, dict):
                raise self._mismatch(name, item, structure)
        return [Body(item or {}, structure) for item in found]

    def _typed(self, name: str, kind: type, go_type: str) -> Any:
        found = self.values.get(name)
        if found is None or (isinstance(found, kind) and not (kind is int and isinstance(found, bool))):
            return found
        raise self._mismatch(name, found, go_type)

    def _mismatch(self, name: str, found: Any, go_type: str) -> Refusal:
        kind = GO_KINDS.get(type(found), "value")
        return undecodable(
            f"json: cannot unmarshal {kind} into Go struct field {self._structure}.{name} of type {go_type}"
        )


def read_body(request: Request, structure: str) -> Body:
    """Return the decoded body of a write; without JSON content type or body it is refused."""
    content_type = request.headers.get("content-type", "")
    if not content_type.startswith("application/json") or not request.body:
        raise missing_content_type()
    return _decoded(request.body, structure)


def read_optional_body(request: Request, structure: str) -> Body:
    """Return the decoded body of a call whose body may be missing altogether."""
    return _decoded(request.body, structure) if request.body else Body({}, structure)


def _decoded(raw: bytes, structure: str) -> Body:
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise undecodable("invalid JSON") from exc
    if found is None:  # the decoder leaves everything as it is where it meets a null
        found = {}
    if not isinstance(found, dict):
        kind = GO_KINDS.get(type(found), "value")
        raise undecodable(f"json: cannot unmarshal {kind} into Go value of type {structure}")
    return Body(found, structure)


def invalid_parameters(details: str) -> Refusal:
    """A field that is missing or outside its set."""
    return Refusal(400, "invalid_parameters", details=details)


def new_order(body: Body) -> NewOrder:
    """Return the order that a create body asks for; what cannot be decoded is refused before what breaks a rule."""
    body.decode(texts=CREATE_TEXTS, numbers=CREATE_NUMBERS, flags=CREATE_FLAGS)
    expires = body.number("expiration_time")
    return NewOrder(
        ticker=body.needed("ticker"),
        is_bid=_is_bid(body),
        count=read_count(body.needed("count")),
        price=read_price(body.needed("price")),
        time_in_force=body.choice("time_in_force", TimeInForce),
        self_trade=body.choice("self_trade_prevention_type", SelfTrade),
        client_order_id=body.text("client_order_id"),
        expires_us=None if expires is None else expires * SECOND,
        post_only=body.flag("post_only"),
        reduce_only=body.flag("reduce_only"),
        cancel_on_pause=body.flag("cancel_order_on_pause"),
        subaccount=body.subaccount() or 0,
        group_id=body.text("order_group_id"),
        exchange_index=body.number("exchange_index"),
    )


def amendment(body: Body) -> Amendment:
    """Return what an amend body asks for."""
    body.decode(texts=AMEND_TEXTS, numbers=AMEND_NUMBERS)
    expires = body.number("expiration_time")
    return Amendment(
        ticker=body.needed("ticker"),
        is_bid=_is_bid(body),
        price=read_price(body.needed("price")),
        count=read_count(body.needed("count")),
        client_order_id=body.text("client_order_id"),
        updated_client_order_id=body.text("updated_client_order_id"),
        expires_us=None if expires is None else expires * SECOND,
        exchange_index=body.number("exchange_index"),
    )


def _is_bid(body: Body) -> bool:
    side = body.needed("side")
    if side not in {"bid", "ask"}:
        raise invalid_parameters("side is not valid")
    return side == "bid"


def read_count(text: str) -> int:
    """Return contracts in 0.01; what is no such number is refused."""
    try:
        return parse_fixed(text, COUNT_DECIMALS)
    except ValueError as exc:
        raise Refusal(400, "invalid_order_size") from exc


def read_price(text: str) -> int:
    """Return a price in $0.0001; finer ones are refused with their precision, as recorded."""
    try:
        return parse_fixed(text, PRICE_DECIMALS)
    except ValueError as exc:
        decimals = len(text.partition(".")[2])
        if decimals > PRICE_DECIMALS:
            raise invalid_order(f"invalid price: invalid dollar precision: -{decimals}") from exc
        raise invalid_order("invalid price") from exc
