"""Accounts at the exchange, the keys that open them, and what a team allows itself to risk there."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from markets.models import Environment
from trading.models.people import Team


def _limit(help_text: str) -> models.DecimalField[Decimal, Decimal]:
    return models.DecimalField(max_digits=14, decimal_places=2, default=Decimal(0), help_text=help_text)


class Account(models.Model):
    """One account of a team at one exchange; its tokens, orders and fills are shared by all its keys."""

    environment = models.CharField(max_length=10, choices=Environment)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="accounts")
    name = models.CharField(max_length=80)
    created_at = models.DateTimeField(auto_now_add=True)
    reconciled_at = models.DateTimeField(
        null=True, help_text="Start of the last complete comparison with the exchange; none, no trading."
    )
    reconciling_until = models.DateTimeField(null=True, help_text="By then a comparison that began is over or dead.")
    reconcile_error = models.CharField(max_length=200, default="", blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["environment", "team", "name"], name="account_environment_team_name"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.environment})"

    def trading_key(self) -> ApiKey | None:
        """Return the newest key that may place orders, or None."""
        return next((key for key in self._usable_keys() if key.can_trade), None)

    def reading_key(self) -> ApiKey | None:
        """Return the newest key that may read, or None."""
        return next(iter(self._usable_keys()), None)

    def _usable_keys(self) -> models.QuerySet[ApiKey]:
        return self.keys.filter(state=ApiKey.State.ACTIVE).order_by("-added_at", "-pk")


class ApiKey(models.Model):
    """A key of an account: its private half is sealed, and opened in `trading.clients` and nowhere else."""

    class State(models.TextChoices):
        """How far it may be used."""

        UNCHECKED = "unchecked", "Not checked yet"
        ACTIVE = "active", "Active"
        PAUSED = "paused", "Paused"
        REFUSED = "refused", "Refused by the exchange"
        REMOVED = "removed", "Removed"

    class KeyType(models.TextChoices):
        """Kinds of private keys that the exchange takes."""

        RSA = "rsa", "RSA"
        ED25519 = "ed25519", "Ed25519"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="keys")
    environment = models.CharField(max_length=10, choices=Environment)
    key_id = models.CharField(max_length=100, help_text="The exchange's name of it.")
    key_type = models.CharField(max_length=10, choices=KeyType)
    name = models.CharField(max_length=80)
    scopes = models.JSONField(default=list, blank=True)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of the public half, hexadecimal.")
    state = models.CharField(max_length=10, choices=State, default=State.UNCHECKED)
    reason = models.CharField(max_length=200, default="", blank=True, help_text="Why it cannot be used.")
    is_feed = models.BooleanField(default=False, help_text="Lent to the desk: all books are read with it.")

    version = models.PositiveSmallIntegerField(default=0, editable=False)
    kid = models.CharField(max_length=64, default="", editable=False, help_text="Which master key wraps it.")
    wrapped_key = models.BinaryField(default=b"", editable=False)
    ciphertext = models.BinaryField(default=b"", editable=False)

    added_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    added_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True)
    probed_at = models.DateTimeField(null=True)
    removed_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["environment", "key_id"], condition=~Q(state="removed"), name="apikey_environment_key_id"
            ),
            models.UniqueConstraint(fields=["environment"], condition=Q(is_feed=True), name="apikey_one_feed_key"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.environment})"

    @property
    def is_usable(self) -> bool:
        """Say whether requests may be signed with it."""
        return self.state == self.State.ACTIVE

    @property
    def can_trade(self) -> bool:
        """Say whether it may place and cancel orders."""
        return self.is_usable and any(scope in {"write", "write::trade"} for scope in self.scopes)


class RiskLimit(models.Model):
    """What a team may risk at one exchange; a limit that is not set is zero, and zero allows nothing."""

    environment = models.CharField(max_length=10, choices=Environment)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="limits")
    max_order_cost = _limit("Most that one order may cost, $.")
    max_exposure = _limit("Most at risk in positions and open orders together, $.")
    max_position = _limit("Most contracts of one market, held and ordered.")
    max_orders_per_minute = models.PositiveIntegerField(default=0)
    price_collar = models.DecimalField(
        max_digits=6, decimal_places=4, default=Decimal(0), help_text="Furthest an order may reach past the book, $."
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["environment", "team"], name="risklimit_environment_team"),
        ]

    def __str__(self) -> str:
        return f"limits of {self.team} ({self.environment})"


class TradingState(models.Model):
    """Whether a team trades at one exchange; without a row it does."""

    class State(models.TextChoices):
        """From everything to nothing."""

        ACTIVE = "active", "Active"
        REDUCING = "reducing", "Only orders that reduce a position"
        HALTED = "halted", "Halted"

    environment = models.CharField(max_length=10, choices=Environment)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="trading_states")
    state = models.CharField(max_length=10, choices=State, default=State.ACTIVE)
    reason = models.CharField(max_length=200, default="", blank=True)
    changed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["environment", "team"], name="tradingstate_environment_team"),
        ]

    def __str__(self) -> str:
        return f"{self.team} ({self.environment}): {self.state}"
