"""A client signs for its purpose alone, with a key that is opened for each request and kept by nobody."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from django.db import OperationalError

from markets.kalshi.errors import RefusedByUs
from markets.kalshi.signing import Signer
from tests.trading import keyexchange
from tests.trading.keyexchange import KeyExchange
from trading import clients, keys, setup
from trading.clients import Purpose, PurposeSigner
from trading.models import ApiKey

pytestmark = pytest.mark.django_db

ORDERS = "/trade-api/v2/portfolio/events/orders"
FEED = "/trade-api/ws/v2"
ALL_PURPOSES: tuple[Purpose, ...] = get_args(Purpose)

# Every kind of request the desk makes, and some it never does: who may have it signed.
REQUESTS = [
    ("GET", FEED, {"feed"}),
    ("GET", "/trade-api/v2/portfolio/balance", {"read", "trade", "keys", "transfer"}),
    ("GET", "/trade-api/v2/portfolio/orders", {"read", "trade"}),
    ("GET", "/trade-api/v2/portfolio/orders/3b23c1c7", {"read", "trade"}),
    ("GET", "/trade-api/v2/portfolio/fills", {"read", "trade"}),
    ("GET", "/trade-api/v2/portfolio/positions", {"read", "trade"}),
    ("GET", "/trade-api/v2/account/limits", {"read", "trade", "keys"}),
    ("GET", "/trade-api/v2/markets/KX-1/orderbook", {"read", "trade"}),
    ("POST", ORDERS, {"trade"}),
    ("POST", f"{ORDERS}/3b23c1c7/amend", {"trade"}),
    ("DELETE", f"{ORDERS}/3b23c1c7", {"trade"}),
    ("DELETE", ORDERS, {"trade"}),
    ("GET", "/trade-api/v2/api_keys", {"keys"}),
    ("POST", "/trade-api/v2/api_keys/generate", {"keys"}),
    ("DELETE", "/trade-api/v2/api_keys/3b23c1c7", {"keys"}),
    ("POST", "/trade-api/v2/portfolio/subaccounts/transfer", {"transfer"}),
    ("POST", "/trade-api/v2/portfolio/intra_exchange_instance_transfer", {"transfer"}),
    ("POST", FEED, set()),
    ("PUT", ORDERS, set()),
    ("POST", f"{ORDERS}extra", set()),
    ("POST", "/trade-api/v2/portfolio/subaccounts", set()),
    ("POST", "/portfolio/events/orders", set()),
    ("GET", "/trade-api/v2/portfolio/../api_keys", set()),
    ("DELETE", f"{ORDERS}/../../../api_keys/3b23c1c7", set()),
    ("GET", "/trade-api/v2", set()),
]


@pytest.fixture
def exchange(settings: Any, tmp_path: Path) -> Iterator[KeyExchange]:
    """Run an exchange that knows keys."""
    settings.KALSHIWEB_DATA_DIR = tmp_path
    with keyexchange.running(settings) as found:
        yield found


@pytest.fixture
def key(exchange: KeyExchange) -> ApiKey:
    """Return a stored key."""
    desk = setup.create_team("Alice's desk", owner="alice", environment="sandbox")
    made = exchange.make_key()
    key = keys.add(desk.owner, account=desk.account, name="all", key_id=made.key_id, pem=made.pem)
    exchange.heard.clear()
    return key


@pytest.mark.parametrize(("method", "path", "purposes"), REQUESTS)
def test_a_request_is_signed_for_the_purposes_that_name_it(method: str, path: str, purposes: set[str]) -> None:
    signed = {purpose for purpose in ALL_PURPOSES if clients.is_allowed(purpose, method, path, environment="sandbox")}

    assert signed == purposes


def test_outside_its_purpose_a_signer_does_not_even_open_the_key() -> None:
    def opener() -> Signer:
        raise AssertionError("opened")

    signer = PurposeSigner("read", environment="sandbox", key_id="id", opener=opener)

    with pytest.raises(RefusedByUs, match=r"outside its purpose \(read\) was not signed"):
        signer.headers("POST", ORDERS)


def test_a_reading_client_cannot_cancel(key: ApiKey, exchange: KeyExchange) -> None:
    with clients.rest_client(key, purpose="read") as client, pytest.raises(RefusedByUs):
        client.cancel_all()

    assert exchange.heard == []


def test_a_key_is_opened_for_each_request_and_kept_by_nobody(key: ApiKey) -> None:
    with clients.rest_client(key, purpose="read") as client:
        client.account_limits()
        ApiKey.objects.filter(pk=key.pk).update(ciphertext=b"\0" * 64)

        with pytest.raises(clients.CannotUse, match="changed or damaged"):
            client.account_limits()


def test_the_next_client_of_a_key_finds_the_connection_warm(key: ApiKey, exchange: KeyExchange) -> None:
    exchange.connections.clear()

    for _ in range(3):
        with clients.rest_client(key, purpose="trade") as client:
            client.account_limits()

    assert len(exchange.connections) == 1


@pytest.mark.parametrize("state", ["unchecked", "paused", "refused", "removed"])
def test_only_a_key_in_use_becomes_a_client(key: ApiKey, state: str) -> None:
    key.state = state
    key.save(update_fields=["state"])

    with pytest.raises(clients.CannotUse, match="The key all cannot be used"):
        clients.rest_client(key, purpose="read")
    with pytest.raises(clients.CannotUse, match="The key all cannot be used"):
        clients.feed_client(key, on_event=print)


def test_a_database_that_is_away_keeps_a_request_from_leaving(
    key: ApiKey, exchange: KeyExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: Any, **kwargs: Any) -> Any:
        raise OperationalError("gone")

    with clients.rest_client(key, purpose="trade") as client:
        monkeypatch.setattr(ApiKey.objects, "select_related", away)
        with pytest.raises(RefusedByUs, match="could not be read from the database"):
            client.cancel_all()
    assert exchange.heard == []


def test_a_damaged_key_is_found_before_the_feed_connects(key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk).update(wrapped_key=b"")

    with pytest.raises(clients.CannotUse, match="changed or damaged"):
        clients.feed_client(key, on_event=print)


def test_neither_client_nor_signer_shows_or_hands_on_the_key(key: ApiKey) -> None:
    signer = clients._client("sandbox", key.key_id, "read", opener=lambda: pytest.fail("opened"))._transport._signer

    assert repr(signer) == "PurposeSigner(read)"
    with pytest.raises(TypeError):
        pickle.dumps(signer)


def test_using_a_key_is_noted_at_most_once_a_minute(key: ApiKey) -> None:
    clients.rest_client(key, purpose="read")
    first = ApiKey.objects.get(pk=key.pk).last_used_at
    clients.rest_client(ApiKey.objects.get(pk=key.pk), purpose="read")

    assert first is not None
    assert ApiKey.objects.get(pk=key.pk).last_used_at == first


def test_keys_of_one_account_share_its_budget(key: ApiKey, exchange: KeyExchange) -> None:
    made = exchange.make_key()
    other = keys.add(key.added_by, account=key.account, name="other", key_id=made.key_id, pem=made.pem)

    assert clients.account_budget(key) is clients.account_budget(other)


def test_what_everybody_may_see_is_read_without_a_signature(exchange: KeyExchange) -> None:
    with clients.public_client("sandbox") as client:
        assert client._transport._signer is None
