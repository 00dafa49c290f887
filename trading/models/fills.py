"""Fills: what was really traded, each booked once."""

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
