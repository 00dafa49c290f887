"""What may go wrong with the exchange, named by what the caller may do next.

No error carries a header, a signature, a key or a request's body. Error bodies come in five shapes; decisions rest on
status and code, never on the message. Source: Kalshi trade API v2, "Order errors" and recorded bodies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

TEXT_MOST = 300
FINAL_STATUSES = frozenset({400, 401, 403, 404, 409, 410})
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]+")


class KalshiError(Exception):
    """Anything that keeps a request or a message from being what was wanted."""


class RefusedByUs(KalshiError):
    """We did not send it: the address, a redirect or the configuration is not to be trusted."""


class BadKey(KalshiError):
    """The text is no private key that the exchange accepts; the sentence says why and repeats nothing of it."""


class Unavailable(KalshiError):
    """A read failed, or a request never left. Safe to repeat later."""


class OutcomeUnknown(KalshiError):
    """A write may or may not have happened; only the exchange's own lists can tell. Never repeat it blindly."""


class BadMessage(KalshiError):
    """The exchange sent something of a shape that we do not know.

    `ticker` and the position in a stream are given where they could be read; `is_new_kind` says that the frame names
    a kind of message that we have never heard of; `kind` is what it calls itself.
    """

    def __init__(
        self,
        reason: str,
        *,
        ticker: str | None = None,
        is_new_kind: bool = False,
        kind: str = "",
        sid: int | None = None,
        seq: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.ticker = ticker
        self.is_new_kind = is_new_kind
        self.kind = kind
        self.sid = sid
        self.seq = seq


class RateLimited(KalshiError):
    """The exchange, or our own budget before it, had no room: nothing happened."""

    def __init__(self, message: str = "too many requests", *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds

    @property
    def sentence(self) -> str:
        """One sentence for a person."""
        return "Too many requests at once; nothing was sent to the book. Wait a moment and try again."


class Rejected(KalshiError):
    """The exchange refused, finally."""

    def __init__(
        self, status: int, code: str | None = None, message: str | None = None, details: str | None = None
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        super().__init__(": ".join(part for part in (f"HTTP {status}", code, details or message) if part))

    def is_code(self, *prefixes: str) -> bool:
        """Say whether the code begins with one of these: codes come in mixed case, some with an id at their end."""
        return self.code is not None and self.code.lower().startswith(tuple(prefix.lower() for prefix in prefixes))

    @property
    def sentence(self) -> str:
        """One sentence for a person, with the next step where there is one."""
        for prefix, sentence in _SENTENCES:
            if self.is_code(prefix):
                return sentence
        said = self.details or self.message or self.code or f"HTTP {self.status}"
        return f"The exchange refused: {said}."


_SENTENCES = (
    ("insufficient_shard_balance", "There is no money on this market's part of the account; move some there first."),
    ("user_not_found", "There is no money on this market's part of the account; move some there first."),
    ("insufficient_balance", "The balance is not enough for this order; reduce it or add money."),
    ("available_balance_too_low", "The balance is not enough for this order; reduce it or add money."),
    ("invalid_price", "The price is not one of this market's steps; choose another."),
    ("invalid_order_size", "The count is not one that the exchange accepts; choose another."),
    ("order_already_exists", "The exchange already has an order under this id."),
    ("fill_or_kill_insufficient", "The book does not hold enough to fill all of it, so nothing was bought or sold."),
    ("trading_is_paused", "Trading is paused on the exchange; try again when it resumes."),
    ("market_not_active", "The market is paused; try again when it trades."),
    ("market_inactive", "The market no longer takes orders."),
    ("market_closed", "The market is closed."),
    ("market_already_closed", "The market is closed."),
    ("header_timestamp_expired", "This computer's clock differs from the exchange's; correct it and try again."),
    ("authentication_error", "The exchange does not accept this key; check it, or add another."),
    ("signature_is_missing", "The exchange does not accept this key; check it, or add another."),
    ("deprecated", "The exchange no longer has this way of sending orders."),
    ("not_found", "The exchange does not know it, or it is finished already."),
)


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What an error's body said, as far as it could be read."""

    code: str | None = None
    message: str | None = None
    details: str | None = None


def parse_error(body: bytes) -> ErrorBody:
    """Read an error's body in any of the five shapes; text that is no JSON becomes the message. Never raises."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ErrorBody(message=_text(body[: 4 * TEXT_MOST].decode("utf-8", "replace")))
    if not isinstance(found, dict):
        return ErrorBody()
    inner = found.get("error", found)
    if isinstance(inner, str):
        return ErrorBody(_text(inner), _text(inner))
    if not isinstance(inner, dict):
        inner = found
    return ErrorBody(
        _text(inner.get("code")), _text(inner.get("message") or inner.get("msg")), _text(inner.get("details"))
    )


def refusal(status: int, body: bytes, *, retry_after_seconds: float | None = None) -> Rejected | RateLimited:
    """Return the error of a definite refusal."""
    said = parse_error(body)
    if status == 429:
        return RateLimited(said.message or "too many requests", retry_after_seconds=retry_after_seconds)
    return Rejected(status, said.code, said.message, said.details)


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    return _UNPRINTABLE.sub(" ", value).strip()[:TEXT_MOST] or None
