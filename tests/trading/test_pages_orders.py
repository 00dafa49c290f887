"""The team's orders: filters in the address, the rows anew, the cancel."""

from __future__ import annotations

import uuid

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from markets.models import Market
from tests.trading.conftest import TICKER
from tests.trading.exchange import ScriptedExchange
from tests.trading.test_pages_doors import as_
from tests.trading.test_pages_market import placed
from tests.trading.test_pages_tickets import post
from trading.models import Account, Membership, Order, Team

JSON = {"Accept": "application/json"}


@pytest.fixture
def some(account: Account, alice: User, bob: User) -> dict[str, Order]:
    """Return orders of two people in several states."""
    return {
        "resting": placed(account, bob),
        "unknown": placed(account, alice, state="unknown"),
        "executed": placed(account, bob, state="executed", ticker="KXOTHER-1"),
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"resting", "unknown", "executed"}),
        ("?state=working", {"resting", "unknown"}),
        ("?state=attention", {"unknown"}),
        ("?state=ended", {"executed"}),
        ("?who=alice", {"unknown"}),
        ("?market=KXOTHER-1", {"executed"}),
        ("?state=working&who=bob", {"resting"}),
        ("?state=nonsense", {"resting", "unknown", "executed"}),
    ],
)
def test_the_address_says_which_orders_are_shown(
    vera: User, some: dict[str, Order], query: str, expected: set[str]
) -> None:
    html = as_(vera).get(f"/x/sandbox/orders/{query}").content.decode()
    told = as_(vera).get(f"/x/sandbox/orders.json{query}").json()["orders"]

    assert {name for name, order in some.items() if f'data-order="{order.pk}"' in html} == expected
    assert {frame["id"] for frame in told} == {str(some[name].pk) for name in expected}


def test_orders_are_told_by_their_ids_whatever_became_of_them(vera: User, some: dict[str, Order]) -> None:
    asked = [str(some["executed"].pk), str(some["unknown"].pk), str(uuid.uuid4()), "no-id"]
    told = as_(vera).get("/x/sandbox/orders.json", {"id": asked}).json()["orders"]

    assert {frame["id"]: frame["state"] for frame in told} == {asked[0]: "executed", asked[1]: "unknown"}


def test_an_empty_list_says_what_it_is(vera: User, account: Account) -> None:
    assert b"The team has placed no order yet." in as_(vera).get("/x/sandbox/orders/").content
    assert b"No order of the team matches." in as_(vera).get("/x/sandbox/orders/?state=ended").content


def test_another_team_sees_nothing_of_it(mallory: User, some: dict[str, Order]) -> None:
    html = as_(mallory).get("/x/sandbox/orders/").content.decode()

    assert not any(str(order.pk) in html for order in some.values())
    ids = [str(order.pk) for order in some.values()]
    assert as_(mallory).get("/x/sandbox/orders.json", {"id": ids}).json()["orders"] == []
    for order in some.values():
        assert as_(mallory).post(f"/x/sandbox/orders/{order.pk}/cancel/", headers=JSON).status_code == 404


def test_a_cancel_says_what_the_exchange_says(ready: ScriptedExchange, bob: User) -> None:
    order_id = post(bob).json()["order"]["id"]
    answer = as_(bob).post(f"/x/sandbox/orders/{order_id}/cancel/", headers=JSON)

    assert (answer.status_code, answer.json()["order"]["state"]) == (200, "canceled")


def test_the_answers_of_calls_are_numbered_as_the_news_of_what_they_say(ready: ScriptedExchange, bob: User) -> None:
    placing = post(bob).json()["order"]
    assert placing["n"] == Team.objects.get().number > 0
    canceling = as_(bob).post(f"/x/sandbox/orders/{placing['id']}/cancel/", headers=JSON).json()["order"]

    assert canceling["n"] == Team.objects.get().number > placing["n"]


def test_who_may_only_look_cancels_nothing(ready: ScriptedExchange, bob: User, vera: User) -> None:
    order_id = post(bob).json()["order"]["id"]
    answer = as_(vera).post(f"/x/sandbox/orders/{order_id}/cancel/", headers=JSON)

    assert answer.status_code == 403
    assert answer.json()["fault"]["text"] == "Your role does not allow you to cancel this order."
    assert Order.objects.get(pk=order_id).state == "resting"


def test_what_does_not_rest_cannot_be_cancelled(bob: User, some: dict[str, Order]) -> None:
    answer = as_(bob).post(f"/x/sandbox/orders/{some['unknown'].pk}/cancel/", headers=JSON)

    assert answer.status_code == 409
    assert "there is nothing to cancel yet" in answer.json()["fault"]["text"]


def test_an_order_that_is_not_there_is_not_found(bob: User, account: Account) -> None:
    assert as_(bob).post(f"/x/sandbox/orders/{uuid.uuid4()}/cancel/", headers=JSON).status_code == 404


def test_the_dashboard_counts_what_works_and_names_what_needs_a_person(
    bob: User, some: dict[str, Order], market: Market
) -> None:
    html = as_(bob).get("/x/sandbox/").content.decode()

    assert f'data-order="{some["resting"].pk}"' in html
    assert f'data-order="{some["executed"].pk}"' not in html
    assert "unknown, checking" in html
    assert TICKER in html


def test_people_with_the_same_initials_are_told_apart(
    alice: User, bob: User, account: Account, some: dict[str, Order]
) -> None:
    User.objects.filter(pk=bob.pk).update(username="alina")
    frames = as_(alice).get("/x/sandbox/orders.json").json()["orders"]
    html = as_(alice).get("/x/sandbox/orders/").content.decode()

    assert {frame["who"] for frame in frames} == {"AL"}
    assert {frame["id"] for frame in frames if frame["by"] == alice.pk} == {str(some["unknown"].pk)}
    assert html.count('class="who who-me"') == 1
    assert f'data-my-id="{alice.pk}"' in html


def test_an_order_placed_elsewhere_is_nobodys(alice: User, account: Account) -> None:
    placed(account, None, is_external=True)
    (frame,) = as_(alice).get("/x/sandbox/orders.json").json()["orders"]

    assert (frame["who"], frame["by"]) == ("EXT", None)


@pytest.mark.parametrize(("who", "known"), [("bob", True), ("mallory", False), ("nobodyatall", False)])
def test_a_filter_tells_nobodys_id_of_another_team(
    alice: User, bob: User, mallory: User, some: dict[str, Order], who: str, known: bool
) -> None:
    told = as_(alice).get(f"/x/sandbox/orders/?who={who}").context["orders_data"]["filters"]

    assert told["by"] == (bob.pk if known else None)


@pytest.mark.parametrize("url", ["/x/sandbox/orders/", "/x/sandbox/"])
def test_more_orders_take_no_more_queries(bob: User, alice: User, account: Account, url: str) -> None:
    Team.objects.update(traders_cancel_any=False)  # so that each row asks whose order it is
    browser = as_(bob)
    browser.get(url)
    counts = []
    for more in (5, 20):
        for _ in range(more):
            placed(account, alice, exchange_order_id=str(uuid.uuid4()))
        with CaptureQueriesContext(connection) as queries:
            shown = browser.get(url).context["orders"]
        counts.append((len(shown), len(queries)))

    assert [shown for shown, _ in counts] == [5, 25]
    assert counts[0][1] == counts[1][1]


def test_a_row_can_be_cancelled_by_whom_it_was_handed_to(bob: User, alice: User, account: Account) -> None:
    Team.objects.update(traders_cancel_any=False)
    orders = {name: placed(account, by, exchange_order_id=name) for name, by in (("own", bob), ("alices", alice))}

    def cancelable() -> set[str]:
        shown = as_(bob).get("/x/sandbox/orders/").context["orders"]
        return {name for name, order in orders.items() for row in shown if row.order == order and row.can_cancel}

    assert cancelable() == {"own"}
    Membership.objects.filter(user=alice).update(is_active=False, handed_to=bob)
    assert cancelable() == {"own", "alices"}
