"""An order changes its state along the table and in no other way, with its audit row and its number."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import product

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from tests.trading.test_models import an_order
from trading.models import Account, AuditEntry, DeskEvent, ForbiddenAdvance, Order, OrderState, Word

# The table of the design, written out: anything else is forbidden.
ALLOWED = {
    ("draft", "denied"),
    ("draft", "awaiting_approval"),
    ("draft", "queued"),
    ("awaiting_approval", "queued"),
    ("awaiting_approval", "denied"),
    ("awaiting_approval", "lapsed"),
    ("queued", "sending"),
    ("queued", "lapsed"),
    ("sending", "resting"),
    ("sending", "executed"),
    ("sending", "canceled"),
    ("sending", "rejected"),
    ("sending", "unknown"),
    ("resting", "executed"),
    ("resting", "canceled"),
    ("unknown", "resting"),
    ("unknown", "executed"),
    ("unknown", "canceled"),
    ("unknown", "not_placed"),
    ("unknown", "needs_human"),
    ("needs_human", "resting"),
    ("needs_human", "executed"),
    ("needs_human", "canceled"),
    ("needs_human", "not_placed"),
}


def test_exactly_the_pairs_of_the_table_are_accepted(account: Account) -> None:
    order = an_order(account)
    accepted = set()

    for before, after in product(OrderState.values, OrderState.values):
        Order.objects.filter(pk=order.pk).update(state=before)
        order.refresh_from_db()
        try:
            with transaction.atomic():
                order.advance(OrderState(after))
        except ForbiddenAdvance:
            order.refresh_from_db()
            assert order.state == before
        else:
            accepted.add((before, after))
            assert Order.objects.get(pk=order.pk).state == after

    assert len(OrderState.values) == 13
    assert accepted == ALLOWED


def test_a_change_brings_its_audit_row_and_its_number(account: Account, bob: User) -> None:
    order = an_order(account, state="queued", placed_by=bob)

    order.advance(OrderState.SENDING, actor=bob, sent_at=timezone.now())

    entry = AuditEntry.objects.get(team=account.team)
    assert (entry.action, entry.actor_name, entry.subject) == ("order.sending", "bob", f"order:{order.pk}")
    account.team.refresh_from_db()
    event = DeskEvent.objects.get(team=account.team)
    assert (event.number, account.team.number, event.subject) == (1, 1, str(order.pk))


def test_the_slower_of_two_changes_does_nothing_and_sees_what_is_there(account: Account) -> None:
    order = an_order(account, state="sending")
    slow = Order.objects.get(pk=order.pk)
    order.advance(OrderState.RESTING, exchange_order_id="3b23c1c7")

    assert slow.advance(OrderState.UNKNOWN) is False

    assert (slow.state, slow.exchange_order_id) == ("resting", "3b23c1c7")
    assert AuditEntry.objects.count() == 1


def test_the_intent_itself_is_not_among_what_may_be_learnt(account: Account) -> None:
    with pytest.raises(ForbiddenAdvance):
        an_order(account).advance(OrderState.CANCELED, ticker="KXOTHER")


def test_a_change_whose_audit_row_fails_did_not_happen(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    order = an_order(account)
    monkeypatch.setattr(AuditEntry, "save", _fail)

    with pytest.raises(RuntimeError), transaction.atomic():
        order.advance(OrderState.CANCELED)

    assert Order.objects.get(pk=order.pk).state == "resting"
    assert DeskEvent.objects.count() == 0


def _fail(*args: object, **kwargs: object) -> None:
    raise RuntimeError("the disk is full")


# --- the exchange's word --------------------------------------------------------------------------------------


def word(state: str, filled: str, remaining: str, **more: object) -> Word:
    return Word("3b23c1c7", OrderState(state), Decimal(filled), Decimal(remaining), **more)  # type: ignore[arg-type]


def test_an_older_word_takes_nothing_back(account: Account) -> None:
    order = an_order(account)
    order.hear(word("resting", "4", "6"))
    order.hear(word("canceled", "6", "0"))

    order.hear(word("resting", "4", "6"))

    order.refresh_from_db()
    assert (order.state, order.filled, order.remaining) == ("canceled", Decimal(6), Decimal(0))


def test_the_same_word_twice_is_one_entry(account: Account) -> None:
    order = an_order(account)

    order.hear(word("resting", "4", "6"))
    order.hear(word("resting", "4", "6"))

    assert AuditEntry.objects.count() == 1


@pytest.mark.parametrize("state", ["rejected", "not_placed", "lapsed", "denied", "draft", "queued"])
def test_an_order_that_never_left_cannot_be_told_of(account: Account, state: str) -> None:
    order = an_order(account, state=state)

    assert order.hear(word("resting", "0", "10")) is False

    order.refresh_from_db()
    assert order.state == state


@pytest.mark.parametrize("state", ["sending", "unknown", "needs_human", "resting"])
def test_an_order_that_may_be_there_is_told_of(account: Account, state: str) -> None:
    order = an_order(account, state=state)

    assert order.hear(word("executed", "10", "0", fees=Decimal("0.17"))) is True

    order.refresh_from_db()
    assert (order.state, order.filled, order.fees) == ("executed", Decimal(10), Decimal("0.17"))


def test_the_average_of_an_order_for_no_is_that_of_no(account: Account) -> None:
    order = an_order(account, side="no", price=Decimal("0.40"), wire_side="ask", wire_price=Decimal("0.60"))

    order.hear(word("resting", "4", "6", average_wire_price=Decimal("0.61")))

    order.refresh_from_db()
    assert order.average_price == Decimal("0.39")


def test_a_fill_before_the_cancel_says_so(account: Account) -> None:
    order = an_order(account, cancel_requested_at=timezone.now())

    order.hear(word("executed", "10", "0"))

    assert order.reason_text == "Filled before the cancel."


def test_more_filled_than_ordered_is_shown(account: Account) -> None:
    order = an_order(account, state="executed", filled=Decimal(10), remaining=Decimal(0))

    order.hear(word("executed", "12", "0"))

    assert order.is_overfilled
    assert "MORE FILLED THAN ORDERED" in order.state_words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "resting"),
        ({"filled": Decimal(4)}, "partly filled"),
        ({"filled": Decimal(4), "state": "canceled"}, "partly filled, rest canceled"),
        ({"cancel_requested_at": timezone.now()}, "resting, cancel requested"),
        ({"state": "unknown"}, "unknown, checking"),
        ({"state": "denied"}, "denied by the desk"),
        ({"state": "rejected"}, "rejected by the exchange"),
    ],
)
def test_the_state_is_said_in_words(account: Account, changes: dict[str, object], words: str) -> None:
    assert an_order(account, **changes).state_words == words


def test_an_amendment_made_at_the_exchange_is_taken_over(account: Account) -> None:
    order = an_order(account)

    order.hear(word("resting", "0", "6", count=Decimal(6), wire_price=Decimal("0.49")))

    order.refresh_from_db()
    assert (order.count, order.remaining, order.price) == (Decimal(6), Decimal(6), Decimal("0.49"))
    assert json.loads(json.dumps(AuditEntry.objects.get().facts))["price"] == "0.49"


@pytest.mark.parametrize("state", ["resting", "canceled"])
def test_what_another_process_has_heard_meanwhile_is_not_taken_back(account: Account, state: str) -> None:
    order = an_order(account, state=state)
    slow = Order.objects.get(pk=order.pk)
    order.hear(word(state, "5", "5"))

    slow.hear(word(state, "3", "7"))

    order.refresh_from_db()
    assert order.filled == Decimal(5)
    assert (slow.filled, slow.remaining) == (order.filled, order.remaining)


def test_a_cancel_is_asked_for_whatever_was_filled_meanwhile(account: Account) -> None:
    order = an_order(account)
    slow = Order.objects.get(pk=order.pk)
    order.hear(word("resting", "5", "5"))

    assert slow.note("cancel_requested", cancel_requested_at=timezone.now()) is True
