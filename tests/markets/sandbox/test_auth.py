"""Who may call: signatures, the window of time, scopes, keys of one sub-account."""

from __future__ import annotations

import time

import pytest

from tests.markets.sandbox.conftest import House
from tests.markets.sandbox.peer import PREFIX, Peer, signature


def headers_of(peer: Peer, signed: str, *, stamp: int | None = None, salt: int = 32) -> dict[str, str]:
    at = str(int(time.time() * 1000) if stamp is None else stamp)
    return {
        "KALSHI-ACCESS-KEY": peer.key_id,
        "KALSHI-ACCESS-TIMESTAMP": at,
        "KALSHI-ACCESS-SIGNATURE": signature(peer.key, at + signed, salt=salt),
    }


def ask(peer: Peer, headers: dict[str, str], query: str = "") -> tuple[int, object]:
    answer = peer.session.get(f"{peer.url}{PREFIX}/portfolio/orders{query}", headers=headers, timeout=5)
    peer.heard("GET", "/portfolio/orders", answer)
    return answer.status_code, answer.json()


SIGNED = f"GET{PREFIX}/portfolio/orders"
BAD_SIGNATURE = {
    "error": {
        "code": "authentication_error",
        "message": "authentication_error",
        "details": "INCORRECT_API_KEY_SIGNATURE",
    }
}


@pytest.mark.parametrize("key_type", ["rsa", "ed25519"])
def test_both_kinds_of_keys_sign(house: House, key_type: str) -> None:
    peer = house.member(key_type=key_type)

    assert ask(peer, headers_of(peer, SIGNED))[0] == 200


def test_any_salt_length_is_taken(house: House) -> None:
    peer = house.member(key_type="rsa")

    assert ask(peer, headers_of(peer, SIGNED, salt=222))[0] == 200


def test_the_query_is_not_signed(desk: Peer) -> None:
    assert ask(desk, headers_of(desk, f"{SIGNED}?limit=5"), "?limit=5") == (401, BAD_SIGNATURE)
    assert ask(desk, headers_of(desk, SIGNED), "?limit=5")[0] == 200


def test_the_prefix_of_the_path_is_signed(desk: Peer) -> None:
    assert ask(desk, headers_of(desk, "GET/portfolio/orders")) == (401, BAD_SIGNATURE)


def test_text_that_is_no_base64_is_a_wrong_signature(desk: Peer) -> None:
    assert ask(desk, {**headers_of(desk, SIGNED), "KALSHI-ACCESS-SIGNATURE": "no base64!"}) == (401, BAD_SIGNATURE)


def test_a_key_nobody_knows_is_not_found(desk: Peer) -> None:
    headers = {**headers_of(desk, SIGNED), "KALSHI-ACCESS-KEY": "00000000-0000-4000-8000-000000000000"}

    status, body = ask(desk, headers)

    assert (status, body) == (
        401,
        {"error": {"code": "authentication_error", "message": "authentication_error", "details": "NOT_FOUND"}},
    )


def test_a_request_without_a_signature_is_told_so(desk: Peer) -> None:
    assert ask(desk, {"KALSHI-ACCESS-KEY": desk.key_id}) == (
        401,
        {"error": {"code": "signature_is_missing_from_headers", "message": "signature is missing from headers"}},
    )


@pytest.mark.parametrize(
    ("seconds", "status"), [(-5, 200), (5, 200), (28, 200), (-12, 401), (-300, 401), (32, 401), (300, 401)]
)
def test_the_window_reaches_from_ten_seconds_ago_to_thirty_ahead(desk: Peer, seconds: int, status: int) -> None:
    stamp = int(time.time() * 1000) + seconds * 1000

    found, body = ask(desk, headers_of(desk, SIGNED, stamp=stamp))

    assert found == status
    if status == 401:
        assert body == {"error": {"code": "header_timestamp_expired", "message": "header timestamp expired"}}


def test_a_public_endpoint_asks_for_no_signature_and_ignores_a_bad_one(desk: Peer) -> None:
    bad = {**headers_of(desk, SIGNED), "KALSHI-ACCESS-SIGNATURE": "bm8="}

    assert desk.session.get(f"{desk.url}{PREFIX}/exchange/status", timeout=5).status_code == 200
    assert desk.session.get(f"{desk.url}{PREFIX}/exchange/status", headers=bad, timeout=5).status_code == 200


def test_a_read_key_may_not_trade(house: House, desk: Peer, ticker: str) -> None:
    reader = house.key_of(desk.member_id, scopes=("read",))  # type: ignore[attr-defined]

    assert reader.get("/portfolio/orders")["orders"] == []
    refused = reader.create(ticker, "bid", "0.5000", "1.00")
    assert (refused.status_code, refused.json()) == (403, {"error": {"code": "forbidden", "message": "forbidden"}})


def test_a_trading_key_may_not_transfer_nor_make_keys(house: House, desk: Peer, ticker: str) -> None:
    trader = house.key_of(desk.member_id, scopes=("read", "write::trade"))  # type: ignore[attr-defined]

    assert trader.create(ticker, "bid", "0.5000", "1.00").status_code == 201
    assert trader.call("POST", "/portfolio/subaccounts", body={}).status_code == 403
    assert trader.call("POST", "/api_keys/generate", body={"name": "another"}).status_code == 403


def test_a_key_of_one_sub_account_sees_and_trades_that_one_only(house: House, desk: Peer, ticker: str) -> None:
    assert desk.call("POST", "/portfolio/subaccounts", body={}).json() == {"subaccount_number": 1}
    moved = {"from_subaccount": 0, "to_subaccount": 1, "amount_cents": 10_000}
    assert (
        desk.call(
            "POST",
            "/portfolio/subaccounts/transfer",
            body={"client_transfer_id": "4a6ef1a0-1111-4222-8333-444444444444", **moved},
        ).status_code
        == 200
    )
    first = house.key_of(desk.member_id, subaccount=1)  # type: ignore[attr-defined]

    balance = first.get("/portfolio/balance")
    assert (balance["balance_dollars"], "balance_breakdown" in balance) == ("100.0000", False)
    assert first.create(ticker, "bid", "0.3000", "1.00").status_code == 201
    desk.create(ticker, "bid", "0.3100", "1.00")
    assert [order["subaccount_number"] for order in first.get("/portfolio/orders")["orders"]] == [1]
    foreign = first.create(ticker, "bid", "0.3000", "1.00", subaccount=2)
    assert (foreign.status_code, foreign.json()["error"]["message"]) == (
        403,
        "this API key is restricted to a single sub-account and cannot access this endpoint",
    )
    assert first.call("GET", "/api_keys").status_code == 403


def test_a_deleted_key_no_longer_signs(house: House, desk: Peer) -> None:
    second = house.key_of(desk.member_id)  # type: ignore[attr-defined]

    assert desk.call("DELETE", f"/api_keys/{second.key_id}").status_code == 204

    refused = second.call("GET", "/portfolio/orders")
    assert (refused.status_code, refused.json()["error"]["details"]) == (401, "NOT_FOUND")
