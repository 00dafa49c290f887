"""Fills: what was really traded, each booked once; and what they add up to."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from django.db import models

from markets.models import TICKER_LENGTH, Environment
from trading.models.accounts import Account
from trading.models.orders import Order, WireSide
from trading.models.people import Team


class Fill(models.Model):
    """One match of one order. (environment, account, trade) is unique: however often it is told, it counts once."""

    environment = models.CharField(max_length=10, choices=Environment)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="fills")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="fills")
    order = models.ForeignKey(
        Order, on_delete=models.PROTECT, null=True, related_name="fills", help_text="Empty until we know the order."
    )
    trade_id = models.CharField(max_length=64)
    exchange_order_id = models.CharField(max_length=64)
    ticker = models.CharField(max_length=TICKER_LENGTH)
    wire_side = models.CharField(max_length=3, choices=WireSide, help_text="bid: YES was bought; ask: NO was.")
    wire_price = models.DecimalField(max_digits=6, decimal_places=4, help_text="Of YES, $.")
    count = models.DecimalField(max_digits=16, decimal_places=2)
    fee = models.DecimalField(max_digits=14, decimal_places=6, default=Decimal(0), help_text="Of the whole row, $.")
    is_taker = models.BooleanField()
    traded_at = models.DateTimeField()
    booked_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["environment", "account", "trade_id"], name="fill_environment_account_trade"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["account", "ticker", "traded_at"], name="fill_ticker"),
            models.Index(fields=["account", "exchange_order_id"], name="fill_exchange_order"),
            models.Index(fields=["team", "-traded_at"], name="fill_team_latest"),
        ]

    def __str__(self) -> str:
        return f"{self.count} {self.ticker} at {self.wire_price}"


class BookedPosition(models.Model):
    """One market of an account, added up from its fills: so that an order need not wait until that is done.

    Written with the fills, by `trading.positions` alone. Without `last_traded_at` its numbers say nothing: a fill came
    out of order, and they have to be counted anew.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="positions")
    ticker = models.CharField(max_length=TICKER_LENGTH)
    # SQLite keeps 15 digits of a decimal: the dollars are exact below a thousand million.
    net = models.DecimalField(max_digits=16, decimal_places=2, default=Decimal(0), help_text="Contracts, YES positive.")
    cost = models.DecimalField(max_digits=15, decimal_places=6, default=Decimal(0), help_text="Of what is open, $.")
    realized = models.DecimalField(max_digits=15, decimal_places=6, default=Decimal(0), help_text="Without fees, $.")
    fees = models.DecimalField(max_digits=15, decimal_places=6, default=Decimal(0), help_text="Of all fills, $.")
    last_traded_at = models.DateTimeField(null=True, help_text="When the last fill that is in it was traded.")
    last_fill = models.BigIntegerField(default=0, help_text="Its number: among fills of one moment, it decides.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["account", "ticker"], name="bookedposition_account_ticker"),
        ]

    def __str__(self) -> str:
        return f"{self.net} of {self.ticker}"
