"""Error bodies come in five shapes; decisions rest on status and code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from markets.kalshi.errors import ErrorBody, RateLimited, Rejected, parse_error, refusal

NESTED = b'{"error":{"code":"invalid_order","message":"invalid order","details":"post only cross"}}'
FLAT = b'{"code":"bad_request","message":"json: cannot unmarshal number"}'
BARE = b'{"msg":"Parameter validation failed for GetMarkets"}'
WORDS = b'{"error":"too many requests"}'
HTML = b"<html><body>502 Bad Gateway</body></html>"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (NESTED, ErrorBody("invalid_order", "invalid order", "post only cross")),
        (FLAT, ErrorBody("bad_request", "json: cannot unmarshal number")),
        (BARE, ErrorBody(None, "Parameter validation failed for GetMarkets")),
        (WORDS, ErrorBody("too many requests", "too many requests")),
        (HTML, ErrorBody(None, "<html><body>502 Bad Gateway</body></html>")),
        (b"", ErrorBody()),
        (b"[1, 2]", ErrorBody()),
        (b'{"error":null}', ErrorBody()),
        (b'{"error":{"code":7,"message":["x"]}}', ErrorBody()),
        (b"\xff\xfe", ErrorBody(None, "��")),
    ],
)
def test_every_shape_of_an_error_is_read(body: bytes, said: ErrorBody) -> None:
    assert parse_error(body) == said


def test_what_the_exchange_says_is_cut_and_cleaned_before_anybody_sees_it() -> None:
    said = parse_error(json.dumps({"error": {"message": "a\r\nb\x1b[31m" + "x" * 900}}).encode())

    assert said.message is not None
    assert said.message.startswith("a b [31mx")
    assert len(said.message) == 300


def test_codes_are_compared_without_case_and_by_their_beginning() -> None:
    assert Rejected(400, "MARKET_NOT_ACTIVE").is_code("market_not_active")
    assert Rejected(404, "user_not_found:_0b1c").is_code("user_not_found")
    assert not Rejected(404, "not_found").is_code("user_not_found")
    assert not Rejected(404).is_code("not_found")


def test_a_person_gets_a_sentence_with_the_next_step() -> None:
    assert "reduce it" in Rejected(400, "insufficient_balance", "insufficient_balance").sentence
    assert Rejected(400, "never_heard", "m", "price too blue").sentence == "The exchange refused: price too blue."
    assert Rejected(403).sentence == "The exchange refused: HTTP 403."


def test_a_refusal_for_speed_is_no_rejection() -> None:
    assert isinstance(refusal(429, WORDS), RateLimited)
    rejected = refusal(409, b'{"error":{"code":"order_already_exists","message":"order_already_exists"}}')
    assert isinstance(rejected, Rejected)
    assert (rejected.status, rejected.code) == (409, "order_already_exists")


def test_every_error_of_the_exchanges_documents_is_read(exchange_documents: Path) -> None:
    read = 0
    for path in sorted((exchange_documents / "examples").glob("error_*.json")):
        example = json.loads(path.read_text())
        error = refusal(example["_status"], json.dumps(example["body"]).encode())
        assert str(error), path.name
        assert isinstance(error, RateLimited) == (example["_status"] == 429), path.name
        read += 1
    assert read >= 20


def test_every_recorded_error_is_read(recordings: Path) -> None:
    codes = {
        "auth__bad_signature.json": "authentication_error",
        "orders__duplicate_client_order_id.json": "order_already_exists",
        "orders__insufficient_balance.json": "insufficient_balance",
    }
    for name, code in codes.items():
        assert parse_error((recordings / "rest/errors" / name).read_bytes()).code == code
