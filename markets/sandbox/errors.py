"""Refusals as they go over the wire, in the five shapes that the exchange uses.

Source: Kalshi trade API v2, error bodies recorded on the demo exchange in June 2026, without the `service` key that
went away in August.
"""

from __future__ import annotations

from markets.sandbox.refusals import Refusal, Shape
from markets.sandbox.web import Answer, answer, text

V2_GUIDE = "https://docs.kalshi.com/api-reference/orders/create-order-v2"


def error_object(refusal: Refusal) -> dict[str, str]:
    """Return code, message and details; details are left out when there are none."""
    found = {"code": refusal.code, "message": refusal.message}
    if refusal.details:
        found["details"] = refusal.details
    return found


def answer_of(refusal: Refusal) -> Answer:
    """Return a refusal as an answer in its shape."""
    if refusal.shape is Shape.MSG:
        return answer({"msg": refusal.message}, refusal.status)
    body = error_object(refusal)
    return answer(body if refusal.shape is Shape.FLAT else {"error": body}, refusal.status)


def unknown_route() -> Answer:
    """Shape 5: nobody serves this path."""
    return text("404 page not found\n", 404)


def too_many_requests() -> Answer:
    """Shape 4: the account's bucket is empty; no header says when to come back."""
    return answer({"error": "too many requests"}, 429)


def moved(path: str) -> Answer:
    """A trailing slash is answered with the way to the path without it."""
    return Answer(301, b"", headers=(("location", path),))


def deprecated() -> Refusal:
    """The first order family was switched off in June 2026."""
    message = "Please switch to the V2 endpoints"
    return Refusal(410, "deprecated_v1_order_endpoint", message=message, details=V2_GUIDE)


def missing_content_type() -> Refusal:
    """A write without a JSON body and its content type."""
    return Refusal(400, "invalid_content_type", message="invalid_content_type", shape=Shape.FLAT)


def undecodable(sentence: str) -> Refusal:
    """A body that does not fit the endpoint's structure."""
    return Refusal(400, "bad_request", details=sentence, shape=Shape.FLAT)


def bad_request(details: str) -> Refusal:
    """A request whose parts contradict the endpoint's rules."""
    return Refusal(400, "bad_request", details=details)


def failed_validation(operation: str, field: str, tag: str) -> Refusal:
    """A query parameter outside its bounds, in the words of the exchange's validator."""
    sentence = (
        f"Parameter validation failed for {operation}: Key: '{operation}Params.{field}' "
        f"Error:Field validation for '{field}' failed on the '{tag}' tag"
    )
    return Refusal(400, "", message=sentence, shape=Shape.MSG)


def forbidden(message: str | None = None, *, code: str = "forbidden") -> Refusal:
    """The key may not do this. No such body was ever recorded."""
    return Refusal(403, code, message=message)


def unauthenticated(cause: str) -> Refusal:
    """What a request hears whose signature is `missing`, `expired`, of an `unknown_key`, or a `bad_signature`."""
    if cause == "missing":
        return Refusal(401, "signature_is_missing_from_headers", message="signature is missing from headers")
    if cause == "expired":
        return Refusal(401, "header_timestamp_expired", message="header timestamp expired")
    details = "NOT_FOUND" if cause == "unknown_key" else "INCORRECT_API_KEY_SIGNATURE"
    return Refusal(401, "authentication_error", message="authentication_error", details=details)
