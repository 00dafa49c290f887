"""The ticket's calls: what is wrong is one sentence in its place, what is right is sent once."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from markets.models import Market
from tests.trading.conftest import TICKER
from tests.trading.exchange import ScriptedExchange, Turn
from tests.trading.test_pages_doors import as_
from trading.models import Order

URL = f"/x/sandbox/markets/{TICKER}/orders/"
REVIEW = f"/x/sandbox/markets/{TICKER}/review/"


def fields(**changes: str) -> dict[str, str]:
    """Return a filled ticket for 10 YES at 48¢, changed as told."""
    usual = {
        "direction": "buy-yes",
        "price": "48",
        "count": "10",
        "time_in_force": "good_till_canceled",
        "idempotency_key": str(uuid.uuid4()),
    }
    return {**usual, **changes}


def post(user: User, url: str = URL, **changes: str) -> Any:
    """Send the ticket as the page's script does."""
    return as_(user).post(url, fields(**changes), headers={"Accept": "application/json"})


COMMA = "A comma only groups thousands, as in 1,000: write decimals with a point, as in 2.5."
FAULTS = [
    ({"price": "48.5"}, "price", "48.5¢ is not a price of this market; the nearest: 48¢ or 49¢."),
    ({"price": "120"}, "price", "120¢ is not a price: it lies between 0¢ and 100¢."),
    ({"price": "cheap"}, "price", "A price is a number of cents, such as 57 or 57.5."),
    ({"price": ""}, "price", "A price is a number of cents, such as 57 or 57.5."),
    ({"count": "0.001"}, "count", "0.001 is too little: an order is for at least 0.01 contract."),
    ({"count": "1.005"}, "count", "1.005 is not possible: counts go in steps of 0.01 contract."),
    ({"count": "2,5"}, "count", COMMA),
    ({"price": "0,48"}, "price", COMMA),
    ({"count": "-5"}, "count", "A quantity is a number of contracts, such as 10 or 2.5."),
    ({"direction": "hold-yes"}, "direction", "Say buy or sell, YES or NO."),
    ({"direction": "buy-no", "price": "0.5"}, "price", "0.5¢ is not a price of this market; the nearest: 1¢."),
    ({"idempotency_key": ""}, "idempotency_key", "This ticket has no key: load the page again."),
]


@pytest.mark.parametrize(("changes", "field", "sentence"), FAULTS)
@pytest.mark.parametrize("url", [URL, REVIEW])
def test_what_is_wrong_is_said_in_one_sentence_and_nothing_is_sent(
    ready: ScriptedExchange, bob: User, url: str, changes: dict[str, str], field: str, sentence: str
) -> None:
    answer = post(bob, url, **changes)

    assert (answer.status_code, answer.json()) == (422, {"fault": {"field": field, "text": sentence}})
    assert not Order.objects.exists()
    assert ready.requests == []


def test_the_review_says_what_would_be_sent_and_sends_nothing(ready: ScriptedExchange, bob: User) -> None:
    said = post(bob, REVIEW, direction="buy-no", price="41", count="250").json()

    assert said["send"] == "Send: buy 250 NO at 41¢"
    assert "ask 250.00 at the YES price $0.5900" in said["words"]
    assert said["sums"] == {"cost": "$102.50", "fee": "$4.24", "loss": "$106.74", "pays": "$250.00"}
    assert not Order.objects.exists()
    assert ready.requests == []


def test_a_confirmed_ticket_is_sent_once_and_its_state_comes_back(ready: ScriptedExchange, bob: User) -> None:
    key = str(uuid.uuid4())
    first, again = post(bob, idempotency_key=key).json(), post(bob, idempotency_key=key).json()

    assert first["order"]["state"] == "resting"
    assert first["order"]["id"] == again["order"]["id"]
    assert uuid.UUID(first["next_key"]) != uuid.UUID(key)
    assert [method for method, path, _ in ready.requests if path.endswith("/orders")].count("POST") == 1


def test_the_same_key_with_another_ticket_is_refused(ready: ScriptedExchange, bob: User) -> None:
    key = str(uuid.uuid4())
    post(bob, idempotency_key=key)
    answer = post(bob, idempotency_key=key, count="11")

    assert answer.status_code == 409
    assert answer.json()["fault"]["text"] == "This ticket was used for another order already: open a new one."
    assert Order.objects.count() == 1


def test_after_a_lost_answer_the_key_tells_what_became_of_the_order(ready: ScriptedExchange, bob: User) -> None:
    key = str(uuid.uuid4())
    ready.creates.append(Turn(answer="drop"))
    post(bob, idempotency_key=key)

    told = as_(bob).get(f"/x/sandbox/orders/of-key/{key}/")
    assert told.json()["order"]["state"] == "unknown"
    assert as_(bob).get(f"/x/sandbox/orders/of-key/{uuid.uuid4()}/").status_code == 404


def test_another_teams_key_tells_nothing(ready: ScriptedExchange, bob: User, mallory: User) -> None:
    key = str(uuid.uuid4())
    post(bob, idempotency_key=key)

    assert as_(mallory).get(f"/x/sandbox/orders/of-key/{key}/").status_code == 404
    assert as_(bob).get(f"/x/sandbox/orders/of-key/{key}/").status_code == 200


@pytest.mark.parametrize("url", [URL, REVIEW])
def test_who_may_only_look_is_refused(ready: ScriptedExchange, vera: User, url: str) -> None:
    answer = post(vera, url)

    assert answer.status_code == 403
    assert answer.json()["fault"]["text"] == "Your role does not allow you to place orders."
    assert ready.requests == []


def test_who_is_signed_out_is_told_so_and_nothing_is_sent(ready: ScriptedExchange, client: Client) -> None:
    answer = client.post(URL, fields())

    assert answer.status_code == 401
    assert b"You are signed out" in answer.content
    assert ready.requests == []


def test_an_order_is_never_placed_by_a_link(ready: ScriptedExchange, bob: User) -> None:
    assert as_(bob).get(URL, fields()).status_code == 405
    assert ready.requests == []


def test_a_form_without_our_token_is_refused(ready: ScriptedExchange, bob: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(bob, backend="allauth.account.auth_backends.AuthenticationBackend")

    assert browser.post(URL, fields()).status_code == 403
    assert ready.requests == []


def test_what_the_desk_denies_is_an_order_with_its_reason(ready: ScriptedExchange, bob: User, market: Market) -> None:
    said = post(bob, count="1000").json()["order"]

    assert (said["state"], said["code"]) == ("denied", "ORDER_COST_LIMIT")
    assert "This order would cost $480.00; the limit is $100.00." in said["reason"]
