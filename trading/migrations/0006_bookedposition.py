"""Keep the sums of an account's fills beside them, so that no order waits until they are added up."""

from __future__ import annotations

from decimal import Decimal

import django.db.models.deletion
from django.db import migrations, models


def dollars(text):
    return models.DecimalField(decimal_places=6, default=Decimal("0"), help_text=text, max_digits=15)


def note_markets(apps, schema_editor):
    """Write a row for each market that was traded, to be counted by the next comparison with the exchange."""
    positions = apps.get_model("trading", "BookedPosition").objects
    traded = apps.get_model("trading", "Fill").objects.values_list("account_id", "ticker").distinct().order_by()
    known = set(positions.values_list("account_id", "ticker"))
    model = positions.model
    positions.bulk_create(model(account_id=pk, ticker=ticker) for pk, ticker in traded if (pk, ticker) not in known)


class Migration(migrations.Migration):
    dependencies = [("trading", "0005_archive")]

    operations = [
        migrations.CreateModel(
            name="BookedPosition",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("ticker", models.CharField(max_length=200)),
                (
                    "net",
                    models.DecimalField(
                        decimal_places=2, default=Decimal("0"), help_text="Contracts, YES positive.", max_digits=16
                    ),
                ),
                ("cost", dollars("Of what is open, $.")),
                ("realized", dollars("Without fees, $.")),
                ("fees", dollars("Of all fills, $.")),
                (
                    "last_traded_at",
                    models.DateTimeField(help_text="When the last fill that is in it was traded.", null=True),
                ),
                (
                    "last_fill",
                    models.BigIntegerField(default=0, help_text="Its number: among fills of one moment, it decides."),
                ),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="positions",
                        to="trading.account",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("account", "ticker"), name="bookedposition_account_ticker")
                ],
            },
        ),
        migrations.RunPython(note_markets, migrations.RunPython.noop),
    ]
