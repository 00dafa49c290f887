"""An order of the desk, from the intent to its end. `Order.advance` is the only change of its state.

What anybody learns from the exchange (answer, private stream, reconciliation) goes through `Order.hear`; both write
the audit row and the desk event in the transaction of the change. A transaction touches one order, and takes the
order's row before the team's.
"""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from markets.models import TICKER_LENGTH, Environment
from trading.models.accounts import Account
from trading.models.people import Team, initials
from trading.models.record import AuditEntry, DeskEvent
from trading.models.states import AT_RISK, LEADS_TO, ON_THE_WIRE, TERMINAL, OrderState
from trading.models.words import Word

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

ONE = Decimal(1)

# What may be learnt about an order after its intent was written. Count and price are among it because the account's
# owner may amend an order at the exchange itself.
LEARNT = frozenset(
    {
        "count",
        "price",
        "wire_price",
        "exchange_order_id",
        "filled",
        "remaining",
        "average_price",
        "fees",
        "reason_code",
        "reason_text",
        "cancel_requested_at",
        "sent_at",
        "unknown_at",
        "clean_scans",
        "scanned_at",
    }
)

# What the exchange tells absolutely: never written over what somebody else has heard since we looked.
TOLD = frozenset({"count", "price", "wire_price", "filled", "remaining", "average_price", "fees"})


class ForbiddenAdvance(Exception):
    """A change of state that the table does not know: an error of ours, never of a person."""


class WireSide(models.TextChoices):
    """The exchange's two sides: bid buys YES, ask buys NO."""

    BID = "bid", "bid"
    ASK = "ask", "ask"


class OrderQuerySet(models.QuerySet["Order"]):
    """Questions about many orders."""

    def of(self, team: Team, environment: str) -> OrderQuerySet:
        """Keep one team's at one exchange."""
        return self.filter(team=team, environment=environment)

    def open(self) -> OrderQuerySet:
        """Keep those whose end is not known."""
        return self.exclude(state__in=TERMINAL)

    def at_risk(self) -> OrderQuerySet:
        """Keep those that may still buy something, unknown ones included."""
        return self.filter(state__in=AT_RISK)

    def newest_first(self) -> OrderQuerySet:
        """Sort for a list of people, with what the list shows of them."""
        return self.select_related("placed_by").order_by("-created_at", "-id")


class Order(models.Model):
    """One order: what was wanted, what was sent, what came of it. Price and count are as people say them."""

    class Action(models.TextChoices):
        """What the person does."""

        BUY = "buy", "buy"
        SELL = "sell", "sell"

    class Side(models.TextChoices):
        """Of which contract."""

        YES = "yes", "YES"
        NO = "no", "NO"

    class TimeInForce(models.TextChoices):
        """How long it may rest."""

        GOOD_TILL_CANCELED = "good_till_canceled", "good till canceled"
        IMMEDIATE_OR_CANCEL = "immediate_or_cancel", "immediate or cancel"
        FILL_OR_KILL = "fill_or_kill", "fill or kill"

    State = OrderState

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    environment = models.CharField(max_length=10, choices=Environment)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="orders")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="orders")
    placed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    is_external = models.BooleanField(default=False, help_text="Placed elsewhere with the same account.")

    ticker = models.CharField(max_length=TICKER_LENGTH)
    event_ticker = models.CharField(max_length=TICKER_LENGTH, default="", blank=True)
    action = models.CharField(max_length=4, choices=Action)
    side = models.CharField(max_length=3, choices=Side)
    price = models.DecimalField(max_digits=6, decimal_places=4, help_text="Of `side`, $.")
    count = models.DecimalField(max_digits=16, decimal_places=2)
    wire_side = models.CharField(max_length=3, choices=WireSide)
    wire_price = models.DecimalField(max_digits=6, decimal_places=4, help_text="Of YES, $.")
    time_in_force = models.CharField(max_length=20, choices=TimeInForce, default=TimeInForce.GOOD_TILL_CANCELED)
    post_only = models.BooleanField(default=False)
    expires_at = models.DateTimeField(null=True)

    idempotency_key = models.CharField(max_length=64, null=True)  # noqa: DJ001  (unique, and empty for external ones)
    body_hash = models.CharField(max_length=64, default="")
    client_order_id = models.CharField(max_length=64, null=True)  # noqa: DJ001  (the same)
    exchange_order_id = models.CharField(max_length=64, null=True)  # noqa: DJ001  (the same)

    state = models.CharField(max_length=20, choices=OrderState, default=OrderState.DRAFT)
    reason_code = models.CharField(max_length=60, default="", blank=True)
    reason_text = models.TextField(default="", blank=True)
    filled = models.DecimalField(max_digits=16, decimal_places=2, default=Decimal(0))
    remaining = models.DecimalField(max_digits=16, decimal_places=2)
    average_price = models.DecimalField(max_digits=12, decimal_places=6, null=True, help_text="Of `side`, $.")
    fees = models.DecimalField(max_digits=14, decimal_places=6, default=Decimal(0))
    cancel_requested_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(default=timezone.now)
    unknown_at = models.DateTimeField(null=True, help_text="Since when nobody has told us.")
    clean_scans = models.PositiveSmallIntegerField(default=0, help_text="Complete scans that did not find it.")
    scanned_at = models.DateTimeField(null=True, help_text="When the last of them began.")

    objects: ClassVar[OrderQuerySet] = OrderQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["team", "idempotency_key"], name="order_team_idempotency_key"),
            models.UniqueConstraint(
                fields=["environment", "account", "client_order_id"], name="order_environment_account_client_id"
            ),
            models.UniqueConstraint(
                fields=["environment", "account", "exchange_order_id"], name="order_environment_account_exchange_id"
            ),
            models.CheckConstraint(condition=Q(state__in=OrderState.values), name="order_known_state"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["team", "environment", "-created_at"], name="order_latest"),
            models.Index(fields=["team", "environment", "ticker", "-created_at"], name="order_market"),
            models.Index(fields=["account", "state"], name="order_account_state"),
            models.Index(fields=["account", "updated_at"], name="order_account_updated"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.count} {self.side} of {self.ticker} at {self.price}"

    # --- what a page asks -------------------------------------------------------------------------------

    @property
    def is_terminal(self) -> bool:
        """Say whether nothing more can happen to it."""
        return self.state in TERMINAL

    @property
    def is_cancelable(self) -> bool:
        """Say whether a cancel can be sent now."""
        return self.state == OrderState.RESTING and bool(self.exchange_order_id)

    @property
    def is_overfilled(self) -> bool:
        """Say whether more was traded than ordered: shown, never hidden."""
        return self.filled > self.count

    @property
    def state_words(self) -> str:
        """The state for a person, with what is derived from the numbers."""
        words = str(OrderState(self.state).label)
        if self.filled > 0 and self.state == OrderState.RESTING:
            words = "partly filled"
        elif self.filled > 0 and self.state == OrderState.CANCELED:
            words = "partly filled, rest canceled"
        if self.cancel_requested_at and self.state == OrderState.RESTING:
            words += ", cancel requested"
        if self.is_overfilled:
            words += ", MORE FILLED THAN ORDERED"
        return words

    @property
    def who(self) -> str:
        """The initials of the person, or EXT for an order placed elsewhere."""
        return initials(self.placed_by.get_username()) if self.placed_by else "EXT"

    # --- changes ----------------------------------------------------------------------------------------

    def advance(self, to: OrderState, *, actor: AbstractBaseUser | None = None, **learnt: Any) -> bool:
        """Move to another state, if it is still in the one we know: compare-and-set, audit row and desk event.

        False where somebody was faster; the order is then as the database has it. Raises ForbiddenAdvance for a pair
        that the table does not know. Everything else to be written with it goes into `learnt`.
        """
        before = OrderState(self.state)
        if to not in LEADS_TO[before]:
            raise ForbiddenAdvance(f"{before} does not lead to {to}")
        return self._write(before, f"order.{to}", actor, {"state": to, **learnt})

    def note(self, action: str, *, actor: AbstractBaseUser | None = None, **learnt: Any) -> bool:
        """Write what was learnt without a change of state; False where the state is no longer the one we know."""
        return self._write(OrderState(self.state), f"order.{action}", actor, learnt)

    def hear(self, word: Word) -> bool:
        """Take the exchange's word; return whether it can be true of this order.

        What was filled never shrinks, and an end is never taken back by a word that is older. False means that the
        exchange has an order that ours says cannot be there: the caller makes it visible.
        """
        while True:
            if self.state not in ON_THE_WIRE:
                return False
            learnt = self._learnt_from(word)
            to = word.state
            if self.state == to or self.is_terminal:
                if not learnt or self.note("heard", **learnt):
                    return True
            elif self.advance(to, **learnt):
                return True

    def _learnt_from(self, word: Word) -> dict[str, Any]:
        """Return what of the word is news."""
        is_over = self.is_terminal or word.state in TERMINAL
        filled = max(self.filled, word.filled)
        said: dict[str, Any] = {
            "exchange_order_id": self.exchange_order_id or word.exchange_order_id,
            "filled": filled,
            "remaining": Decimal(0) if is_over else self.remaining if word.filled < self.filled else word.remaining,
        }
        if word.filled >= self.filled:
            if word.average_wire_price is not None:
                said["average_price"] = self.on_own_side(word.average_wire_price)
            if word.fees is not None:
                said["fees"] = max(self.fees, word.fees)
            if word.count:
                said["count"] = word.count
            if word.wire_price:
                said |= {"wire_price": word.wire_price, "price": self.on_own_side(word.wire_price)}
        if not self.is_terminal and word.state != self.state:
            said["reason_code"], said["reason_text"] = self._reason(word)
        elif word.reason_code and not self.reason_code:
            said["reason_code"], said["reason_text"] = word.reason_code, word.reason_text
        return {name: value for name, value in said.items() if getattr(self, name) != value}

    def _reason(self, word: Word) -> tuple[str, str]:
        if word.state == OrderState.EXECUTED and self.cancel_requested_at:
            return "FILLED_FIRST", "Filled before the cancel."
        return word.reason_code, word.reason_text

    def on_own_side(self, wire_price: Decimal) -> Decimal:
        """Return a price of YES as one of this order's side."""
        return wire_price if self.side == Order.Side.YES else ONE - wire_price

    def _write(self, before: OrderState, action: str, actor: AbstractBaseUser | None, values: dict[str, Any]) -> bool:
        if unknown := set(values) - LEARNT - {"state"}:
            raise ForbiddenAdvance(f"nobody learns {sorted(unknown)} about an order")
        with transaction.atomic():
            written = {**values, "updated_at": timezone.now()}
            still: dict[str, Any] = {"state": before}
            if TOLD & set(values):
                still["filled"] = self.filled
            if "cancel_requested_at" in values:  # one wish is not taken for another
                still["cancel_requested_at"] = self.cancel_requested_at
            was_there = Order.objects.filter(pk=self.pk, **still).update(**written)
            if was_there:
                self._tell(action, actor, values)
        if not was_there:
            self.refresh_from_db()
            return False
        for name, value in written.items():
            setattr(self, name, value)
        return True

    def _tell(self, action: str, actor: AbstractBaseUser | None, values: dict[str, Any]) -> None:
        AuditEntry.objects.append(
            action, actor, team=self.team, subject=self, environment=self.environment, facts=values
        )
        DeskEvent.append(DeskEvent.Kind.ORDER, self, team_id=self.team_id, environment=self.environment)
