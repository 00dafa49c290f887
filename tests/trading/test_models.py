"""The tables keep what must hold whatever the code above them does."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.utils import timezone

from tests.trading.conftest import ENV, TICKER
from trading import positions
from trading.models import Account, ApiKey, Fill, Order, OrderState, Team, initials


def an_order(account: Account, **changes: object) -> Order:
    """Write an order of 10 YES at 48¢ that rests, changed as told."""
    usual = {
        "environment": account.environment,
        "team_id": account.team_id,
        "account": account,
        "ticker": TICKER,
        "action": "buy",
        "side": "yes",
        "price": Decimal("0.48"),
        "count": Decimal(10),
        "wire_side": "bid",
        "wire_price": Decimal("0.48"),
        "remaining": Decimal(10),
        "state": OrderState.RESTING,
    }
    return Order.objects.create(**{**usual, **changes})


def a_fill(account: Account, **changes: object) -> Fill:
    """Write a fill of 4 YES at 48¢, changed as told."""
    usual = {
        "environment": account.environment,
        "team_id": account.team_id,
        "account": account,
        "trade_id": "f4a42159",
        "exchange_order_id": "3b23c1c7",
        "ticker": TICKER,
        "wire_side": "bid",
        "wire_price": Decimal("0.48"),
        "count": Decimal(4),
        "is_taker": False,
        "traded_at": timezone.now(),
    }
    fill = Fill.objects.create(**{**usual, **changes})
    positions.add(account, [fill])
    return fill


@pytest.mark.django_db
def test_the_migrations_say_what_the_models_say() -> None:
    call_command("makemigrations", "trading", check=True, dry_run=True, skip_checks=True, verbosity=0)


def test_an_idempotency_key_belongs_to_one_order_of_a_team(account: Account, other_team: Team) -> None:
    theirs = Account.objects.create(environment=ENV, team=other_team, name="Main")
    an_order(account, idempotency_key="k1")

    with pytest.raises(IntegrityError), transaction.atomic():
        an_order(account, idempotency_key="k1")
    an_order(theirs, idempotency_key="k1")


@pytest.mark.parametrize("column", ["client_order_id", "exchange_order_id"])
def test_an_id_names_one_order_of_an_account(account: Account, team: Team, column: str) -> None:
    same_account_elsewhere = Account.objects.create(environment="demo", team=team, name="Main")
    an_order(account, **{column: "3b23c1c7"})

    with pytest.raises(IntegrityError), transaction.atomic():
        an_order(account, **{column: "3b23c1c7"})
    an_order(same_account_elsewhere, **{column: "3b23c1c7"})


def test_a_state_outside_the_table_cannot_be_stored(account: Account) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        an_order(account, state="lost")
    an_order(account, state="lapsed")


def test_a_trade_is_booked_once_per_account(account: Account, other_team: Team) -> None:
    theirs = Account.objects.create(environment=ENV, team=other_team, name="Main")
    a_fill(account)

    with pytest.raises(IntegrityError), transaction.atomic():
        a_fill(account)
    a_fill(theirs)


def test_one_key_of_an_exchange_is_lent_to_the_feed(account: Account, alice: User) -> None:
    def lend(key_id: str, environment: str) -> None:
        ApiKey.objects.create(
            account=account,
            environment=environment,
            key_id=key_id,
            key_type="ed25519",
            name=key_id,
            is_feed=True,
            added_by=alice,
        )

    lend("one", "sandbox")
    with pytest.raises(IntegrityError), transaction.atomic():
        lend("two", "sandbox")
    lend("two", "demo")


def test_a_removed_key_may_be_added_again(account: Account, alice: User) -> None:
    def add(state: str) -> None:
        ApiKey.objects.create(
            account=account, environment=ENV, key_id="a952bcbe", key_type="rsa", name="n", state=state, added_by=alice
        )

    add("removed")
    add("active")
    with pytest.raises(IntegrityError), transaction.atomic():
        add("active")


@pytest.mark.parametrize(("name", "letters"), [("alice", "AL"), ("bo.ek", "BE"), ("Ann Lee-Moe", "AL"), ("x", "X")])
def test_a_person_is_shown_by_two_letters(name: str, letters: str) -> None:
    assert initials(name) == letters
