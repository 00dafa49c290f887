"""What the exchange answers when it says no: status, code, details and the shape of the body.

Source: catalogue of REST errors of the Kalshi trade API v2, as observed until November 2026.
"""

from __future__ import annotations

from enum import Enum


class Shape(Enum):
    """The forms an error body comes in."""

    NESTED = 1  # {"error": {"code", "message", "details"?}}
    FLAT = 2  # {"code", "message", "details"?}
    MSG = 3  # {"msg"}


class Refusal(Exception):
    """A request the exchange turned down; nothing has changed."""

    def __init__(
        self,
        status: int,
        code: str,
        *,
        message: str | None = None,
        details: str | None = None,
        shape: Shape = Shape.NESTED,
    ) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.message = code.replace("_", " ") if message is None else message
        self.details = details
        self.shape = shape

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Refusal) and self._facts() == other._facts()

    def __hash__(self) -> int:
        return hash(self._facts())

    def _facts(self) -> tuple[int, str, str, str | None, Shape]:
        return self.status, self.code, self.message, self.details, self.shape


def not_found() -> Refusal:
    """Unknown market, series, order or group; an order that is finished looks the same as one that never was."""
    return Refusal(404, "not_found")


def invalid_order(details: str) -> Refusal:
    """An order that contradicts itself or the book."""
    return Refusal(400, "invalid_order", details=details)


def post_only_cross() -> Refusal:
    """A post-only order would trade at once."""
    return invalid_order("post only cross")


def reduce_only_needs_ioc() -> Refusal:
    """Reduce-only with a time in force that can rest."""
    return invalid_order("reduce_only can only be used with IoC or FoK orders")


def invalid_price() -> Refusal:
    """A price the market's grid lacks."""
    return Refusal(400, "invalid_price")


def invalid_order_size(details: str | None = None) -> Refusal:
    """A count that is not positive, or not above what is filled already."""
    return Refusal(400, "invalid_order_size", details=details)


def invalid_parameters(details: str | None = None) -> Refusal:
    """A body or an id that cannot be used."""
    return Refusal(400, "invalid_parameters", details=details)


def insufficient_balance() -> Refusal:
    """Cost and fee are more than the shard's balance."""
    return Refusal(400, "insufficient_balance")


def insufficient_shard_balance() -> Refusal:
    """No money was ever moved to that shard."""
    details = "Exchange user not found. For Predictions: reference documentation Exchange Sharding documentation."
    return Refusal(404, "insufficient_shard_balance", details=details)


def market_not_active() -> Refusal:
    """The market is paused, not open yet, or only replayed."""
    return Refusal(400, "MARKET_NOT_ACTIVE", message="MARKET_NOT_ACTIVE")


def market_inactive() -> Refusal:
    """An order operation, a cancel too, after the close."""
    return Refusal(400, "market_inactive")


def trading_is_paused() -> Refusal:
    """A create or amend during a trading pause."""
    return Refusal(409, "trading_is_paused")


def service_unavailable() -> Refusal:
    """Anything at all during an exchange pause."""
    return Refusal(503, "service_unavailable", message="service_unavailable")


def order_already_exists() -> Refusal:
    """A client order id this account has used before, whatever became of that order."""
    return Refusal(409, "order_already_exists")


def fok_insufficient_volume() -> Refusal:
    """A fill-or-kill order that the book cannot fill completely."""
    return Refusal(409, "fill_or_kill_insufficient_resting_volume")


def transfer_already_applied() -> Refusal:
    """A client transfer id that was used before."""
    return Refusal(409, "transfer_already_applied")
